"""Entities are those of transformers' pipeline("ner"), for every way of aggregation."""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest
import test_reference as parity
from reference import values
from safetensors import numpy as safetensors

from lmtasks import pretrained
from lmtasks.data import examples
from lmtasks.data import pack
from lmtasks.objectives import base
from lmtasks.objectives import tag
from lmtasks.tasks import tagging

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
NAMES = ("tag_bert", "tag_roberta")
WAYS = ("none", "simple", "first", "average", "max")
LENGTH = 80


@functools.cache
def fixture(name):
    """Return the recorded case."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


@pytest.fixture(scope="module", params=NAMES)
def case(request, tmp_path_factory):
    """Return (name, tokenizer, labels, model, parameters) of a tiny checkpoint."""
    about, folder = fixture(request.param), tmp_path_factory.mktemp("tag")
    for file, content in about["files"].items():
        (folder / file).write_text(content)
    (folder / "config.json").write_text(json.dumps(about["config"]))
    state = values.state(request.param, about["shapes"])
    safetensors.save_file(state, folder / "model.safetensors")
    found, model, params = parity.read(folder)
    assert model.head == "tag"
    return request.param, pretrained.tokenizer_of(folder), found.labels, model, params


def example_of(given):
    """Return an input of the fixture as an example: words, or a raw text."""
    if isinstance(given, list):
        return examples.Tagged(tuple(given))
    return tagging.raw(given)


@functools.cache
def predicted(model):
    """Return the jitted prediction, the same for all ways of aggregation."""
    objective = tag.Tag(base.Setting("encoder", labels=("O", "x")))
    return jax.jit(functools.partial(objective.predict, model))


def answers(case, how, length=LENGTH):
    """Return our predictions of all inputs."""
    name, tokenizer, labels, model, params = case
    setting = base.Setting("encoder", length=length, labels=labels)
    objective = tag.Tag(setting, tag.Options(stride=16, aggregation=how))
    given = [example_of(one) for one in fixture(name)["inputs"]]
    rows = [objective.query(one, tokenizer) for one in given]
    flat = [row for each in rows for row in each]
    batch = pack.stack(
        [{k: v for k, v in row.items() if k != "cut"} for row in flat],
        LENGTH,
        0,
        LENGTH,
    )
    said = jax.device_get(predicted(model)(params, batch))
    outputs = iter([{k: v[i] for k, v in said.items()} for i in range(len(flat))])
    return [
        objective.answer([next(outputs) for _ in each], one, tokenizer)
        for each, one in zip(rows, given, strict=True)
    ]


@pytest.mark.parametrize("how", WAYS)
def test_entities_are_those_of_transformers(case, how):
    recorded = fixture(case[0])["outputs"][how]
    said = answers(case, how)
    assert sum(map(len, recorded)) >= 10
    for prediction, wanted in zip(said, recorded, strict=True):
        found = prediction["entities"]
        kind = "tag" if how == "none" else "type"
        places = [(one[kind], one["start"], one["end"]) for one in found]
        assert places == [(one["type"], one["start"], one["end"]) for one in wanted]
        scores = [one["score"] for one in found], [one["score"] for one in wanted]
        np.testing.assert_allclose(*scores, atol=2e-5)
        for one, theirs in zip(found, wanted, strict=True):
            if case[0] == "tag_roberta" and how != "none":
                # Its pieces spell the text, the space before it too.
                assert one["text"] == theirs["word"].strip()
            if case[0] == "tag_bert":
                assert folded(one["text"]) == folded(theirs["word"].replace("##", ""))


def folded(text):
    """Return a text as a lower-case vocabulary has it, without spaces."""
    plain = "".join(c for c in text.lower() if not c.isspace())
    marks = str.maketrans("\u00e9\u00e3\u00fc", "eau")
    return plain.translate(marks)


def test_a_text_and_its_words_have_the_same_tags(case):
    said = answers(case, "average")
    half = len(said) // 2
    for words, text in zip(said[:half], said[half:], strict=True):
        assert words["tags"] == text["tags"] and "words" not in words
        np.testing.assert_allclose(words["scores"], text["scores"], atol=1e-6)


def test_each_word_has_one_tag_however_short_the_rows_are(case):
    whole, short = (answers(case, "first", length) for length in (LENGTH, 24))
    for given, one, other in zip(fixture(case[0])["inputs"], whole, short, strict=True):
        words = example_of(given).words
        assert len(one["tags"]) == len(other["tags"]) == len(words)
        assert all(p > 0 for p in other["scores"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_the_recorded_entities_are_what_transformers_finds(name, tmp_path):
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    from reference import make_tag

    about, recorded = make_tag.save(name, tmp_path), fixture(name)
    assert about["files"] == recorded["files"]
    assert about["shapes"] == recorded["shapes"]
    found = make_tag.outputs(name, tmp_path)
    for how in WAYS:
        assert len(found[how]) == len(recorded["outputs"][how])
        for one, other in zip(found[how], recorded["outputs"][how], strict=True):
            assert [{**e, "score": 0} for e in one] == [
                {**e, "score": 0} for e in other
            ]
            np.testing.assert_allclose(
                [e["score"] for e in one], [e["score"] for e in other], atol=1e-5
            )
