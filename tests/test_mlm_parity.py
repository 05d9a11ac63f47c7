"""Masks are filled as transformers' fill-mask pipeline fills them, with the same weights."""

import functools
import itertools
import json

import jax
import numpy as np
import pytest
from reference import make_mlm
from test_reference import read
from test_reference import write

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import pack
from lmtasks.objectives import base
from lmtasks.objectives import mlm

each = pytest.mark.parametrize("name", make_mlm.NAMES)
LENGTH = 20


def recorded(name):
    """Return the fixture of a model."""
    return json.loads((make_mlm.FIXTURES / f"mlm_{name}.json").read_text())


def ours(name, folder, texts, top):
    """Return our answers with the weights and the tokenizer of a fixture."""
    write(name, folder)
    make_mlm.add(recorded(name)["files"], folder)
    tokenizer = tokenizers.load(folder)
    _, model, params = read(folder)
    objective = mlm.Mlm(base.Setting("encoder", length=LENGTH), mlm.Options(top=top))
    given = [examples.Text(text) for text in texts]
    rows = [objective.query(example, tokenizer)[0] for example in given]
    assert [row.pop("cut") for row in rows] == [0] * len(rows)
    masks = max(int(row["weights"].sum()) for row in rows)
    batch = pack.stack(rows, LENGTH, 0, masks)
    predict = jax.jit(functools.partial(objective.predict, model))
    said = jax.device_get(predict(params, batch))
    return [
        objective.answer([{k: x[i] for k, x in said.items()}], example, tokenizer)
        for i, example in enumerate(given)
    ]


def same(answer, wanted):
    """Assert that an answer says what the pipeline says."""
    assert len(answer["fills"]) == len(wanted)
    for fills, theirs in zip(answer["fills"], wanted, strict=True):
        assert [fill["id"] for fill in fills] == [one["token"] for one in theirs]
        np.testing.assert_allclose(
            [fill["score"] for fill in fills],
            [one["score"] for one in theirs],
            rtol=1e-4,
        )
        assert [f["token"] for f in fills] == [one["token_str"] for one in theirs]
        if len(wanted) == 1:  # of several masks the pipeline leaves the others open
            assert [f["text"] for f in fills] == [one["sequence"] for one in theirs]
    if len(wanted) == 1:
        assert answer["text"] == wanted[0][0]["sequence"]


@each
def test_fillers_are_those_of_the_recorded_pipeline(name, tmp_path):
    found = recorded(name)
    texts = [one["text"] for one in found["texts"]]
    for answer, one in zip(
        ours(name, tmp_path, texts, found["top"]), found["texts"], strict=True
    ):
        same(answer, one["fills"])


@each
def test_a_recorded_text_is_not_filled_alike_by_any_weights(name):
    """Scores that hardly differ, or one filler everywhere, would prove little."""
    tops = [fill for one in recorded(name)["texts"] for fill in one["fills"]]
    assert len({fills[0]["token"] for fills in tops}) > 2
    gaps = [a["score"] - b["score"] for f in tops for a, b in itertools.pairwise(f)]
    assert min(gaps) > 1e-5 and max(gaps) > 0.02


@each
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_fixture_is_what_installed_transformers_says(name):
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    again, found = make_mlm.fixture(name), recorded(name)
    for one, other in zip(again["texts"], found["texts"], strict=True):
        assert one["text"] == other["text"]
        for fills, theirs in zip(one["fills"], other["fills"], strict=True):
            for a, b in zip(fills, theirs, strict=True):
                assert a.pop("score") == pytest.approx(b.pop("score"), rel=1e-5)
                assert a == b
