"""Mixup of class vectors: which of a batch are mixed, and by how much."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmtasks.types import Array
from lmtasks.types import Batch


def draw(rng: Array, weights: Array, alpha: float) -> Batch:
    """Return {"mix_share": float32[], "mix": int32[B, A]} of a batch.

    Every vector is mixed with that of another slot, `mix`, in the flat order of
    [B, A]: share * mine + (1 - share) * its, the share from beta(alpha, alpha) (Zhang
    et al., 2018, arXiv:1710.09412; of sentence vectors: Guo et al., 2019,
    arXiv:1905.08941). The slots are a permutation of those with weight, so that each
    example counts once in all; the others keep to themselves.

        weights 1 0 1 1   ->   mix, say, 3 1 0 2

    Args:
        rng: key.
        weights: float32[B, A] of the gathered positions.
        alpha: above 0; small ones leave most vectors nearly alone.
    """
    share_rng, order_rng = jax.random.split(rng)
    used = weights.reshape(-1) > 0
    order = jax.random.uniform(order_rng, used.shape)
    slots = jnp.argsort(~used, stable=True)  # those with weight in order, then the rest
    others = jnp.argsort(jnp.where(used, order, 2.0), stable=True)
    mix = jnp.zeros(used.shape, jnp.int32).at[slots].set(others.astype(jnp.int32))
    share = jax.random.beta(share_rng, alpha, alpha)
    return {"mix_share": share, "mix": mix.reshape(weights.shape)}


def take(values: Array, mix: Array) -> Array:
    """Return values [B, A, ...] of the slots int32[B, A]."""
    return values.reshape(-1, *values.shape[2:])[mix]
