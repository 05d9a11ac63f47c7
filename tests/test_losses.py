"""Masked losses against optax, hand-made numbers and the golden values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lmtasks import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 4, 7)).astype(np.float32) * 3
TARGETS = RNG.integers(0, 7, (3, 4)).astype(np.int32)
WEIGHTS = np.array([[1, 1, 0, 0], [1, 0.5, 2, 0], [0, 0, 0, 1]], np.float32)


def _mean(sums, key="loss"):
    total, weight = sums[key]
    return float(total) / float(weight)


def test_the_loss_is_optaxs_weighted_and_summed():
    each = optax.softmax_cross_entropy_with_integer_labels(LOGITS, TARGETS)
    total, weight = losses.token_cross_entropy(LOGITS, TARGETS, WEIGHTS)["loss"]
    np.testing.assert_allclose(total, np.sum(each * WEIGHTS), rtol=1e-5)
    assert float(weight) == WEIGHTS.sum() == 6.5


def test_the_gradient_is_optaxs():
    def ours(x):
        return losses.token_cross_entropy(x, TARGETS, WEIGHTS)["loss"][0]

    def theirs(x):
        each = optax.softmax_cross_entropy_with_integer_labels(x, TARGETS)
        return jnp.sum(each * WEIGHTS)

    got, wanted = jax.grad(ours)(LOGITS), jax.grad(theirs)(LOGITS)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("classes", [5, 10, 50257])
def test_uniform_logits_cost_the_log_of_the_number_of_classes(classes):
    logits = jnp.full((1, 3, classes), 4.0)
    sums = losses.token_cross_entropy(
        logits, np.zeros((1, 3), np.int32), np.ones((1, 3), np.float32)
    )
    assert _mean(sums) == pytest.approx(np.log(classes), rel=1e-6)


def test_label_smoothing_has_its_floor_at_the_entropy_of_the_smoothed_target():
    """Mass .92 on the target and .02 on each of the other four."""
    best = np.log(np.array([[0.92, 0.02, 0.02, 0.02, 0.02]], np.float32))

    def loss(x):
        return losses.token_cross_entropy(
            x, np.array([0]), np.ones(1, np.float32), label_smoothing=0.1
        )["loss"][0]

    assert float(loss(best)) == pytest.approx(0.389673, abs=1e-6)
    np.testing.assert_allclose(jax.grad(loss)(best), 0, atol=1e-6)
    smoothed = optax.smooth_labels(jax.nn.one_hot(jnp.array([0]), 5), 0.1)
    wanted = optax.softmax_cross_entropy(LOGITS[0, :1, :5], smoothed)
    np.testing.assert_allclose(loss(LOGITS[0, :1, :5]), wanted[0], rtol=1e-5)


def test_z_loss_of_zero_logits_over_t5s_vocabulary():
    logits, weights = jnp.zeros((1, 2, 32128)), np.ones((1, 2), np.float32)
    targets = np.zeros((1, 2), np.int32)
    _, log_z = losses.log_likelihood(logits, targets)
    np.testing.assert_allclose(log_z, 10.377483, rtol=1e-6)
    plain = losses.token_cross_entropy(logits, targets, weights)
    zed = losses.token_cross_entropy(logits, targets, weights, z_loss=1e-4)
    assert _mean(zed) - _mean(plain) == pytest.approx(0.01076922, abs=2e-6)


def test_log_likelihood_is_the_log_softmax_at_the_target():
    log_p, log_z = losses.log_likelihood(LOGITS, TARGETS)
    wanted = np.take_along_axis(jax.nn.log_softmax(LOGITS), TARGETS[..., None], -1)
    np.testing.assert_allclose(log_p, wanted[..., 0], atol=1e-5)
    np.testing.assert_allclose(log_z, jax.nn.logsumexp(LOGITS, axis=-1), rtol=1e-6)


def test_large_logits_neither_overflow_nor_lose_their_differences():
    logits = jnp.array([[1e4, 1e4 - 1, -1e4]])
    log_p, _ = losses.log_likelihood(logits, np.array([1]))
    assert float(log_p[0]) == pytest.approx(-1 - np.log1p(np.exp(-1)), abs=1e-3)


def test_accuracy_counts_weighted_hits():
    logits = np.eye(4, dtype=np.float32)[[0, 1, 2, 3]][None]
    targets = np.array([[0, 1, 0, 3]], np.int32)
    weights = np.array([[1, 0.5, 1, 0]], np.float32)
    sums = losses.token_cross_entropy(logits, targets, weights)
    assert [float(x) for x in sums["accuracy"]] == [1.5, 2.5]


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_positions_of_weight_zero_spoil_neither_loss_nor_gradient(junk, smoothing):
    logits = LOGITS.copy()
    logits[WEIGHTS == 0] = junk

    def loss(x):
        sums = losses.token_cross_entropy(
            x, TARGETS, WEIGHTS, label_smoothing=smoothing, z_loss=1e-3
        )
        return sums["loss"][0], sums

    (value, sums), slope = jax.value_and_grad(loss, has_aux=True)(logits)
    wanted, _ = loss(LOGITS)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(sums["accuracy"][0], loss(LOGITS)[1]["accuracy"][0])
    assert np.isfinite(slope).all()
    assert (np.asarray(slope)[WEIGHTS == 0] == 0).all()


def test_a_batch_of_weight_zero_has_loss_zero_and_gradient_zero():
    nothing = np.zeros_like(WEIGHTS)
    grad = jax.grad(
        lambda x: losses.token_cross_entropy(x, TARGETS, nothing)["loss"][0]
    )
    total, weight = losses.token_cross_entropy(LOGITS, TARGETS, nothing)["loss"]
    assert float(total) == float(weight) == 0.0
    assert (np.asarray(grad(LOGITS)) == 0).all()


def test_bfloat16_logits_are_summed_in_float32():
    logits = LOGITS.astype(jnp.bfloat16)
    got = losses.token_cross_entropy(logits, TARGETS, WEIGHTS)["loss"][0]
    exact = logits.astype(np.float32)
    wanted = losses.token_cross_entropy(exact, TARGETS, WEIGHTS)["loss"][0]
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_gathered_positions_have_the_loss_of_the_whole_row():
    at = np.array([[0, 1, 4], [0, 1, 2], [3, 4, 4]], np.int32)  # 4 = T: unused
    picked = losses.gather_at(TARGETS, at)
    np.testing.assert_array_equal(picked[1], TARGETS[1, :3])
    np.testing.assert_array_equal(picked[2], [TARGETS[2, 3], 0, 0])
    logits = np.take_along_axis(LOGITS, np.minimum(at, 3)[..., None], 1)
    weights = losses.gather_at(WEIGHTS, at)
    got = losses.token_cross_entropy(logits, picked, weights)
    wanted = losses.token_cross_entropy(LOGITS, TARGETS, WEIGHTS)
    for key in ("loss", "accuracy"):
        np.testing.assert_allclose(got[key], wanted[key], rtol=1e-6)
    assert losses.gather_at(TARGETS, None) is TARGETS
    np.testing.assert_array_equal(losses.gather_at(TARGETS, at, fill=-1)[2, 1:], -1)
