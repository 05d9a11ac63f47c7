"""The benchmarks of translation and of instruction tuning, tiny and without a peer."""

import json

import jax
import numpy as np
import pytest
import runs

from experiments.benchmarks import cases
from experiments.benchmarks import real
from experiments.benchmarks import translation
from experiments.benchmarks import translation_ours
from experiments.benchmarks import translation_plan
from lmtasks import api
from lmtasks import tokenizers
from lmtasks.training import masks

PAIRS = [(f"dog {i} runs", f"Hund {i} rennt") for i in range(12)]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A run that was trained for a step on made-up pairs, and their folder."""
    folder = tmp_path_factory.mktemp("pairs")
    for split in ("train", "validation", "test"):
        stem = "test_2016_flickr" if split == "test" else split
        for side, code in enumerate(("en", "de")):
            lines = "\n".join(pair[side] for pair in PAIRS)
            (folder / f"{stem}.{code}").write_text(lines + "\n")
    run = folder / "run"
    flags = runs.settings(
        data__dir=folder, tokenizer__kind="byte", train__steps=1,
        decode__method="sample", model__init="normal", model__head_scale=1.0,
        model__attention__scale=0.0,
    )  # fmt: skip
    flags = [f for f in flags if "head_dim" not in f]
    argv = ["train", "--config=own:seq2seq,encoder_decoder", f"--workdir={run}"]
    from lmtasks.cli import main

    assert main.main([*argv, *flags, "--config.task=multi30k"]) == 0
    return run, folder


def test_the_form_of_t5_is_the_same_model(work):
    loaded = api.load(str(work[0]))
    run, params = translation_ours.as_t5(loaded.run, loaded.params)
    assert run.model.cfg.attention.scale == 1.0
    example = run.task.example({"source": "dog 3 runs", "target": "Hund 3 rennt"})
    row = run.objective.featurize(example, run.tokenizer)[0]
    row.pop("cut")
    batch = {key: value[None] for key, value in row.items()}
    # Parameters that hide nothing.
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda x: np.asarray(rng.normal(1, 0.3, x.shape), np.float32), loaded.params
    )
    _, folded = translation_ours.as_t5(loaded.run, drawn)
    ours = loaded.run.model.apply(drawn, batch)
    theirs = run.model.apply(folded, batch)
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-3)
    names = masks.flat(params)
    changed = [k for k, v in masks.flat(loaded.params).items() if (v != names[k]).any()]
    assert all(k.endswith("/query") or k == "decoder/norm/scale" for k in changed)


def test_a_split_is_translated_and_timed(work, capsys, tmp_path):
    run, folder = work
    out = tmp_path / "row.jsonl"
    argv = [f"--workdir={run}", f"--data={folder}", "--limit=5", "--blocks=1"]
    assert translation.main([*argv, f"--json={out}"]) == 0
    row = json.loads(out.read_text())
    assert row["sentences"] == 5 and row["sentences_per_s"] > 0
    assert row["ratio"] is None and "translate/5/b" in capsys.readouterr().out
    assert translation.main([*argv[:2], "--blocks=0"]) == 2


def test_the_peers_plan_is_ours():
    assert translation_ours.DECODE["beams"] == translation_plan.BEAMS
    assert translation_ours.DECODE["max_tokens"] == translation_plan.NEW


def talks(folder):
    """Write made-up instructions and a tokenizer of them; return the plan's places."""
    rows = [
        {"instruction": f"Say {i}.", "input": "", "output": f"It is {i}."}
        for i in range(24)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    texts = [row[key] for row in rows for key in ("instruction", "output")]
    tokenizers.train("bytebpe", texts, size=300).save(folder / "bpe")
    return {"data": str(folder), "vocab": str(folder / "bpe")}


def test_instructions_are_packed_and_written_for_the_peer(tmp_path):
    case = cases.choose("finetune/gpt2-tiny/alpaca")[0]
    plan = cases.Plan(case.name, steps=2, **talks(tmp_path))
    run, feed = real.build(case, plan)
    assert run.config.objective == "generate"
    batch = feed.train.batch(0)
    assert batch["segments"].max() > 1
    path = tmp_path / "ids.npz"
    real.save_ids(feed.train.rows.pieces, str(path))
    stored = np.load(path)
    assert len(stored["lengths"]) == 24
    piece = feed.train.rows.pieces[0].features
    n = len(piece["tokens"])
    np.testing.assert_array_equal(stored["ids"][:n], piece["tokens"])
    learned = stored["targets"][:n] != cases.IGNORED
    np.testing.assert_array_equal(learned, piece["weights"] > 0)


def test_the_peer_reads_the_same_instructions(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from experiments.benchmarks import peer

    row = cases.Row(
        np.asarray([5, 6, 7], np.int32), np.asarray([cases.IGNORED, 7, 8], np.int32)
    )
    short = cases.Row(np.asarray([5], np.int32), np.asarray([9], np.int32))
    batch = peer.prompted([row, short])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 9, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    none = cases.IGNORED
    assert batch["labels"].tolist() == [[none, none, 7, 8], [none, 9, none, none]]
