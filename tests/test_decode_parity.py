"""Greedy and beam decoding write what transformers' `generate` writes, by token."""

import functools
import itertools
import json

import decode_cases as cases
import decode_peer as peer
import jax
import numpy as np
import pytest
import tiny

from lmtasks.decode import methods
from lmtasks.decode import plan

WANTED = json.loads(cases.FIXTURE.read_text())


# Each pair is a program of its own, seconds of compilation: all settings with one
# family, and with the others those that take the most of the code.
THOROUGH, BUSY = "gpt2", ("greedy repetition", "beam ngram")


def _pairs():
    for family, setting in itertools.product(cases.CASES, cases.SETTINGS):
        quick = family == THOROUGH or setting in BUSY
        marks = () if quick else pytest.mark.slow
        yield pytest.param(family, setting, marks=marks)


def _write(family, setting):
    """Return (tokens [B][W][n], scores [B][W]) of our decoder."""
    case = cases.CASES[family]
    stops = {"max_tokens": cases.LIMIT, "stop_ids": (case.stop,)}
    decode = plan.Decode(**stops, **cases.SETTINGS[setting][1])
    one = case.model

    @jax.jit
    def write(params, batch, keys):
        start = functools.partial(one.start, params)
        step = functools.partial(one.step, params)
        return methods.write(start, step, batch, decode=decode, keys=keys)

    keys = jax.random.split(jax.random.key(0), len(cases.LENGTHS))
    out = jax.tree.map(np.asarray, write(case.params(), case.batch(), keys))
    np.testing.assert_array_equal((out.tokens >= 0).sum(-1), out.lengths)
    texts = [[x[x >= 0].tolist() for x in row] for row in out.tokens]
    return texts, out.scores


@pytest.mark.parametrize(("family", "setting"), list(_pairs()))
def test_a_setting_writes_what_transformers_writes(family, setting):
    wanted = WANTED[family]["settings"][setting]
    texts, scores = _write(family, setting)
    assert texts == wanted["tokens"]
    if wanted["scores"]:
        np.testing.assert_allclose(scores, wanted["scores"], rtol=1e-4)


@pytest.mark.parametrize("family", cases.CASES)
def test_the_fixture_was_made_with_these_parameters_and_prompts(family):
    case = cases.CASES[family]
    assert WANTED[family]["sha256"] == case.digest()
    assert WANTED[family]["prompts"] == case.prompts()


@pytest.mark.parametrize("family", cases.CASES)
def test_the_fixture_is_what_installed_transformers_gives(family):
    pytest.importorskip("transformers", reason="transformers is not installed")
    case = cases.CASES[family]
    model = peer.their_model(case)
    for name, wanted in WANTED[family]["settings"].items():
        tokens, scores = peer.generate(case, model, cases.SETTINGS[name][0])
        assert tokens == wanted["tokens"], name
        np.testing.assert_allclose(scores, wanted["scores"], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("family", cases.CASES)
def test_logits_are_those_of_transformers(family):
    pytest.importorskip("transformers", reason="transformers is not installed")
    case = cases.CASES[family]
    batch = case.batch(written=6)
    ours = tiny.logits(case.model, case.params(), batch)
    theirs = peer.their_logits(case, peer.their_model(case))
    for row, wanted in zip(ours, theirs, strict=True):
        got = row[: len(wanted)]
        np.testing.assert_allclose(got / wanted.std(), wanted / wanted.std(), atol=1e-4)
