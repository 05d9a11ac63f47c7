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


def mean_of(x: Array, mask: Array) -> Array:
    """Return for each slot the mean of x [B, S, D] over what it sees, bool[B, S, S]."""
    weights = mask / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
    mean = jnp.einsum("BST,BTD->BSD", weights, x.astype(jnp.float32))
    return mean.astype(x.dtype)


def last_only(positions: Array) -> Array:
    """Return int32[B, S] positions with -1 but at the last token of each text.

    Example: 0 1 2 0 1 -1 gives -1 -1 2 -1 1 -1.
    """
    after = jnp.pad(positions[:, 1:], ((0, 0), (0, 1)), constant_values=-1)
    return jnp.where(after == positions + 1, -1, positions)
