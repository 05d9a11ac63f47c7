"""The decoding cache: an explicit pytree that goes in and comes out of each step."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct

from lmtasks.layers import slots
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


@struct.dataclass
class Cache:
    """Keys and values seen so far.

    Attributes:
        own: per layer, keys and values [B, K, S, H] of the row itself; of an LSTM its
            states, see layers.recurrent.
        positions: int32[B, S]; -1 marks an empty slot.
        segments: int32[B, S] or None.
        context: per layer, cross keys and values [B, K, S', H]; () without encoder.
        context_positions, context_segments: int32[B, S'] of the source, or None.
        first: slots, and positions, of trained vectors before the text.
    """

    own: tuple[slots.KeysValues, ...]
    positions: Array
    segments: Array | None = None
    context: tuple[slots.KeysValues, ...] = ()
    context_positions: Array | None = None
    context_segments: Array | None = None
    first: int = struct.field(pytree_node=False, default=0)


def empty(
    cfg: TransformerConfig, *, layers: int, batch: int, size: int, first: int = 0
) -> Cache:
    """Return a cache of `size` slots without content, in cfg.cache_dtype; the `first`
    of them are for trained vectors.
    """
    shape = (batch, cfg.kv_heads, size, cfg.head_dim)
    kind = cfg.cache_dtype or cfg.dtype
    if cfg.block == "lstm":  # states add up from token to token: never rounded
        shape, kind = (batch, 1, size, cfg.width), "float32"

    def layer():
        pair = (jnp.zeros(shape, kind), jnp.zeros(shape, kind))
        scales = (None, None)
        if kind == "int8":
            scales = (jnp.zeros(shape[:-1]), jnp.zeros(shape[:-1]))
        return slots.KeysValues(*pair, *scales)

    own = tuple(layer() for _ in range(layers))
    positions = jnp.full((batch, size), -1, jnp.int32)
    return Cache(own=own, positions=positions, first=first)


def rewind(cache: Cache, length: Array) -> Cache:
    """Return the cache without text at positions >= length (int32[] or [B])."""
    limit = jnp.broadcast_to(length + cache.first, cache.positions.shape[:1])[:, None]
    kept = jnp.where(cache.positions < limit, cache.positions, -1)
    return cache.replace(positions=kept)
