"""Config keys: overrides, types, unknown names, stored configs, comments."""

import ast
import json
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import base
from lmtasks import schema

ROOT = pathlib.Path(__file__).parents[1]
KEYS = schema.keys_of(base.base())
quickly = hypothesis.settings(max_examples=60, deadline=None)


def after(key, text):
    """Return the value of a key after an override from text."""
    config = base.base()
    schema.override(config, key, text)
    return schema.keys_of(config)[key]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("task", "sst2", "sst2"),
        ("train.steps", "7", 7),
        ("train.steps", "-1", -1),
        ("seed", "0", 0),
        ("optim.learning_rate", "3e-4", 3e-4),
        ("optim.learning_rate", "1", 1.0),
        ("data.packing", "False", False),
        ("data.packing", "true", True),
        ("data.labels", "negative,positive", ("negative", "positive")),
        ("data.labels", "('a b', 'c')", ("a b", "c")),
        ("data.labels", "Sci/Tech, World", ("Sci/Tech", "World")),
        ("data.labels", "", ()),
        ("data.labels", "one", ("one",)),
        ("data.buckets", "(16, 32)", (16, 32)),
        ("data.buckets", "16,32", (16, 32)),
        ("data.buckets", "[16]", (16,)),
        ("data.buckets", "16", (16,)),
        ("model.width", "64", 64),
        ("model.width", "None", None),
        ("model.tied", "True", True),
        ("model.dropout", "0", 0.0),
        ("model.positions.base", "(10000.0,)", (10000.0,)),
        ("model.attention.window", "4,0", (4, 0)),
        ("model.preset", "bert/base", "bert/base"),
        ("prompt.text", "Review: {text}, so?", "Review: {text}, so?"),
        ("data.files.train", "a=b,c.csv", "a=b,c.csv"),
        ("train.freeze", "'a(b|c)/.*'", ("a(b|c)/.*",)),
    ],
)
def test_an_override_is_read_by_the_type_of_its_key(key, text, value):
    found = after(key, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["(encoder|decoder)/layers_(0|1)", "embed/.*", "layers_[01]/"]
)
def test_a_regular_expression_is_kept_as_it_is(text):
    assert after("train.freeze", text) == (text,)


@pytest.mark.parametrize(
    ("key", "text", "accepted"),
    [
        ("train.steps", "1.5", "a whole number"),
        ("train.steps", "many", "a whole number"),
        ("train.steps", "True", "a whole number"),
        ("train.steps", "None", "a whole number"),
        ("train.steps", "", "a whole number"),
        ("optim.learning_rate", "fast", "a number"),
        ("optim.learning_rate", "None", "a number"),
        ("data.packing", "1", "True or False"),
        ("data.packing", "no", "True or False"),
        ("model.width", "wide", "a whole number"),
        ("model.tied", "yes", "True or False"),
    ],
)
def test_an_override_of_another_type_says_what_the_key_takes(key, text, accepted):
    with pytest.raises(ValueError) as error:
        after(key, text)
    said = str(error.value)
    assert f"config.{key}=" in said and accepted in said and "\n" not in said


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.step", "train.steps"),
        ("trian.steps", "train.steps"),
        ("learning_rate", "optim.learning_rate"),
        ("model.widht", "model.width"),
        ("model.heads", "model.attention.heads"),
        ("data.lenght", "data.length"),
        ("taks", "task"),
        ("decode.topp", "decode.top_p"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(key, near):
    with pytest.raises(ValueError) as error:
        after(key, "1")
    said = str(error.value)
    assert f"config.{key} is not a key" in said and f"config.{near}?" in said


@pytest.mark.parametrize("key", ["data", "model", "model.attention", "data.files"])
def test_a_section_cannot_be_set_to_a_value(key):
    with pytest.raises(ValueError, match=f"config.{key} is not a key"):
        after(key, "1")


def test_columns_may_have_any_name_and_number():
    config = base.base()
    schema.override(config, "data.fields.text", "review")
    schema.override(config, "data.fields.label", "3")
    assert config.data.fields.to_dict() == {"text": "review", "label": 3}
    schema.check(config)


def test_every_key_takes_the_text_of_its_own_default():
    config = base.base()
    for key, value in KEYS.items():
        if not isinstance(value, ConfigDict):
            schema.override(config, key, str(value))
    assert schema.keys_of(config) == KEYS


def stored(config):
    """Return a config as config.json gives it back."""
    return schema.from_stored(json.loads(json.dumps(config.to_dict())))


def test_a_stored_config_comes_back_as_it_was():
    config = base.finetune()
    config.data.labels, config.data.buckets = ("b", "a"), (16, 64)
    config.model.width, config.model.attention.window = 48, (4, 0)
    config.optim.learning_rate = 1.0
    schema.override(config, "data.fields.text", "my.column")
    schema.override(config, "data.fields.label", "2")
    again = stored(config)
    assert again.to_dict() == config.to_dict()
    assert again.data.labels == ("b", "a") and isinstance(again.data.labels, tuple)
    assert again.is_locked
    assert stored(again).to_dict() == config.to_dict()


@quickly
@hypothesis.given(
    changes=st.dictionaries(
        st.sampled_from(
            [k for k, v in KEYS.items() if isinstance(v, int | float) and k != "seed"]
        ),
        st.integers(0, 9),
    )
)
def test_any_overrides_survive_being_stored(changes):
    config = base.base()
    for key, value in changes.items():
        flag = isinstance(KEYS[key], bool)
        schema.override(config, key, str(bool(value)) if flag else str(value))
    assert stored(config).to_dict() == config.to_dict()


def test_a_config_stored_before_a_key_came_has_the_keys_default():
    old = base.base().to_dict()
    del old["decode"], old["train"]["ema"], old["model"]["attention"]["window"]
    again = schema.from_stored(old)
    assert again.to_dict() == base.base().to_dict()


def test_a_stored_key_that_is_gone_is_named():
    old = base.base().to_dict()
    old["train"]["stepz"] = 3
    with pytest.raises(ValueError, match="config.train.stepz is not a key"):
        schema.from_stored(old)


@pytest.mark.parametrize(
    ("key", "value"), [("train", 3), ("task", {"name": "sst2"}), ("data", None)]
)
def test_a_stored_config_of_another_form_is_one_sentence(key, value):
    old = base.base().to_dict()
    old[key] = value
    with pytest.raises(ValueError, match=f"{key}"):
        schema.from_stored(old)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.steps", True),
        ("train.steps", 1.5),
        ("train.steps", None),
        ("optim.learning_rate", None),
        ("optim.learning_rate", "fast"),
        ("data.packing", 1),
        ("task", 3),
        ("data.labels", "ab"),
        ("model.width", "64"),
    ],
)
def test_a_stored_value_of_another_type_is_refused(key, value):
    old = base.base().to_dict()
    section = old
    *sections, name = key.split(".")
    for part in sections:
        section = section[part]
    section[name] = value
    with pytest.raises(ValueError, match=f"config.{key}"):
        schema.from_stored(old)


def write(folder, body):
    """Write a config file and return its path."""
    path = folder / "mine.py"
    path.write_text(f"from configs import base\n\n\n{body}\n")
    return path


def test_a_config_file_of_ones_own_is_loaded_with_its_argument(tmp_path):
    path = write(
        tmp_path,
        "def get_config(word='a'):\n    c = base.finetune()\n"
        "    c.task = word\n    return c",
    )
    assert schema.load(str(path)).task == "a"
    assert schema.load(f"{path}:b,c").task == "b,c"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("x = 1", "no get_config"),
        ("def get_config():\n    return {}", "no ConfigDict"),
        ("def get_config(:", "invalid syntax"),
        ("import nowhere_at_all\ndef get_config(): pass", "nowhere_at_all"),
        ("def get_config():\n    c = base.base()\n    c.tain = 1", "tain"),
        (
            "def get_config():\n    c = base.base()\n    c.train.steps = 'a'\n    return c",
            "int",
        ),
        ("def get_config():\n    raise KeyError", "KeyError"),
        ("def get_config():\n    return base.bsae()", "bsae"),
        ("def get_config():\n    return undefined", "undefined"),
        ("get = 1 / 0", "division by zero"),
    ],
)
def test_a_faulty_config_file_is_one_sentence(tmp_path, body, reason):
    path = write(tmp_path, body)
    with pytest.raises(ValueError) as error:
        schema.load(str(path))
    said = str(error.value)
    assert str(path) in said and reason in said and "\n" not in said


def test_a_config_without_all_keys_says_how_to_begin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n\n"
        "def get_config():\n    return ConfigDict({'task': 'sst2'})\n"
    )
    with pytest.raises(ValueError, match="base"):
        schema.load(str(path))


def test_an_argument_for_a_config_that_takes_none_is_refused():
    with pytest.raises(ValueError, match="quickstart"):
        schema.load("quickstart:encoder")


def test_a_missing_config_names_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean quickstart"):
        schema.load("quickstrat")


def test_a_folder_of_the_same_name_does_not_hide_a_packaged_config(
    tmp_path, monkeypatch
):
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)
    assert schema.load("toy").task == "toy_labelled"


def test_every_key_has_a_comment():
    found = schema.comments()
    named = {key for key in KEYS if not key.startswith("data.files.")}
    assert named - found.keys() == set()
    assert "data.files" in found
    assert all(text.strip() for text in found.values())


def test_no_comment_outlives_its_key():
    sections = {key.rpartition(".")[0] for key in KEYS}
    assert schema.comments().keys() <= KEYS.keys() | sections


def attributes():
    """Return all names that the code of lmtasks reads as attributes."""
    found = set()
    for path in (ROOT / "lmtasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
    return found


# Read by its name alone: one split after the other is looked up by `data.files`.
BY_NAME = {"data.files.train", "data.files.validation", "data.files.test"}


def test_every_key_is_read_somewhere():
    read = attributes()
    # Fields of the typed sections are read through `getattr` over the axes' names.
    read |= {"replica", "data", "fsdp", "sequence", "tensor"}
    dead = {key for key in KEYS if key.rpartition(".")[2] not in read} - BY_NAME
    assert dead == set()
