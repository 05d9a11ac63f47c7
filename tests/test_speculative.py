"""Speculative decoding writes what the model alone would: exactly, or in distribution."""

import functools

import jax
import markov
import numpy as np
import pytest
import scipy.stats
import tiny

from lmtasks.decode import loop
from lmtasks.decode import plan
from lmtasks.decode import sampling as samplers
from lmtasks.decode import speculative

MODEL, OTHER = markov.Markov.drawn(v=5, seed=1), markov.Markov.drawn(v=5, seed=2)
STOP = 4
PROMPTS = ([0, 1], [2, 1, 1, 0], [1], [3, 0, 1, 2, 0, 1])
HELPERS = {
    "lookup": speculative.Lookup(),
    "draft": speculative.Draft(OTHER.start, OTHER.step),
    "itself": speculative.Draft(MODEL.start, MODEL.step),
}


@functools.partial(jax.jit, static_argnums=(0, 2))
def _speculate(name, batch, decode, keys):
    sampling = samplers.sampling_of(decode, batch["tokens"].shape[0])
    return speculative.generate(
        MODEL.start, MODEL.step, batch,
        decode=decode, sampling=sampling, keys=keys, helper=HELPERS[name],
    )  # fmt: skip


@functools.partial(jax.jit, static_argnums=1)
def _plain(batch, decode, keys):
    sampling = samplers.sampling_of(decode, batch["tokens"].shape[0])
    return loop.generate(
        MODEL.start, MODEL.step, batch, decode=decode, sampling=sampling, keys=keys
    )


@pytest.mark.parametrize("name", HELPERS)
@pytest.mark.parametrize("drafted, stop", [(1, (STOP,)), (3, ())])
def test_greedy_texts_are_those_of_greedy_decoding(name, drafted, stop):
    decode = plan.Decode(
        method="draft", max_tokens=11, drafted=drafted, stop_ids=stop, min_tokens=2
    )
    batch, keys = markov.prompts(*PROMPTS), markov.keys(4)
    got = _speculate(name, batch, decode, keys).written
    wanted = _plain(batch, decode, keys)
    np.testing.assert_array_equal(got.tokens, wanted.tokens)
    np.testing.assert_array_equal(got.lengths, wanted.lengths)
    np.testing.assert_allclose(got.log_probs, wanted.log_probs, atol=1e-5)
    np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-4)


def test_penalties_and_bans_are_the_same_at_every_accepted_place():
    decode = plan.Decode(
        method="draft", max_tokens=9, drafted=3, repetition_penalty=1.7,
        frequency_penalty=0.4, no_repeat_ngram=2,
    )  # fmt: skip
    batch, keys = markov.prompts(*PROMPTS), markov.keys(4)
    for name in HELPERS:
        got = _speculate(name, batch, decode, keys).written
        np.testing.assert_array_equal(got.tokens, _plain(batch, decode, keys).tokens)


def test_a_model_that_drafts_for_itself_is_never_refused():
    decode = plan.Decode(method="draft", max_tokens=9, drafted=3)
    got = _speculate("itself", markov.prompts(*PROMPTS), decode, markov.keys(4))
    # One token, then four a round.
    assert int(got.rounds) == 2
    assert got.accepted.tolist() == [6] * 4
    for temperature in (0.7, 1.5):
        sampled = plan.Decode(
            method="draft", max_tokens=9, drafted=3, temperature=temperature, top_p=0.9
        )
        one = _speculate("itself", markov.prompts(*PROMPTS), sampled, markov.keys(4))
        assert int(one.rounds) == 2


def test_a_text_that_repeats_itself_is_proposed_by_lookup():
    whole = np.array([[1, 2, 3, 4, 1, 2, 3, -1], [1, 2, 2, 3, 0, -1, -1, -1]])
    length = np.array([7, 5])
    propose = functools.partial(
        speculative.Lookup().propose, (), sampling=None, keys=None
    )
    tokens, probs, _ = propose(whole, length, None, 3)
    assert probs is None
    # 1 2 3 was followed by 4 1 2; nothing was ever followed by 0.
    np.testing.assert_array_equal(tokens, [[4, 1, 2], [-1, -1, -1]])
    whole = np.array([[7, 1, 8, 1, 9, 1, -1, -1]])
    np.testing.assert_array_equal(
        propose(whole, np.array([6]), None, 3)[0], [[9, 1, -1]]
    )


@pytest.mark.parametrize("name", ["lookup", "draft"])
@pytest.mark.parametrize(
    "values", [{"temperature": 1.0}, {"temperature": 0.8, "top_k": 3}]
)
def test_sampled_texts_keep_the_models_distribution(name, values):
    rows, longest = 20_000, 3
    prompt = [0, 1, 0, 1]
    decode = plan.Decode(method="draft", max_tokens=longest, drafted=2, **values)
    batch = markov.prompts(*[prompt] * rows)
    got = np.asarray(_speculate(name, batch, decode, markov.keys(rows)).written.tokens)
    t = MODEL.table.astype(np.float64) / decode.temperature
    if decode.top_k:
        least = np.sort(t, axis=-1)[..., -decode.top_k][..., None]
        t = np.where(t >= least, t, -np.inf)
    p = np.exp(t - t.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    wanted = np.einsum("a,ab,abc->abc", p[0, 1], p[1], p) * rows
    counts = np.zeros((5, 5, 5))
    np.add.at(counts, tuple(got[:, 0].T), 1)
    assert (counts[wanted == 0] == 0).all()
    likely = wanted.ravel() >= 5
    groups = [
        [*x.ravel()[likely], x.ravel()[~likely].sum() + 1e-9] for x in (counts, wanted)
    ]
    assert scipy.stats.chisquare(*groups).pvalue > 1e-4
    # Within four standard deviations, every one.
    deviation = np.sqrt(wanted * (1 - wanted / rows))
    assert (np.abs(counts - wanted) <= 4 * deviation + 1)[wanted >= 5].all()


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_real_model_speculates_what_it_writes_alone(architecture):
    kind = {"decoder": "rotary", "encoder_decoder": "t5"}[architecture]
    one = tiny.model(architecture, positions={"kind": kind}, tied=False, layers=1)
    params, other = tiny.draw(one), tiny.draw(one, seed=5)
    rows = tiny.batch(4, 2, architecture=architecture, sources=[3, 6])
    decode = plan.Decode(method="draft", max_tokens=7, drafted=3)
    sampling = samplers.sampling_of(decode, 2)
    pair = functools.partial(one.start, params), functools.partial(one.step, params)
    draft = functools.partial(one.start, other), functools.partial(one.step, other)
    given = {"decode": decode, "sampling": sampling, "keys": markov.keys(2)}
    wanted = jax.jit(lambda: loop.generate(*pair, rows, **given))()
    for helper in (speculative.Lookup(), speculative.Draft(*draft)):
        run = jax.jit(
            lambda h=helper: speculative.generate(*pair, rows, helper=h, **given)
        )
        np.testing.assert_array_equal(run().written.tokens, wanted.tokens)
