"""Masked losses as (sum, weight) pairs; only the step divides."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmtasks.types import Array
from lmtasks.types import Sums

# Far below any logit, far above float32's lowest: its differences stay finite.
BIG_NEGATIVE = -1e30


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
    """Return values [B, T, ...] at int32[B, A], `fill` where `at` is T; all without
    `at`.
    """
    if at is None:
        return values
    at = at.reshape(at.shape + (1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, at, axis=1, mode="fill", fill_value=fill)


def contrastive(
    queries: Array,
    candidates: Array,
    own: Array,
    *,
    compared: Array,
    weights: Array,
    temperature: float,
) -> Sums:
    """Return the sums "loss" and "accuracy" of InfoNCE (van den Oord et al., 2018,
    arXiv:1807.03748): each query finds its own among the candidates.

    Example: B equal vectors on either side have a loss of ln B, whatever they are.

    Args:
        queries: float32[B, D]. candidates: float32[M, D].
        own: int32[B], the candidate that belongs to each query.
        compared: bool[B, M], the other candidates a query is compared with.
        weights: float32[B], multiply each query's loss.
        temperature: the products of the vectors are divided by it.

    Returns:
        {"loss": (sum in nats, sum of weights), "accuracy": (hits, sum of weights)};
        a hit is above all others, so that equal vectors are none.
    """
    logits = jnp.einsum("BD,MD->BM", queries, candidates) / temperature
    mine = jnp.arange(candidates.shape[0]) == own[:, None]
    others = jnp.where(compared & ~mine, logits, BIG_NEGATIVE)
    right = jnp.sum(jnp.where(mine, logits, 0.0), axis=1)
    all_of = jnp.where(mine, logits, others)
    loss = (jax.nn.logsumexp(all_of, axis=1) - right) * weights
    hits = jnp.where(right > jnp.max(others, axis=1), weights, 0.0)
    total = jnp.sum(weights)
    return {"loss": (jnp.sum(loss), total), "accuracy": (jnp.sum(hits), total)}


def span_cross_entropy(
    logits: Array,
    targets: Array,
    weights: Array,
    *,
    positions: Array,
    segments: Array | None = None,
    reduce: str = "mean",
) -> Sums:
    """Return the sums "loss" and "accuracy" of finding a start and an end.

    Start and end are each a softmax over the positions of their segment, so that a
    packed row gives what its segments give apart. A segment's weight is the sum of its
    positions'.

    Args:
        logits: [B, T, 2], of start and end.
        targets: int32[B, T], bit 1 at the start, bit 2 at the end.
        weights: float32[B, T].
        positions: int32[B, T], -1 in empty slots.
        segments: int32[B, T], at most T; None = one a row.
        reduce: "mean" or "sum" of the two losses.

    Returns:
        {"loss": (sum in nats, sum of weights), "accuracy": (hits, sum of weights)};
        a hit has its largest logits at the start and at the end.
    """
    t = targets.shape[1]
    there = positions >= 0
    # Empty slots are a segment of their own, after all others.
    at = jnp.where(there, 0 if segments is None else segments, t + 1)
    x = jnp.where(there[..., None], logits.astype(jnp.float32), 0.0)
    marked = (targets[..., None] & jnp.array([1, 2])) > 0
    loss, hits, total = jax.vmap(_spans_of_row)(x, marked, weights, at)
    loss = jnp.sum(loss) * (0.5 if reduce == "mean" else 1.0)
    return {"loss": (loss, jnp.sum(total)), "accuracy": (jnp.sum(hits), jnp.sum(total))}


def _spans_of_row(x, marked, weights, at):
    """Return (loss of both, hits, weight) of one row: [T, 2], [T, 2], [T], [T]."""
    count = {"num_segments": len(at) + 2}
    weight = jax.ops.segment_sum(weights, at, **count)
    used = (weight > 0)[:, None]
    top = jax.lax.stop_gradient(jax.ops.segment_max(x, at, **count))
    top = jnp.where(used, top, 0.0)  # of no positions it is -inf
    picked = jax.ops.segment_sum(jnp.where(marked, x, 0.0), at, **count)
    # What is not used may be large, and its exponential infinite.
    z = jnp.where(used[at], jnp.exp(jnp.where(used[at], x - top[at], 0.0)), 0.0)
    z = jnp.where(used, jax.ops.segment_sum(z, at, **count), 1.0)
    loss = weight[:, None] * (jnp.log(z) + top - jnp.where(used, picked, 0.0))
    hits = jnp.where(jnp.all(picked >= top, axis=-1), weight, 0.0)
    return jnp.sum(loss), jnp.sum(hits), jnp.sum(weight)
