"""The decoding loop, driven by a hand-made table and by tiny models."""

import functools

import jax
import markov
import numpy as np
import pytest
import scipy.stats
import tiny

from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.decode import sampling as samplers

MODEL = markov.Markov.drawn()
V, TABLE, LOG_P = MODEL.v, MODEL.table, MODEL.log_p
_prompts, _keys = markov.prompts, markov.keys


@functools.partial(jax.jit, static_argnums=1)
def _all(batch, decode, keys):
    return methods.write(MODEL.start, MODEL.step, batch, decode=decode, keys=keys)


def _generate(batch, decode, keys):
    """Return the only text of each row."""
    return jax.tree.map(lambda x: x[:, 0], _all(batch, decode, keys))


PROMPTS = ([0, 1], [2, 3, 1, 4], [4, 4, 0], [1, 2, 3])


def _greedy(prompt, limit, stop=None):
    """Return (tokens, log-probs) by following the largest entry of the table."""
    text, log_probs = list(prompt), []
    while len(log_probs) < limit and (not log_probs or text[-1] != stop):
        row = LOG_P[text[-2], text[-1]]
        text.append(int(row.argmax()))
        log_probs.append(row.max())
    return text[len(prompt) :], log_probs


@pytest.mark.parametrize("stop", [(), (5,), (0, 3)])
def test_greedy_follows_the_largest_entry_and_stops_after_a_stop_id(stop):
    decode = plan.Decode(max_tokens=9, stop_ids=stop)
    got = _generate(_prompts(*PROMPTS), decode, _keys(4))
    for b, prompt in enumerate(PROMPTS):
        tokens, log_probs = _greedy(prompt, 9)
        ends = [i + 1 for i, token in enumerate(tokens) if token in stop]
        n = min(ends, default=9)
        assert int(got.lengths[b]) == n
        assert got.tokens[b].tolist() == tokens[:n] + [-1] * (9 - n)
        np.testing.assert_allclose(got.log_probs[b, :n], log_probs[:n], atol=1e-5)
        assert (np.asarray(got.log_probs[b, n:]) == 0).all()


def test_some_row_stops_early_and_some_row_does_not():
    """The test above would prove little if all rows were of one kind."""
    lengths = [len(_greedy(prompt, 9, stop=5)[0]) for prompt in PROMPTS]
    assert min(lengths) < 9 and len(set(lengths)) > 1, lengths


def test_sampled_texts_have_the_distribution_of_the_table():
    rows = 20_000
    decode = plan.Decode(max_tokens=2, temperature=0.7)
    got = _generate(_prompts(*[[0, 1]] * rows), decode, _keys(rows))
    pairs = np.asarray(got.tokens)
    first = np.exp(LOG_P[0, 1] / 0.7)
    second = np.exp(LOG_P[1] / 0.7)
    wanted = (first / first.sum())[:, None] * second / second.sum(1, keepdims=True)
    counts = np.zeros((V, V))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    likely = wanted.ravel() * rows >= 5
    groups = [
        [*x.ravel()[likely], x.ravel()[~likely].sum()] for x in (counts, wanted * rows)
    ]
    assert scipy.stats.chisquare(*groups).pvalue > 1e-3
    # What is reported is of the unmodified model, not of the tempered one.
    a, b = pairs[:, 0], pairs[:, 1]
    log_p = np.stack([LOG_P[0, 1][a], LOG_P[1][a, b]], axis=1)
    np.testing.assert_allclose(got.log_probs, log_p, atol=1e-5)


@pytest.mark.parametrize("parameters", [{"top_k": 2}, {"top_p": 0.6}, {"min_p": 0.5}])
def test_every_sampled_token_was_among_those_kept(parameters):
    rows = 400
    decode = plan.Decode(max_tokens=3, temperature=1.5, **parameters)
    got = np.asarray(_generate(_prompts(*[[0, 1]] * rows), decode, _keys(rows)).tokens)
    kept = samplers.keep_mask(
        TABLE.reshape(-1, V) / 1.5, samplers.sampling_of(decode, V * V)
    )
    kept = np.asarray(kept).reshape(V, V, V)
    assert 0.2 < kept.mean() < 0.8
    a, b = np.zeros(rows, int), np.ones(rows, int)
    for n in range(3):
        assert kept[a, b, got[:, n]].all()
        a, b = b, got[:, n]


def test_a_text_does_not_depend_on_its_neighbours():
    decode = plan.Decode(max_tokens=8, temperature=1.3, stop_ids=(5,))
    keys = _keys(4)
    whole = _generate(_prompts(*PROMPTS), decode, keys)
    order = np.array([2, 0])
    few = _generate(_prompts(*(PROMPTS[i] for i in order)), decode, keys[order])
    np.testing.assert_array_equal(np.asarray(whole.tokens)[order], few.tokens)
    other = _generate(_prompts(*PROMPTS), decode, _keys(4, seed=1))
    assert (np.asarray(other.tokens) != np.asarray(whole.tokens)).any()


def test_the_rows_that_only_fill_a_batch_write_nothing():
    prompts = _prompts(*PROMPTS)
    prompts["positions"][1] = -1
    got = _generate(prompts, plan.Decode(max_tokens=4), _keys(4))
    assert got.lengths.tolist() == [4, 0, 4, 4]
    assert (np.asarray(got.tokens)[1] == -1).all()


def test_one_token_is_written_where_one_is_asked_for():
    got = _generate(_prompts(*PROMPTS), plan.Decode(max_tokens=1), _keys(4))
    assert got.tokens.shape == (4, 1)
    wanted = [_greedy(prompt, 1)[0][0] for prompt in PROMPTS]
    assert got.tokens[:, 0].tolist() == wanted


def _text_model(architecture):
    kind = {"decoder": "rotary", "encoder_decoder": "t5"}[architecture]
    one = tiny.model(architecture, positions={"kind": kind}, tied=False, layers=1)
    return one, tiny.draw(one)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _write(one, params, batch, decode, keys):
    written = methods.write(
        functools.partial(one.start, params),
        functools.partial(one.step, params),
        batch,
        decode=decode,
        keys=keys,
    )
    return jax.tree.map(lambda x: x[:, 0], written)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_what_a_model_writes_it_scores_alike_when_it_reads_it(
    architecture, temperature
):
    """Ragged prompts; the log-probs of the loop are those of the full forward pass,
    and greedy tokens are its argmax.
    """
    one, params = _text_model(architecture)
    rows, limit = tiny.batch(4, 2, architecture=architecture, sources=[3, 6]), 5
    decode = plan.Decode(max_tokens=limit, temperature=temperature)
    got = _write(one, params, rows, decode, _keys(2))
    whole = {k: v for k, v in rows.items() if "source" in k}
    texts = [
        [*rows["tokens"][b, :n], *np.asarray(got.tokens[b])]
        for b, n in enumerate((4, 2))
    ]
    whole |= _prompts(*texts)
    log_p = np.asarray(jax.nn.log_softmax(tiny.logits(one, params, whole)))
    for b, n in enumerate((4, 2)):
        scored = log_p[b, n - 1 : n - 1 + limit]
        mine = scored[np.arange(limit), got.tokens[b]]
        np.testing.assert_allclose(got.log_probs[b], mine, atol=2e-4)
        if temperature == 0:
            np.testing.assert_array_equal(got.tokens[b], scored.argmax(1))


def test_a_models_text_does_not_depend_on_its_neighbours():
    one, params = _text_model("decoder")
    rows = tiny.batch(4, 2, 3)
    decode = plan.Decode(max_tokens=5, temperature=1.0, top_p=0.9)
    keys = _keys(3)
    whole = _write(one, params, rows, decode, keys)
    few = {k: v[[2, 1]] for k, v in rows.items()}
    again = _write(one, params, few, decode, keys[np.array([2, 1])])
    np.testing.assert_array_equal(np.asarray(whole.tokens)[[2, 1]], again.tokens)
