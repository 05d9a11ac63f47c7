"""Cached keys and values of a layer, writing into them and reading what is filled."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.layers import integers
from lmtasks.types import Array

# To read fewer slots than this saves no time that would be worth another program.
SMALLEST = 64


@struct.dataclass
class KeysValues:
    """Cached keys and values of one layer, both [B, K, S, H].

    An int8 cache also has the scale of each vector, float32[B, K, S].
    """

    keys: Array
    values: Array
    key_scale: Array | None = None
    value_scale: Array | None = None


def put(cached: KeysValues, new: KeysValues, slot: Array) -> KeysValues:
    """Return the cache with `new` written at slot[b], rounded to what it holds."""
    if cached.key_scale is None:
        return KeysValues(
            keys=write(cached.keys, new.keys, slot, 1),
            values=write(cached.values, new.values, slot, 1),
        )
    keys, key_scale = integers.rounded(new.keys)
    values, value_scale = integers.rounded(new.values)
    return KeysValues(
        keys=write(cached.keys, keys, slot, 1),
        values=write(cached.values, values, slot, 1),
        key_scale=write(cached.key_scale, key_scale, slot, 1),
        value_scale=write(cached.value_scale, value_scale, slot, 1),
    )


def write(cache: Array, new: Array, slot: Array, axis: int) -> Array:
    """Return `cache` with row b of `new` at slot[b] along `axis` (batch excluded).

    What hangs over the end is dropped: a ragged chunk may end in padding there.
    """
    size, places = new.shape[axis + 1], cache.shape[axis + 1]
    slots = jnp.arange(size)
    before = (slice(None),) * axis
    if cache.shape[0] * size == 1:
        # XLA would make a slice update of a single place, repeat it for each of its
        # readers and copy the whole cache for that. One more is dropped, and stops it.
        slots = jnp.append(slots, places)
        room = [(0, int(i == axis + 1)) for i in range(new.ndim)]
        new = jnp.pad(new, room)

    def one(row, piece, start):
        at = row.at[(*before, start + slots)]
        return at.set(piece, mode="drop", unique_indices=True, indices_are_sorted=True)

    return jax.vmap(one)(cache, new.astype(cache.dtype), slot)


def sizes_of(places: int) -> list[int]:
    """Return how many of `places` slots a step may read: halves, none below SMALLEST.

    Example: 257 -> [65, 129, 257].
    """
    out = [places]
    while out[0] >= 2 * SMALLEST:
        out.insert(0, -(-out[0] // 2))
    return out


def over_filled(
    attend: Callable[[KeysValues, Array, Array | None], Array],
    kv: KeysValues,
    mask: Array,
    bias: Array | None,
    filled: Array,
) -> Array:
    """Return attend(kv, mask, bias) with the slots cut off that nothing is written in,
    as far as one of `sizes_of` allows. On CPU, where a step waits for its reads: on
    other devices the choice costs more than they do.

    Args:
        kv: [B, K, S, H]. mask: bool[B, T, S]. bias: float32[B, N, T, S] or None.
        filled: int32[]; no slot from here on is visible.
    """
    sizes = sizes_of(kv.keys.shape[2])

    def whole():
        return attend(kv, mask, bias)

    def first(size):
        part = jax.tree.map(lambda x: x[:, :, :size], kv)
        return attend(
            part, mask[..., :size], None if bias is None else bias[..., :size]
        )

    def chosen():
        which = sum(filled > size for size in sizes[:-1])
        ways = [functools.partial(first, size) for size in sizes[:-1]]
        return jax.lax.switch(which, [*ways, whole])

    if len(sizes) == 1:
        return whole()
    return jax.lax.platform_dependent(cpu=chosen, default=whole)
