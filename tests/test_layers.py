"""Norms, projections, feed-forward, the mask rule and attention as functions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import tiny

from lmtasks.layers import attention
from lmtasks.layers import embed
from lmtasks.layers import linear
from lmtasks.layers import mlp
from lmtasks.layers import norms
from lmtasks.layers import slots
from lmtasks.models import transformer


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_layer_norm_is_the_formula():
    x, scale, bias = _draw(2, 3, 8), _draw(8, seed=1), _draw(8, seed=2)
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    wanted = (x - mean) / np.sqrt(var + 1e-3) * scale + bias
    got = norms.layer_norm(x, scale, bias, 1e-3)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_rms_norm_keeps_the_mean_and_adds_eps_inside_the_root():
    x = 1e-3 * _draw(2, 8) + 1e-3
    wanted = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    got = norms.rms_norm(x, np.ones(8, np.float32), 1e-6)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_a_norm_of_kind_rms1_is_an_rms_norm_of_one_plus_its_scale():
    x, w = _draw(2, 3, 8), 0.3 * _draw(8, seed=1)
    got = norms.Norm("rms1", 1e-6).apply({"params": {"scale": w}}, x)
    wanted = norms.Norm("rms", 1e-6).apply({"params": {"scale": 1 + w}}, x)
    np.testing.assert_array_equal(got, wanted)


def test_norms_of_bfloat16_are_computed_in_float32():
    x = jnp.asarray(_draw(4, 512) + 100, jnp.bfloat16)
    got = norms.layer_norm(x, np.ones(512, np.float32), np.zeros(512, np.float32), 1e-6)
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(got, np.float64), exact, atol=0.02)


@pytest.mark.parametrize("inputs", [1, 2])
def test_project_contracts_the_last_dims_of_x_with_the_first_of_w(inputs):
    x, w = _draw(2, 3, 4, 5), _draw(*(4, 5)[2 - inputs :], 6, 7, seed=1)
    bias = _draw(6, 7, seed=2)
    got = linear.project(x, w, bias=bias, inputs=inputs)
    wanted = np.tensordot(x, w, axes=inputs) + bias
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_bfloat16_projection_sums_in_float32():
    x = jnp.ones((1, 1, 4096), jnp.bfloat16)
    w = jnp.full((4096, 1), 1.0, jnp.bfloat16)
    got = linear.project(x, w)
    assert got.dtype == jnp.bfloat16 and float(got[0, 0, 0]) == 4096.0
    assert linear.project_transposed(x, w.T).dtype == jnp.float32


def test_activations_have_their_published_values():
    at_one = {
        "gelu": 0.8413447, "gelu_tanh": 0.8411920, "relu": 1.0, "relu2": 1.0,
        "silu": 0.7310586, "quick_gelu": 0.8457958,
    }  # fmt: skip
    for name, value in at_one.items():
        np.testing.assert_allclose(mlp.activate(name, jnp.float32(1)), value, rtol=1e-6)
    assert float(mlp.activate("relu2", jnp.float32(3))) == 9.0
    assert float(mlp.activate("relu2", jnp.float32(-3))) == 0.0


def test_the_left_tail_of_a_bfloat16_gelu_is_as_fine_as_bfloat16():
    """1 + erf(x) cancels there: it must be computed in float32."""
    x = jnp.linspace(-5, -1.5, 500).astype(jnp.bfloat16)
    exact = np.asarray(x, np.float64) * scipy.special.ndtr(np.asarray(x, np.float64))
    got = np.asarray(jax.jit(lambda x: mlp.activate("gelu", x))(x), np.float64)
    np.testing.assert_allclose(got, exact, atol=1e-3)


def test_a_gated_feed_forward_multiplies_up_by_the_activated_gate():
    cfg = tiny.config(gated=True, mlp_bias=True, activation="silu")
    f, d = cfg.hidden, cfg.width
    p = {"up": _draw(d, f), "gate": _draw(d, f, seed=1), "down": _draw(f, d, seed=2)}
    p |= {"up_bias": _draw(f, seed=3), "gate_bias": _draw(f, seed=4)}
    p["down_bias"] = _draw(d, seed=5)
    x = 0.1 * _draw(2, 3, d, seed=6)
    gate = x @ p["gate"] + p["gate_bias"]
    hidden = gate / (1 + np.exp(-gate)) * (x @ p["up"] + p["up_bias"])
    wanted = hidden @ p["down"] + p["down_bias"]
    got = mlp.Mlp(cfg).apply({"params": p}, x)
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_embeddings_are_scaled_and_projected():
    cfg = tiny.config(embed_dim=8, embed_scale=3.0, tied=False)
    p = {"tokens": _draw(tiny.VOCAB, 8), "up": _draw(8, 32, seed=1)}
    tokens = np.array([[3, 0, 49]], np.int32)
    got = embed.Embed(cfg).apply({"params": p}, tokens)
    np.testing.assert_allclose(got, 3 * (p["tokens"][tokens] @ p["up"]), atol=1e-4)


def _rule(see, b, q, k, window):
    """The mask rule of ARCHITECTURE.md, for one pair, in plain Python."""
    at_q, at_k = see.q_positions[b, q], see.k_positions[b, k]
    seen = at_k >= 0
    if see.q_segments is not None:
        seen &= see.k_segments[b, k] in (see.q_segments[b, q], 0)
    if see.causal:
        marked = see.prefix is not None and see.prefix[b, k]
        seen &= at_k <= at_q or marked
    return seen and (not window or abs(at_q - at_k) < window)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 2])
def test_the_mask_is_the_rule_for_every_pair(causal, window):
    rng = np.random.default_rng(0)
    b, t = 4, 9
    positions = rng.integers(-1, 6, (b, t)).astype(np.int32)
    segments = rng.integers(0, 3, (b, t)).astype(np.int32)
    prefix = rng.random((b, t)) < 0.3
    for parts in itertools.product((None, segments), (None, prefix)):
        see = attention.Visibility(
            positions, positions, parts[0], parts[0], parts[1], causal=causal
        )
        got = np.asarray(see.dense(window))
        assert got.shape == (b, t, t)
        for i, q, k in itertools.product(range(b), range(t), range(t)):
            assert got[i, q, k] == _rule(see, i, q, k, window), (parts, i, q, k)


def test_a_window_of_two_sees_itself_and_one_neighbour():
    places = np.arange(4, dtype=np.int32)[None]
    causal = attention.Visibility(places, places, causal=True).dense(2)
    wanted = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    np.testing.assert_array_equal(causal[0], np.array(wanted, bool))
    both = attention.Visibility(places, places).dense(2)
    np.testing.assert_array_equal(both[0], np.array(wanted, bool) | np.array(wanted).T)


def test_a_traced_window_of_zero_is_no_window():
    places = np.arange(5, dtype=np.int32)[None]
    see = attention.Visibility(places, places, causal=True)
    traced = jax.jit(see.dense)
    np.testing.assert_array_equal(traced(jnp.int32(0)), see.dense())
    np.testing.assert_array_equal(traced(jnp.int32(3)), see.dense(3))


def _by_hand(q, keys, values, mask, scale, bias, cap):
    """Attention in float64 loops over rows and heads."""
    out = np.zeros(q.shape)
    for b, n in np.ndindex(q.shape[0], q.shape[2]):
        k = n // (q.shape[2] // keys.shape[1])
        logits = scale * q[b, :, n].astype(np.float64) @ keys[b, k].T
        logits = cap * np.tanh(logits / cap) if cap else logits
        logits = np.where(mask[b], logits + bias[b, n], -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        out[b, :, n] = weights / weights.sum(-1, keepdims=True) @ values[b, k]
    return out


@pytest.mark.parametrize("cap", [0.0, 1.5])
def test_attention_is_the_formula_with_groups_bias_and_cap(cap):
    q, keys, values = _draw(2, 5, 4, 8), _draw(2, 2, 6, 8, seed=1), _draw(2, 2, 6, 8)
    mask = np.random.default_rng(3).random((2, 5, 6)) < 0.5
    mask[..., 0] = True
    bias = _draw(2, 4, 5, 6, seed=4)
    kv = slots.KeysValues(keys, values)
    got = attention.attend(q, kv, mask, scale=0.7, bias=jnp.asarray(bias), soft_cap=cap)
    wanted = _by_hand(q, keys, values, mask, 0.7, bias, cap)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_attention_equals_that_of_jax():
    q, keys, values = _draw(2, 5, 4, 8), _draw(2, 2, 6, 8, seed=1), _draw(2, 2, 6, 8)
    mask = np.random.default_rng(3).random((2, 5, 6)) < 0.7
    mask[..., 2] = True
    got = attention.attend(q, slots.KeysValues(keys, values), mask, scale=0.5)
    wanted = jax.nn.dot_product_attention(
        q, keys.swapaxes(1, 2), values.swapaxes(1, 2), mask=mask[:, None], scale=0.5
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def _module(cfg, memory=False):
    """Return (function of x, positions [, memory, places]) of one Attention."""
    rng = np.random.default_rng(0)
    one = attention.Attention(cfg)
    places = np.zeros((1, 2), np.int32)
    see = attention.Visibility(places, places, causal=not memory)
    x = np.zeros((1, 2, cfg.width), np.float32)
    layer = transformer.Layer()
    shapes = jax.eval_shape(
        lambda: one.init(jax.random.key(0), x, see, layer=layer)["params"]
    )
    params = jax.tree.map(lambda p: rng.normal(size=p.shape) * 0.3, shapes)
    params = jax.tree.map(lambda p: p.astype(np.float32), params)

    def run(params, x, positions, memory=None, places=None):
        keys = positions if memory is None else places
        see = attention.Visibility(positions, keys, causal=memory is None)
        return one.apply({"params": params}, x, see, layer=layer, memory=memory)[0]

    return run, jax.tree.map(lambda p: getattr(p, "value", p), params)


def test_an_empty_query_gives_exactly_zero_and_a_finite_gradient():
    run, params = _module(tiny.config())
    x = _draw(2, 4, 32)
    positions = np.array([[0, 1, -1, -1], [-1, -1, -1, -1]], np.int32)

    def loss(params, x):
        y = run(params, x, positions)
        return jnp.sum(y**2), y

    slope = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    gradient, y = slope(params, x)
    assert (np.asarray(y[0, 2:]) == 0).all() and (np.asarray(y[1]) == 0).all()
    assert (np.asarray(y[0, :2]) != 0).all()
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    assert (np.asarray(gradient[1])[1] == 0).all()


def test_a_query_that_sees_no_key_reads_nothing():
    """A packed example without a source must not read its neighbours' sources."""
    run, params = _module(tiny.config(), memory=True)
    x, positions = _draw(1, 2, 32), np.array([[0, 1]], np.int32)
    nowhere = np.array([[-1, -1, -1]], np.int32)
    one = run(params, x, positions, _draw(1, 3, 32, seed=1), nowhere)
    other = run(params, x, positions, _draw(1, 3, 32, seed=2), nowhere)
    np.testing.assert_array_equal(one, other)


def test_a_chunk_is_written_at_each_rows_own_slot():
    cache = np.zeros((2, 6), np.float32)
    new = np.array([[1, 2], [3, 4]], np.float32)
    got = slots.write(cache, new, np.array([0, 3], np.int32), 0)
    wanted = [[1, 2, 0, 0, 0, 0], [0, 0, 0, 3, 4, 0]]
    np.testing.assert_array_equal(got, wanted)


def test_what_overhangs_the_end_of_a_cache_moves_nothing_before_it():
    """A ragged chunk may end in padding beyond the last slot."""
    cache = np.arange(5, dtype=np.float32)[None]
    got = slots.write(cache, np.array([[7.0, -1.0]]), np.array([4]), 0)
    np.testing.assert_array_equal(got, [[0, 1, 2, 3, 7]])
