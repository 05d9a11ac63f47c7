"""A trained masked model in the service of another run: generator, and filler."""

import json

import numpy as np
import pytest
import runs

from lmtasks import api
from lmtasks.training import feed
from lmtasks.training import masked
from lmtasks.training import workdir

TEXTS = ("the cat sat on the mat", "a dog ran to the old house", "we saw the red hen")


def texts(folder):
    """Write a small corpus and return the flags that name it."""
    for split in ("train", "validation"):
        runs.write_jsonl(folder / f"{split}.jsonl", [{"text": t} for t in TEXTS * 4])
    return [f"--config.data.dir={folder}", "--config.data.format=jsonl"]


def train(capsys, work, where, **changes):
    """Train a tiny run on plain text."""
    argv = ["train", "--config=own:text,encoder", f"--workdir={work}", *where]
    changes = {"tokenizer__kind": "word", "eval__predict": False} | changes
    return runs.good(capsys, *argv, *runs.settings(**changes))


@pytest.fixture
def model(tmp_path, capsys):
    """Return (work directory of a masked model, flags of its corpus)."""
    where = texts(tmp_path)
    train(capsys, tmp_path / "mlm", where)
    return tmp_path / "mlm", where


def test_masks_are_filled_with_candidates_of_the_model(model):
    fill = masked.filler_of(str(model[0]))
    one, two, far = fill(
        ["the [MASK] sat", "[MASK] dog [MASK]", f"[MASK] {'the ' * 90}[MASK]"]
    )
    assert len(one) == 1 and len(two) == 2 and far == []
    assert {"token", "text", "score"} == one[0][0].keys()
    scores = [found["score"] for found in one[0]]
    assert scores == sorted(scores, reverse=True) and 0 < scores[0] <= 1


def test_training_texts_get_copies_that_the_model_filled(model, tmp_path, capsys):
    folder = runs.data(tmp_path / "reviews")
    work = tmp_path / "classes"
    given = {"augment__copies": 2, "augment__fill": 0.5, "augment__model": model[0]}
    argv = runs.classify(folder, work, tokenizer__kind="word", **given)
    said = runs.good(capsys, *argv)
    assert "48 changed copies" in said and "filled in anew" in said
    run = workdir.load_run(str(work))
    read = feed.read(run)
    assert len(read.train.rows.pieces) == 3 * 24
    again = feed.read(run)
    for a, b in zip(read.train.rows.pieces, again.train.rows.pieces, strict=True):
        np.testing.assert_array_equal(a.features["tokens"], b.features["tokens"])


def test_a_generator_replaces_tokens_in_a_real_run(model, tmp_path, capsys):
    generator, where = model
    work = tmp_path / "rtd"
    given = {"rtd__generator": generator, "tokenizer__path": generator / "tokenizer"}
    train(capsys, work, where, objective="rtd", **given)
    losses = [row["loss"] for row in runs.rows(work)]
    assert losses and np.isfinite(losses).all()
    metrics, _ = api.evaluate(api.load(str(work)), "validation")
    assert {"loss", "recall", "precision"} <= metrics.keys()


@pytest.mark.parametrize("key", ["augment.model", "rtd.generator"])
def test_what_is_no_masked_model_is_refused_by_its_key(key, tmp_path, capsys):
    folder = runs.data(tmp_path / "reviews")
    runs.good(capsys, *runs.classify(folder, tmp_path / "classes"))
    for place, reason in ((tmp_path, "not a work directory"), (tmp_path / "classes", "objective='classify'")):  # fmt: skip
        with pytest.raises(ValueError, match=reason) as error:
            masked.load(str(place), key)
        assert str(error.value).startswith(f"{key}=")


def test_zero_shot_labels_are_a_flag_of_predict(tmp_path, capsys):
    rows = [
        {"text": f"{a} {i}", "pair": b, "label": c}
        for i in range(8)
        for a, b, c in (("it rains", "it is wet", "entailment"),
                        ("it rains", "it is dry", "contradiction"))
    ]  # fmt: skip
    for split in ("train", "validation"):
        runs.write_jsonl(tmp_path / f"{split}.jsonl", rows)
    work = tmp_path / "nli"
    where = [f"--config.data.dir={tmp_path}", "--config.tokenizer.kind=byte"]
    argv = ("train", "--config=own:pairs", f"--workdir={work}", *where)
    runs.good(capsys, *argv, *runs.settings())
    path = tmp_path / "texts.txt"
    path.write_text("a storm is near\n")
    ask = ("predict", f"--workdir={work}", f"--input={path}")
    (said,) = map(
        json.loads, runs.good(capsys, *ask, "--labels=weather, sport").splitlines()
    )
    assert said["label"] in ("weather", "sport")
    assert sum(said["scores"].values()) == pytest.approx(1)
    wrong = runs.command(capsys, *ask, "--labels=weather,weather")
    assert wrong.code == 2 and "twice" in wrong.err
