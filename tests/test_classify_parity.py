"""The head on [CLS] says what transformers' text-classification pipeline says."""

import functools
import json

import classify_peer as peer
import jax
import pytest
from reference import values

from configs import base
from lmtasks import api
from lmtasks import builder
from lmtasks.data import examples
from lmtasks.training import imports
from lmtasks.training import parallel

WANTED = json.loads(peer.FIXTURE.read_text())
KINDS = {
    "single_label_classification": "single",
    "multi_label_classification": "multi",
    "regression": "regression",
}
# What products summed in another order differ by.
NEAR = {"rel": 1e-4, "abs": 1e-5}


@functools.cache
def predicted(name, folder):
    """Return our predictions of a checkpoint for all texts."""
    case = peer.CASES[name]
    c = base.finetune()
    c.task, c.architecture = "pairs", "encoder"
    c.init, c.data.length = str(values.write(folder, WANTED[name])), 38
    c.classify.kind = KINDS[case.problem]
    if c.classify.kind != "regression":
        c.data.labels = case.labels
    run = builder.build(c)
    mesh = parallel.make_mesh(run.parallel)
    notes = []
    params = imports.params_of(run, mesh, jax.random.key(0), notes.append)
    assert not any("fresh" in note for note in notes), notes
    given = [examples.Labelled(t[0], None, *t[1:]) for t in peer.TEXTS]
    return api.predict(api.Loaded(run, params, 0, mesh, None), given)


@pytest.fixture(params=peer.CASES)
def said(request, tmp_path_factory):
    """(name of a case, our predictions)."""
    name = request.param
    return name, predicted(name, tmp_path_factory.getbasetemp() / f"parity-{name}")


def test_labels_and_scores_are_those_of_the_reference(said):
    name, rows = said
    kind = KINDS[peer.CASES[name].problem]
    assert len(rows) == len(WANTED[name]["answers"])
    for row, wanted in zip(rows, WANTED[name]["answers"], strict=True):
        if kind == "regression":
            assert (
                row["score"] == row["label"] == pytest.approx(wanted["score"], **NEAR)
            )
            continue
        assert row["scores"] == pytest.approx(wanted, **NEAR)
        if kind == "multi":
            assert row["label"] == [x for x in row["scores"] if wanted[x] >= 0.5]
        else:
            best = max(wanted, key=wanted.get)
            assert (row["label"], row["score"]) == (
                best,
                pytest.approx(wanted[best], **NEAR),
            )


def test_the_fixture_tells_labels_texts_and_pairs_apart():
    for name, one in WANTED.items():
        rows = [tuple(round(x, 4) for x in row.values()) for row in one["answers"]]
        assert len(set(rows)) == len(rows), name
    best = [max(row, key=row.get) for row in WANTED["bert"]["answers"]]
    assert len(set(best)) > 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", peer.CASES)
def test_the_fixture_is_what_transformers_says(name, tmp_path):
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    found = peer.answers(values.write(tmp_path, WANTED[name]))
    for row, wanted in zip(found, WANTED[name]["answers"], strict=True):
        assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)
