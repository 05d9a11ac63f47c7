"""One vector of several positions."""

from __future__ import annotations

import jax.numpy as jnp

from lmtasks.types import Array

POOLINGS = ("mean", "cls", "last", "max")


def pool(hidden: Array, member: Array, pooling: str) -> Array:
    """Return one vector for each set of positions, zero for an empty set.

    Args:
        hidden: float32[B, T, D]. member: bool[B, n, T].
        pooling: one of POOLINGS.

    Returns:
        float32[B, n, D].
    """
    there = jnp.any(member, axis=2)[..., None]
    if pooling == "mean":
        shares = member / jnp.maximum(member.sum(axis=2, keepdims=True), 1)
        return jnp.einsum("BNT,BTD->BND", shares.astype(hidden.dtype), hidden)
    if pooling == "max":
        sets = [
            jnp.max(hidden, axis=1, where=member[:, i, :, None], initial=-jnp.inf)
            for i in range(member.shape[1])
        ]
        return jnp.where(there, jnp.stack(sets, axis=1), 0.0)
    if pooling == "cls":
        at = jnp.argmax(member, axis=2)
    else:
        at = member.shape[2] - 1 - jnp.argmax(member[:, :, ::-1], axis=2)
    found = jnp.take_along_axis(hidden, at[..., None], axis=1)
    return jnp.where(there, found, 0.0)
