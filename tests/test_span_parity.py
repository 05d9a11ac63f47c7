"""Extractive QA against transformers: the same windows, logits and answers."""

import functools
import json
import math
import sys

import jax
import numpy as np
import pytest
from reference import make_span
from reference import values
from safetensors import numpy as safetensors

from configs import base
from lmtasks import builder
from lmtasks.data import examples
from lmtasks.data import pack
from lmtasks.training import imports
from lmtasks.training import parallel

TOLERANCE = 1e-4


@functools.cache
def fixture():
    """Return (what the fixture says, logits float32[windows, 2, LENGTH])."""
    with np.load(make_span.TO, allow_pickle=False) as found:
        return json.loads(str(found["about"])), found["logits"]


def run_of(folder, **options):
    """Return the run that starts from the fixture's checkpoint directory."""
    about, _ = fixture()
    (folder / "config.json").write_text(json.dumps(about["config"]))
    (folder / "vocab.txt").write_text("\n".join(about["pieces"]) + "\n")
    state = values.state("bert-span", about["shapes"])
    safetensors.save_file(state, folder / "model.safetensors")
    config = base.finetune()
    config.task, config.architecture = "extractive_qa", "encoder"
    config.init, config.data.length = str(folder), make_span.LENGTH
    config.span.stride = make_span.STRIDE
    config.span.max_answer = make_span.MAX_ANSWER
    config.span.n_best = make_span.N_BEST
    for key, value in options.items():
        config.span[key] = value
    return builder.build(config)


def predicted(run):
    """Return (questions with their examples and rows, logits of all rows)."""
    notes, mesh = [], parallel.make_mesh(run.parallel)
    params = imports.params_of(run, mesh, jax.random.key(0), notes.append)
    assert not any("fresh" in note for note in notes)
    asked = []
    for said in fixture()[0]["questions"]:
        example = examples.Span(said["question"], said["context"])
        asked.append((said, example, run.objective.query(example, run.tokenizer)))
    rows = [row for _, _, rows in asked for row in rows]
    for row in rows:
        assert row.pop("cut", 0) == 0
    batch = pack.stack(rows, make_span.LENGTH, 0, 0)
    predict = jax.jit(functools.partial(run.objective.predict, run.model))
    found = jax.device_get(predict(params, batch))
    return asked, np.stack([found["starts"], found["ends"]], axis=1)


def test_windows_logits_and_answers_are_those_of_transformers(tmp_path):
    run = run_of(tmp_path, no_answer=math.inf)
    asked, logits = predicted(run)
    at = 0
    for said, example, rows in asked:
        windows, context = said["windows"], said["context"]
        assert [r["tokens"].tolist() for r in rows] == [w["tokens"] for w in windows]
        assert [r["token_types"].tolist() for r in rows] == [
            w["types"] for w in windows
        ]
        ours, theirs = (x[at : at + len(rows)] for x in (logits, fixture()[1]))
        for row, one, other in zip(rows, ours, theirs, strict=True):
            n = len(row["tokens"])
            assert np.abs(one - other)[:, :n].max() < TOLERANCE
        outputs = [{"starts": one[0], "ends": one[1]} for one in ours]
        found = run.objective.answer(outputs, example, run.tokenizer)
        places = [(one["start"], one["end"]) for one in found["n_best"]]
        assert places == [(a, b) for a, b, _ in said["spans"]]
        scores = np.exp([score for _, _, score in said["spans"]])
        shares = [one["score"] for one in found["n_best"]]
        np.testing.assert_allclose(shares, scores / scores.sum(), atol=TOLERANCE)
        assert found["null_score"] == pytest.approx(said["null"], abs=2 * TOLERANCE)
        assert found["text"] == context[slice(*said["spans"][0][:2])]
        at += len(rows)
    assert at == len(logits) == 15


def test_the_threshold_parts_the_same_questions(tmp_path):
    margins = [one["null"] - one["spans"][0][2] for one in fixture()[0]["questions"]]
    run = run_of(tmp_path, no_answer=float(np.median(margins)) - 0.01)
    asked, logits = predicted(run)
    at, empty = 0, []
    for _, example, rows in asked:
        part = logits[at : at + len(rows)]
        outputs = [{"starts": one[0], "ends": one[1]} for one in part]
        said = run.objective.answer(outputs, example, run.tokenizer)
        empty.append(said["text"] == "")
        at += len(rows)
    assert empty == [margin >= np.median(margins) for margin in margins]
    assert 0 < sum(empty) < len(empty)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_fixture_is_what_transformers_computes():
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    about, logits = make_span.make()
    recorded, theirs = fixture()
    about = json.loads(json.dumps(about))
    about["config"].pop("transformers_version", None)
    assert about["config"].items() <= recorded["config"].items()
    np.testing.assert_allclose(logits, theirs, atol=1e-5)
    for one, other in zip(about["questions"], recorded["questions"], strict=True):
        assert one["windows"] == other["windows"]
        assert [s[:2] for s in one["spans"]] == [s[:2] for s in other["spans"]]
    assert "torch" in sys.modules
