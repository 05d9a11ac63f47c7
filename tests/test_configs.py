"""Every config file: what its docstring promises, and that it makes a run."""

import ast
import importlib
import pathlib
import re

import pytest
import runs

import configs
from configs import base
from lmtasks import builder
from lmtasks import checks
from lmtasks import schema
from lmtasks import taskdata
from lmtasks import tasks
from lmtasks.data import sources
from lmtasks.training import feed
from lmtasks.types import ARCHITECTURES

FOLDER = pathlib.Path(configs.__file__).parent
FILES = sorted(p for p in FOLDER.glob("[a-z]*.py") if p.stem != "base")
NAMES = [path.stem for path in FILES]
# The arguments each docstring names.
ARGUMENTS = {
    "sst2": ARCHITECTURES,
    "toy": (
        "toy_labelled,encoder",
        "toy_labelled,decoder",
        "toy_labelled,encoder_decoder",
        "toy_turns,decoder",
        "toy_turns,encoder_decoder",
        "toy_text,decoder",
    ),
    "own": (
        "classification",
        "classification,decoder",
        "classification,encoder_decoder",
        "pairs",
        "pairs,decoder",
        "seq2seq",
        "seq2seq,encoder_decoder",
        "chat",
        "text",
        "text,encoder_decoder",
        "tagging",
        "tagging,decoder",
        "extractive_qa",
        "choice",
        "choice,decoder",
        "relations",
        "retrieval_pairs",
    ),
    "denoise": ("span", "ul2", "bart", "prefix", "prefix,decoder", "fim"),
    "glue": ("cola", "stsb", "mnli", "snli", "boolq"),
    "topics": ("banking77", "imdb", "sick"),
    "ner": ("conll2003", "btc"),
    "qa": ("squad_v2", "subjqa", "xquad"),
    "choice": ("copa", "race", "winogrande"),
    "scale": ("bert_large", "t5_3b", "llama3_70b"),
    "understand": (
        "sick,decoder",
        "wnut17,encoder_decoder",
        "text,encoder",
        "sts,encoder",
    ),
}
SPECS = [
    f"{name}:{argument}" if argument else name
    for name in NAMES
    for argument in ("", *ARGUMENTS.get(name, ()))
]
each_spec = pytest.mark.parametrize("spec", SPECS)
each_file = pytest.mark.parametrize("path", FILES, ids=NAMES)
LINES = ("the cat stands behind the oak .", "a fine day, and then another one.")


def write(folder, spec, config):
    """Write data as the config's task reads it; return the folder's config keys."""
    task = taskdata.task_of(config)
    if task.source.make is not None:
        return
    if config.task == "tiny_shakespeare" or config.data.format == "document":
        for split in ("train", "validation"):
            (folder / f"{split}.txt").write_text("\n".join(LINES * 40))
            config.data.files[split] = str(folder / f"{split}.txt")
        return
    rows = [dict(task.samples[i % len(task.samples)]) for i in range(12)]
    config.data.format = "jsonl"
    for split in ("train", "validation"):
        path = runs.write_jsonl(folder / f"{split}.jsonl", rows)
        config.data.files[split] = str(path)


@each_spec
def test_every_config_loads_and_fits_the_keys(spec):
    config = schema.load(spec)
    schema.check(config)
    assert config.task in schema.modules_of(tasks)
    assert schema.from_stored(config.to_dict()).to_dict() == config.to_dict()


@each_spec
def test_every_config_makes_a_run_when_shrunk(spec, tmp_path):
    config = base.tiny(schema.load(spec))
    write(tmp_path, spec, config)
    run = builder.build(config)
    read = feed.read(run)
    batch = read.train.batch(0)
    assert batch["tokens"].shape[0] == config.train.batch_size
    assert batch["weights"].sum() > 0
    assert sources.has_split(run.task.source, "validation", run.data)
    assert run.model.cfg.width == 32 and run.model.cfg.layers == 2


@each_spec
def test_the_shape_of_every_config_is_possible(spec):
    config = schema.load(spec)
    checks.check_values(config)
    cfg = builder.presets.shape_of(config)
    assert cfg.width % cfg.attention.heads == 0 or cfg.attention.head_dim


@each_file
def test_a_config_file_is_short_and_says_how_it_is_run(path):
    text = path.read_text()
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) <= 45
    said = ast.get_docstring(ast.parse(text))
    assert f"lmtasks train --config={path.stem}" in said
    assert "--workdir=" in said and "CPU" in said or path.stem == "own"


@each_file
def test_the_command_of_a_docstring_names_keys_that_exist(path):
    said = ast.get_docstring(ast.parse(path.read_text()))
    known = schema.keys_of(base.base())
    for key in re.findall(r"--config\.([\w.]+)=", said):
        assert key in known or key.startswith("data.fields."), key
    for spec in re.findall(r"--config=([\w:,]+)", said):
        assert schema.load(spec)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_wrong_argument_is_one_sentence(name):
    with pytest.raises(ValueError, match="nonsense|architecture=''"):
        builder.build(schema.load(f"{name}:nonsense"))


@pytest.mark.parametrize("start", (base.base, base.pretrain, base.finetune))
def test_defaults_are_locked_whole_and_of_their_types(start):
    config = start()
    assert config.is_locked
    schema.check(config)
    checks.check_values(config)
    with pytest.raises(AttributeError):
        config.trian = 1


def test_pretraining_and_finetuning_differ_only_in_the_optimizer():
    keys = schema.keys_of(base.base())
    for start in (base.pretrain, base.finetune):
        changed = {k for k, v in schema.keys_of(start()).items() if v != keys[k]}
        assert changed and all(key.startswith("optim.") for key in changed)


def test_a_config_shares_nothing_with_the_next_one():
    one = base.base()
    one.train.steps, one.model.width = 7, 8
    schema.override(one, "data.fields.text", "review")
    assert base.base().train.steps == 1000 and base.base().model.width is None
    assert base.base().data.fields.to_dict() == {}


def test_shrinking_keeps_the_task_and_the_family():
    config = base.finetune()
    config.task, config.architecture = "sst2", "encoder"
    config.model.preset = "bert/large"
    small = base.tiny(config)
    assert small.task == "sst2" and small.model.preset == "bert/tiny"
    assert builder.presets.shape_of(small).norm.at == "post"


@pytest.mark.parametrize("family", schema.modules_of(builder.presets.families))
def test_every_family_can_be_shrunk(family):
    for size in importlib.import_module(f"lmtasks.families.{family}").PRESETS:
        config = base.base()
        config.model.preset = f"{family}/{size}"
        cfg = builder.presets.shape_of(base.tiny(config))
        assert (cfg.width, cfg.layers, cfg.head_dim) == (32, 2, 8)
        assert cfg.decoder_layers in (0, 2)
