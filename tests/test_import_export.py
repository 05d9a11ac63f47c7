"""From a checkpoint directory to a run and back, by the commands."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest
from reference import cases
from safetensors import numpy as safetensors
from test_reference import fixture
from test_reference import write

import lmtasks
from lmtasks.cli import main as cli
from lmtasks.hf import hub
from lmtasks.hf import reading
from lmtasks.objectives import generate
from lmtasks.training import imports
from lmtasks.training import masks

SHARED = pathlib.Path(__file__).parents[2] / "shared"
STORIES = SHARED / "weights" / "stories260K"
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "film",
    "was",
    "good",
    "fine",
    "bad",
    "poor",
    "indeed",
]


def do(*argv):
    """Run a command that must succeed."""
    assert cli.main([str(arg) for arg in argv]) == 0


def vocabulary(folder):
    words = WORDS + [f"w{i}" for i in range(cases.VOCAB - len(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


def files(folder):
    """Write a tiny labelled data set; return its flags."""
    for split, n in (("train", 16), ("dev", 4)):
        rows = ["the film was good,pos", "the film was poor indeed,neg"] * (n // 2)
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return [
        f"--config.data.files.train={folder / 'train.csv'}",
        f"--config.data.files.validation={folder / 'dev.csv'}",
    ]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A BERT checkpoint tuned for a few steps: (checkpoint, work directory, flags)."""
    here = tmp_path_factory.mktemp("tuned")
    source = vocabulary(write("bert", here / "bert"))
    flags = files(here)
    do(
        "train", "--config=own:classification", f"--config.init={source}",
        f"--workdir={here / 'run'}", *flags, "--config.data.length=16",
        "--config.train.steps=3", "--config.optim.warmup_steps=1",
        "--config.train.batch_size=8",
    )  # fmt: skip
    return source, here / "run", flags


def test_a_run_starts_from_a_checkpoint_and_needs_it_no_more(tuned, capsys):
    source, run, _ = tuned
    stored = json.loads((run / "config.json").read_text())
    assert stored["model"]["width"] == 24 and stored["model"]["vocab"] == cases.VOCAB
    source.rename(source.with_name("elsewhere"))
    try:
        do("eval", f"--workdir={run}", "--split=validation")
    finally:
        source.with_name("elsewhere").rename(source)
    assert "accuracy" in capsys.readouterr().out


def test_an_exported_run_predicts_the_same_after_import(tuned, tmp_path, capsys):
    _, run, _ = tuned
    out, again = tmp_path / "out", tmp_path / "again"
    do("export", f"--workdir={run}", f"--to={out}")
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "neg", "1": "pos"}
    assert (out / "vocab.txt").read_bytes() == (
        run / "pretrained/vocab.txt"
    ).read_bytes()
    assert "BertForSequenceClassification" in (out / "README.md").read_text()
    do("import", f"--from={out}", f"--workdir={again}")
    text = tmp_path / "in.jsonl"
    text.write_text('{"text": "the film was good"}\n')
    said = []
    for folder in (run, again):
        capsys.readouterr()
        do("predict", f"--workdir={folder}", f"--input={text}")
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]


def test_training_goes_on_from_an_imported_work_directory(tuned, tmp_path):
    _, run, flags = tuned
    do("export", f"--workdir={run}", f"--to={tmp_path / 'out'}")
    again = tmp_path / "again"
    do("import", f"--from={tmp_path / 'out'}", f"--workdir={again}")
    before = lmtasks.load(str(again)).params["top"]["out"]
    do(
        "train", f"--workdir={again}", *flags, "--config.train.steps=2",
        "--config.train.batch_size=8", "--config.optim.warmup_steps=0",
    )  # fmt: skip
    after = lmtasks.load(str(again))
    assert after.step == 2
    assert not np.array_equal(before, after.params["top"]["out"])


def test_an_export_of_an_import_is_the_same_file(tmp_path):
    source = vocabulary(write("bert-classify", tmp_path / "in"))
    do("import", f"--from={source}", f"--workdir={tmp_path / 'w'}")
    do("export", f"--workdir={tmp_path / 'w'}", f"--to={tmp_path / 'out'}")
    a = safetensors.load_file(tmp_path / "out" / "model.safetensors")
    b = fixture("bert-classify")[1]
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_checkpoint_is_converted_to_another_precision_and_parts(tmp_path):
    source = vocabulary(write("gpt2", tmp_path / "in"))
    to = tmp_path / "out"
    do("convert", f"--from={source}", f"--to={to}", "--dtype=bfloat16",
       "--max_shard_gb=0.00001")  # fmt: skip
    index = json.loads((to / "model.safetensors.index.json").read_text())
    names = sorted(set(index["weight_map"].values()))
    assert len(names) > 1 and all((to / name).is_file() for name in names)
    assert not list(to.glob("part-*"))
    found = reading.open_checkpoint(to)
    assert found.dtype == "bfloat16" and found.values["dtype"] == "bfloat16"
    assert (to / "vocab.txt").is_file()
    name = "transformer.h.0.attn.c_attn.weight"
    wanted = fixture("gpt2")[1][name]
    got = found.weights.rows(name, slice(None)).astype(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=2**-8)


def test_layers_are_stacked_and_unstacked_without_a_change(tuned, tmp_path):
    _, run, _ = tuned
    do("convert", f"--workdir={run}", f"--to={tmp_path / 'scan'}", "--scan")
    do(
        "convert",
        f"--workdir={tmp_path / 'scan'}",
        f"--to={tmp_path / 'un'}",
        "--noscan",
    )
    stacked = lmtasks.load(str(tmp_path / "scan")).params["encoder"]
    assert stacked["layers"]["mlp"]["up"].shape == (2, 24, 40)
    first, last = (lmtasks.load(str(f)).params for f in (run, tmp_path / "un"))
    a, b = (masks.flat(tree) for tree in (first, last))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_adapters_in_pefts_form_add_up_to_the_merged_model(tmp_path):
    source = vocabulary(write("bert", tmp_path / "bert"))
    run, plain = tmp_path / "run", tmp_path / "plain"
    do(
        "train", "--config=own:classification", f"--config.init={source}",
        f"--workdir={run}", *files(tmp_path), "--config.data.length=16",
        "--config.train.steps=2", "--config.optim.warmup_steps=0",
        "--config.train.batch_size=8", "--config.lora.rank=3",
        "--config.lora.targets=('attn/(query|out)$', 'mlp/up$')",
    )  # fmt: skip
    do("export", f"--workdir={run}", f"--to={plain}")
    do("export", f"--workdir={run}", f"--to={tmp_path / 'peft'}", "--adapters")
    about = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert (about["r"], about["lora_alpha"], about["task_type"]) == (3, 16, "SEQ_CLS")
    pairs = safetensors.load_file(tmp_path / "peft" / "adapter_model.safetensors")
    merged = safetensors.load_file(plain / "model.safetensors")
    base = fixture("bert")[1]
    assert len(about["target_modules"]) == 2 * 3
    for module in about["target_modules"]:
        a, b = (pairs[f"base_model.model.{module}.lora_{x}.weight"] for x in "AB")
        assert a.shape[0] == b.shape[1] == 3 and np.any(b)
        wanted = base[f"{module}.weight"] + 16 / 3 * b @ a
        np.testing.assert_allclose(merged[f"{module}.weight"], wanted, atol=1e-5)


def test_a_dry_run_of_a_push_lists_the_files_and_sends_nothing(
    tuned, tmp_path, capsys, monkeypatch
):
    def refuse(*_):
        raise AssertionError("sent")

    monkeypatch.setattr(hub, "push", refuse)
    do("export", f"--workdir={tuned[1]}", f"--to={tmp_path / 'out'}", "--push=me/it",
       "--dry_run")  # fmt: skip
    assert "model.safetensors" in capsys.readouterr().out


def test_an_id_without_the_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"install the extra \[hub\]"):
        hub.local("someone/some-model")
    with pytest.raises(ValueError, match=r"needs the extra \[hub\]"):
        hub.push(pathlib.Path("."), "someone/some-model")


def test_a_decoder_begins_as_its_checkpoint_says(monkeypatch):
    around = generate.frame.Frame((0,), (2, 2), (2,))
    monkeypatch.setattr(generate.frame, "frame_of", lambda tokenizer: around)
    bart = types.SimpleNamespace(roles={"start": 2}, bos_id=0, eos_id=2, pad_id=1)
    assert generate.decoder_start(bart) == [2, 0]
    assert generate.around_source(bart) == ([0], [2])
    bart.roles = {}  # trained here: as before
    assert generate.decoder_start(bart) == [0]
    assert generate.around_source(bart) == ([], [2])


STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in "
    "the park. One day, she saw a big, red ball. She wanted to play with it, but it was "
    "too high. Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't "
    'know what to do. She said, "I want to play with your ball, but I can\'t find it." '
    "Lily was sad and didn't know what to do."
)


@pytest.mark.skipif(not STORIES.is_dir(), reason="no ../shared/weights/stories260K")
def test_a_real_model_of_llama2c_writes_its_published_text(tmp_path):
    do("import", f"--from={STORIES}", f"--workdir={tmp_path / 'w'}")
    loaded = lmtasks.load(str(tmp_path / "w"))
    first = "Once upon a time"
    prompt = [loaded.run.tokenizer.bos_id, *loaded.run.tokenizer.encode(first)]
    assert prompt[1:] == [403, 407, 261, 378]
    loaded.run.config.decode.max_tokens = 180
    from lmtasks.training import writing

    plan = writing.plan.named("greedy", loaded.run.decode)
    plan = writing.dataclasses.replace(plan, max_tokens=180)
    rows = writing.Writer(loaded, plan).write([first])
    text = " ".join((first + rows[0]["text"]).split())
    assert text.startswith(STORY)
    imports.keep_origin(str(STORIES), tmp_path / "w")
    again = tmp_path / "out"
    do("export", f"--workdir={tmp_path / 'w'}", f"--to={again}")
    assert reading.open_checkpoint(again).family.types == {
        "llama": "Llama",
        "mistral": "Mistral",
    }
