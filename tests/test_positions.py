"""Rotary, sinusoidal, T5 and ALiBi positions against published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmtasks.layers import positions as places
from lmtasks.models.config import Positions

# Computed with T5's own rule in float32; the argument is key - query.
BIDIRECTIONAL = {
    0: 0, -1: 1, -7: 7, -8: 8, -12: 9, -16: 10, -32: 12, -64: 14, -90: 14, -91: 15,
    -127: 15, -128: 15, -5000: 15, 1: 17, 7: 23, 8: 24, 12: 25, 16: 26, 32: 28, 64: 30,
    91: 31, 127: 31, 5000: 31,
}  # fmt: skip
CAUSAL = {
    0: 0, 1: 0, 500: 0, -1: 1, -8: 8, -11: 11, -15: 15, -16: 16, -32: 21, -64: 26,
    -90: 29, -127: 31, -128: 31, -5000: 31,
}  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_distances_fall_into_t5s_buckets(causal, compiled):
    golden = CAUSAL if causal else BIDIRECTIONAL
    bucket = lambda d: places.relative_bucket(d, causal=causal)
    bucket = jax.jit(bucket) if compiled else bucket
    got = bucket(jnp.array(list(golden), jnp.int32))
    assert dict(zip(golden, got.tolist(), strict=True)) == golden


def test_a_bucket_never_falls_as_the_distance_grows():
    far = np.arange(0, 4096)
    for causal, sign in ((True, -1), (False, -1), (False, 1)):
        buckets = np.asarray(places.relative_bucket(sign * far, causal=causal))
        assert (np.diff(buckets) >= 0).all()


def test_the_relative_bias_goes_by_positions_and_not_by_slots():
    table = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    q, k = np.array([[32, 0]], np.int32), np.array([[33, 0, 16, 32]], np.int32)
    bias = places.relative_bias(table, q, k, causal=False, limit=128)
    buckets = np.array([[17, 12, 10, 0], [28, 0, 26, 28]])
    np.testing.assert_array_equal(bias[0], np.moveaxis(table[buckets], -1, 0))


def test_rotary_frequencies_are_powers_of_the_base():
    freq = places.inverse_frequencies(Positions(), 64, 1e4)
    golden = {0: 1, 1: 0.749894, 2: 0.562341, 15: 0.01333521, 31: 1.3335214e-4}
    np.testing.assert_allclose(freq[list(golden)], list(golden.values()), rtol=2e-6)
    assert freq.shape == (32,) and freq.dtype == np.float32


def test_a_rotation_pairs_the_halves():
    x = jnp.array([1.0, 2, 3, 4]).reshape(1, 1, 1, 4)
    freq = places.inverse_frequencies(Positions(), 4, 1e4)
    got = places.rotate(x, jnp.ones((1, 1), jnp.int32), freq)
    wanted = [-1.984111, 1.959901, 2.462378, 4.019800]
    np.testing.assert_allclose(got.ravel(), wanted, atol=1e-6)


def test_a_rotation_of_permuted_dims_is_the_interleaved_one():
    x = np.array([1.0, 2, 3, 4], np.float32)
    halves = x.reshape(2, 2).T.reshape(1, 1, 1, 4)  # (H/2 2) -> (2 H/2)
    freq = places.inverse_frequencies(Positions(), 4, 1e4)
    got = np.asarray(places.rotate(halves, jnp.ones((1, 1), jnp.int32), freq))
    wanted = [-1.142640, 1.922076, 2.959851, 4.029800]
    np.testing.assert_allclose(got.reshape(2, 2).T.ravel(), wanted, atol=1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 1, 1, 1, 16)).astype(np.float32)
    freq = places.inverse_frequencies(Positions(), 16, 1e4)

    def product(at_q, at_k):
        turned = [
            places.rotate(x, np.array([[at]], np.int32), freq)
            for x, at in ((q, at_q), (k, at_k))
        ]
        return float(jnp.sum(turned[0] * turned[1]))

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-2)


def test_a_partial_rotation_leaves_the_rest_alone():
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 16)).astype(np.float32)
    freq = places.inverse_frequencies(Positions(fraction=0.25), 16, 1e4)
    assert freq.shape == (2,)
    at = np.array([[0, 5, 9]], np.int32)
    got = np.asarray(places.rotate(x, at, freq))
    np.testing.assert_array_equal(got[..., 4:], x[..., 4:])
    np.testing.assert_allclose(got[:, 0], x[:, 0], atol=1e-7)
    np.testing.assert_allclose(got[..., :4], places.rotate(x[..., :4], at, freq))


def test_llama_3_scales_the_low_frequencies_by_its_rule():
    plain = places.inverse_frequencies(Positions(), 128, 5e5)
    scaled = places.inverse_frequencies(
        Positions(scaling="llama3", factor=8.0, low=1.0, high=4.0, original=8192),
        128,
        5e5,
    )
    np.testing.assert_array_equal(scaled[:29], plain[:29])
    np.testing.assert_allclose(scaled[35:], plain[35:] / 8, rtol=1e-6)
    between = scaled[29:35] / plain[29:35]
    assert (between < 1).all() and (between > 1 / 8).all()
    golden = {29: (0.0026161, 0.00216657), 32: (0.00141421, 0.000524846)}
    golden[35] = (0.000764497, 9.55621e-5)
    for i, pair in golden.items():
        np.testing.assert_allclose((plain[i], scaled[i]), pair, rtol=1e-5)


def test_linear_scaling_is_position_interpolation():
    x = np.random.default_rng(0).normal(size=(1, 1, 1, 8)).astype(np.float32)
    scaled = Positions(scaling="linear", factor=4.0)
    near, far = np.array([[3]], np.int32), np.array([[12]], np.int32)
    got = places.rotate(x, far, places.inverse_frequencies(scaled, 8, 1e4))
    wanted = places.rotate(x, near, places.inverse_frequencies(Positions(), 8, 1e4))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_yarn_keeps_fast_dims_interpolates_slow_ones_and_scales_attention():
    yarn = Positions(scaling="yarn", factor=16.0, low=1.0, high=32.0, original=4096)
    assert places.attention_factor(yarn) == pytest.approx(1.2772589)
    assert places.attention_factor(Positions()) == 1.0
    plain = places.inverse_frequencies(Positions(), 128, 1e4)
    share = places.inverse_frequencies(yarn, 128, 1e4) / plain
    # Dims that turn more than 32 times over 4096 tokens stay, less than once divide.
    turns = 4096 * plain / (2 * np.pi)
    np.testing.assert_allclose(share[turns > 34], 1, rtol=1e-6)
    np.testing.assert_allclose(share[turns < 0.9], 1 / 16, rtol=1e-6)
    assert (np.diff(share) <= 1e-7).all()


def test_the_yarn_factor_lengthens_the_rotated_vectors():
    x = np.random.default_rng(0).normal(size=(1, 1, 1, 8)).astype(np.float32)
    freq = places.inverse_frequencies(Positions(), 8, 1e4)
    got = places.rotate(x, np.array([[3]], np.int32), freq, 1.25)
    ratio = float(np.linalg.norm(got) / np.linalg.norm(x))
    assert ratio == pytest.approx(1.25, rel=1e-5)


@pytest.mark.parametrize("width", [1, 6, 7])
def test_sinusoids_have_the_width_asked_for_even_an_odd_one(width):
    at = np.array([[0, 1, -1]], np.int32)
    got = np.asarray(places.sinusoidal(at, width))
    half = width // 2
    assert got.shape == (1, 3, width) and np.isfinite(got).all()
    np.testing.assert_array_equal(got[0, 0, : 2 * half], [0] * half + [1] * half)
    if half:
        np.testing.assert_allclose(got[0, 1, 0], np.sin(1), rtol=1e-6)
        slowest = 1e4 ** (-(half - 1) / half)
        np.testing.assert_allclose(got[0, 1, half - 1], np.sin(slowest), rtol=1e-5)


def test_alibi_slopes_of_8_and_of_12_heads_are_the_published_ones():
    eight = [2.0**-i for i in range(1, 9)]
    np.testing.assert_allclose(places.alibi_slopes(8), eight, rtol=1e-6)
    twelve = eight + [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]
    np.testing.assert_allclose(places.alibi_slopes(12), twelve, rtol=1e-6)


def test_alibi_falls_with_the_distance_of_positions_on_both_sides():
    q, k = np.array([[4, 1]], np.int32), np.array([[4, 1, 6]], np.int32)
    got = np.asarray(places.alibi_bias(2, q, k))
    distance = np.array([[0, 3, 2], [3, 0, 5]])
    np.testing.assert_allclose(got[0, 0], -distance / 16, rtol=1e-6)
    np.testing.assert_allclose(got[0, 1], -distance / 256, rtol=1e-6)
