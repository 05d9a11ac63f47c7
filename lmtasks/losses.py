"""Masked losses as (sum, weight) pairs; only the step divides."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmtasks.types import Array
from lmtasks.types import Sums


def log_likelihood(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return (log p(target), log Z), float32[...], of logits [..., V]."""
    log_z = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
    return pick(logits, targets) - log_z, log_z


def pick(logits: Array, targets: Array) -> Array:
    """Return the logit of each target, float32[...], of logits [..., V].

    By comparison, not by a gather: its gradient is then one fused elementwise pass
    over the logits instead of a scatter.
    """
    ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    mine = ids == targets[..., None]
    return jnp.sum(jnp.where(mine, logits.astype(jnp.float32), 0.0), axis=-1)


def token_cross_entropy(
    logits: Array,
    targets: Array,
    weights: Array,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Sums:
    """Return the sums "loss" and "accuracy" of weighted softmax cross-entropy.

    Args:
        logits: [..., V].
        targets: int32[...].
        weights: float32[...], multiply each position's loss.
        label_smoothing: mass spread evenly over all V classes
            (Szegedy et al., 2016, arXiv:1512.00567).
        z_loss: factor of (log Z)^2, which keeps the logits from drifting
            (Chowdhery et al., 2022, arXiv:2204.02311).

    Returns:
        {"loss": (sum in nats, sum of weights), "accuracy": (hits, sum of weights)}.
    """
    # Where the weight is 0 the logits may be anything, even nan; a nan would also
    # spoil the gradient through a later `where`.
    logits = jnp.where(weights[..., None] > 0, logits, 0.0)
    picked = pick(logits, targets)
    log_z = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
    loss = log_z - picked
    if label_smoothing:
        spread = log_z - jnp.mean(logits.astype(jnp.float32), axis=-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    if z_loss:
        loss = loss + z_loss * jnp.square(log_z)
    loss = loss * weights
    # An argmax over the vocabulary costs more than the rest of the loss on CPU; the
    # largest logit is known already. Ties count as hits.
    best = jnp.max(logits.astype(jnp.float32), axis=-1)
    hits = jnp.where(picked >= best, weights, 0.0)
    total = jnp.sum(weights)
    return {"loss": (jnp.sum(loss), total), "accuracy": (jnp.sum(hits), total)}


def gather_at(values: Array, at: Array | None, fill=0) -> Array:
    """Return values [B, T] at int32[B, A], `fill` where `at` is T; all without `at`."""
    if at is None:
        return values
    return jnp.take_along_axis(values, at, axis=1, mode="fill", fill_value=fill)
