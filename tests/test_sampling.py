"""Which tokens temperature, top-k, top-p and min-p leave, and how often each is drawn.

Thresholds are found by bisection over bits; here by sorting.
"""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks.decode import plan
from lmtasks.decode import sampling as samplers

WORDS = ("sleeping", "purring", "running", "barking")
CAT = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))


def _sampling(rows, **values):
    return samplers.sampling_of(plan.Decode(**{"temperature": 1.0} | values), rows)


_keep = jax.jit(samplers.keep_mask)
_sample = jax.jit(samplers.draw)


def _kept(logits, **parameters):
    logits = jnp.atleast_2d(jnp.asarray(logits, jnp.float32))
    return np.asarray(_keep(logits, _sampling(len(logits), **parameters)))


@pytest.mark.parametrize(
    "p, count", [(0.69, 2), (0.85, 3), (0.9, 3), (0.91, 4), (1.0, 4), (0.01, 1)]
)
def test_the_nucleus_is_the_smallest_set_with_its_mass_in_any_order(p, count):
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(4)
        kept = _kept(CAT[order], top_p=p)[0]
        assert sorted(order[kept]) == list(range(count))


def test_the_worked_example_the_cat_is():
    every = np.arange(0.5, 900) / 900  # all draws, evenly
    rows = jnp.tile(CAT, (len(every), 1))

    def shares(**parameters):
        drawn = _sample(rows, _sampling(len(every), **parameters), every)
        return np.bincount(drawn, minlength=4) / len(every)

    assert WORDS[int(shares(temperature=0.0).argmax())] == "sleeping"
    np.testing.assert_array_equal(shares(temperature=0.0), [1, 0, 0, 0])
    np.testing.assert_allclose(shares(), [0.4, 0.3, 0.2, 0.1], atol=0.002)
    three = [0.444444, 0.333333, 0.222222, 0]
    np.testing.assert_allclose(shares(top_k=3), three, atol=0.002)
    np.testing.assert_allclose(shares(top_p=0.9), three, atol=0.002)
    # p^2 and sqrt(p), renormalised.
    np.testing.assert_allclose(
        shares(temperature=0.5), np.array([16, 9, 4, 1]) / 30, atol=0.002
    )
    # Relative to .4: .3 and .2 stay, .1 goes.
    np.testing.assert_allclose(shares(min_p=0.4), three, atol=0.002)


def _brute_force(logits, top_k, top_p, min_p):
    """Return what is kept, by sorting in float64; None where rounding would decide."""
    kept = np.ones(len(logits), bool)
    if top_k:
        kept = logits >= np.sort(logits)[::-1][min(top_k, len(logits)) - 1]
    weights = np.where(kept, np.exp(logits - logits.max()), 0)
    probs = weights / weights.sum()
    if top_p < 1:
        levels = np.unique(probs)[::-1]
        masses = np.array([probs[probs >= level].sum() for level in levels])
        if (np.abs(masses - (top_p - 1e-6)) < 3e-6).any():
            return None
        kept = kept & (probs >= levels[np.argmax(masses >= top_p)])
    share = probs / probs.max()
    if min_p and (np.abs(share - min_p) < 1e-6).any():
        return None
    return kept & (share >= min_p)


_LOGITS = st.one_of(
    st.integers(-24, 24).map(lambda i: i / 4),  # many ties
    st.floats(-30, 30, width=32).map(lambda x: x if abs(x) > 1e-6 else 0.0),
)
_SHARES = st.integers(1, 64).map(lambda i: i / 64)


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(
    logits=st.lists(_LOGITS, min_size=10, max_size=10),
    top_k=st.integers(0, 12),
    top_p=_SHARES,
    min_p=st.one_of(st.just(0.0), _SHARES),
)
def test_what_is_kept_is_what_sorting_keeps(logits, top_k, top_p, min_p):
    logits = np.array(logits, np.float32)
    wanted = _brute_force(logits.astype(np.float64), top_k, top_p, min_p)
    hypothesis.assume(wanted is not None)
    got = _kept(logits, top_k=top_k, top_p=top_p, min_p=min_p)[0]
    np.testing.assert_array_equal(got, wanted)


def test_a_mass_within_a_millionth_of_p_is_enough():
    rng = np.random.default_rng(0)
    for _ in range(20):
        probs = np.sort(rng.dirichlet(np.ones(6)))[::-1]
        logits = np.log(probs).astype(np.float32)
        for count in (1, 2, 3):
            mass = probs[:count].sum()
            assert _kept(logits, top_p=mass + 5e-7)[0].sum() == count
            assert _kept(logits, top_p=mass + 4e-6)[0].sum() == count + 1


@pytest.mark.parametrize("shift", [0.0, -50.0, 50.0])
def test_ties_at_the_threshold_are_all_kept(shift):
    logits = np.array([1, 3, 2, 2, 2, 0]) + shift
    wanted = [False, True, True, True, True, False]
    np.testing.assert_array_equal(_kept(logits, top_k=2)[0], wanted)
    np.testing.assert_array_equal(_kept(logits, top_p=0.6)[0], wanted)


def test_a_top_p_of_one_keeps_even_the_least_likely_token():
    logits = np.array([0, -16, -20], np.float32)
    assert _kept(logits, top_p=1.0).all()


def test_forbidden_tokens_are_never_drawn():
    logits = np.array([[-np.inf, 1, 2, -np.inf]], np.float32)
    rows = jnp.tile(logits, (1000, 1))
    draws = np.linspace(0, 1, 1000, endpoint=False, dtype=np.float32)
    for parameters in ({}, {"top_k": 3}, {"top_p": 0.999}, {"temperature": 7.0}):
        drawn = _sample(rows, _sampling(1000, **parameters), draws)
        assert set(np.unique(drawn)) == {1, 2}


def test_the_largest_draw_takes_a_kept_token():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 1000)).astype(np.float32) * 4
    largest = jnp.full(500, 1 - 2.0**-23, jnp.float32)
    for parameters in ({}, {"top_k": 7}, {"top_p": 0.8}, {"min_p": 0.2}):
        drawn = np.asarray(_sample(logits, _sampling(500, **parameters), largest))
        stray = ~_kept(logits, **parameters)[np.arange(500), drawn]
        assert not stray.any(), (parameters, np.flatnonzero(stray), drawn[stray])
    first = np.asarray(_sample(logits, _sampling(500, top_k=7), jnp.zeros(500)))
    np.testing.assert_array_equal(first, _kept(logits, top_k=7).argmax(1))


def test_each_row_is_sampled_by_its_own_parameters():
    rows = jnp.tile(CAT[::-1], (4, 1))
    mixed = samplers.Sampling(
        temperature=jnp.array([0.0, 1.0, 1.0, 1.0]),
        top_k=jnp.array([0, 1, 0, 0]),
        top_p=jnp.array([1.0, 1.0, 0.5, 1.0]),
        min_p=jnp.zeros(4),
        typical_p=jnp.ones(4),
    )
    kept = np.asarray(_keep(rows, mixed)).sum(1)
    np.testing.assert_array_equal(kept, [4, 1, 2, 4])
    drawn = _sample(rows, mixed, jnp.full(4, 0.01))
    np.testing.assert_array_equal(drawn, [3, 3, 2, 0])


def test_a_tiny_temperature_is_greedy_and_a_huge_one_is_uniform():
    draws = np.arange(0.5, 400) / 400
    rows = jnp.tile(CAT, (400, 1))
    cold = _sample(rows, _sampling(400, temperature=1e-4), draws)
    assert (np.asarray(cold) == 0).all()
    hot = _sample(rows, _sampling(400, temperature=1e6), draws)
    np.testing.assert_array_equal(np.bincount(hot), [100] * 4)


def test_a_bfloat16_models_logits_are_sampled_in_float32():
    rows = jnp.tile(CAT, (100, 1)).astype(jnp.bfloat16)
    drawn = _sample(rows, _sampling(100), np.arange(0.5, 100) / 100)
    np.testing.assert_allclose(np.bincount(drawn), [40, 30, 20, 10], atol=1)


@pytest.mark.parametrize(
    "values",
    [
        {"top_p": 0.0}, {"top_p": 1.2}, {"temperature": -1.0}, {"top_k": -1},
        {"min_p": 2.0}, {"max_tokens": 0},
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(values):
    (name,) = values
    with pytest.raises(ValueError, match=f"decode.{name}=.* out of range"):
        plan.Decode(**values)
