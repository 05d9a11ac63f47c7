"""Losses of several labels and of a number, as (sum, weight) pairs."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from lmtasks.types import Array
from lmtasks.types import Sums


def squared_error(values: Array, targets: Array, weights: Array) -> Sums:
    """Return the sums {"loss"} of weighted squared errors, all float32[...]."""
    values = jnp.where(weights > 0, values.astype(jnp.float32), 0.0)
    loss = jnp.square(values - targets) * weights
    return {"loss": (jnp.sum(loss), jnp.sum(weights))}


def binary_cross_entropy(
    logits: Array,
    targets: Array,
    weights: Array,
    *,
    label_smoothing: float = 0.0,
    positive: Array | None = None,
    threshold: float = 0.5,
) -> Sums:
    """Return the sums "loss" and "accuracy" of sigmoid cross-entropy.

    Args:
        logits: [..., C]. targets: float32[..., C], 0 or 1.
        weights: float32[...]; the loss of a position is the mean over its labels.
        label_smoothing: mass spread evenly over yes and no.
        positive: float32[C], multiplies the loss of a label that is given.
        threshold: probability from which on a label is given; a hit has them all right.
    """
    # As in losses.token_cross_entropy: what has no weight may be anything.
    logits = jnp.where(weights[..., None] > 0, logits.astype(jnp.float32), 0.0)
    yes = targets * (1 - label_smoothing) + label_smoothing / 2
    missed = jax.nn.softplus(-logits)
    if positive is not None:
        missed = missed * positive
    loss = jnp.mean(yes * missed + (1 - yes) * jax.nn.softplus(logits), axis=-1)
    said = logits >= math.log(threshold / (1 - threshold))
    hits = jnp.all(said == (targets > 0.5), axis=-1)
    total = jnp.sum(weights)
    return {
        "loss": (jnp.sum(loss * weights), total),
        "accuracy": (jnp.sum(hits * weights), total),
    }
