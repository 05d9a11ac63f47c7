"""Trained vectors that a frozen model reads before its text.

They are slots of segment 0 at the positions 0 .. P - 1, so that every segment of a row
sees them and they see no text; the text's positions are shifted by P. In a causal
stack this is prompt tuning as published; in a bidirectional one the published vectors
also read the text, which would differ between packed rows and single ones.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import attention
from lmtasks.layers import linear
from lmtasks.layers import slots
from lmtasks.models import cache as caches
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array

KINDS = ("", "prompt", "prefix")


@dataclasses.dataclass(frozen=True)
class Soft:
    """Which vectors are trained.

    Attributes:
        kind: "" | "prompt" (Lester et al., 2021, arXiv:2104.08691: embedded tokens,
            of the encoder where there is one) | "prefix" (Li and Liang, 2021,
            arXiv:2101.00190: keys and values of every layer's self-attention, here
            trained as they are and not through a network).
        length: P, how many.
    """

    kind: str = ""
    length: int = 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"soft.kind={self.kind!r} is not one of prompt, prefix or '' for none"
            )
        if self.kind and self.length < 1:
            raise ValueError(f"soft.length={self.length} must be at least 1")

    @property
    def room(self) -> int:
        """Positions that the vectors take: P, or 0 without any."""
        return self.length if self.kind else 0


class Vectors(nn.Module):
    """The trained vectors of the stacks named in `stacks`, as (name, depth)."""

    cfg: TransformerConfig
    soft: Soft
    stacks: tuple[tuple[str, int], ...]

    def setup(self):
        c, p = self.cfg, self.soft.length
        if self.soft.kind == "prompt":
            width = c.embed_dim if c.embed_inputs else c.width
            std = 1.0 if c.init == "fan_in" else c.init_std
            axes = (None, "embed")
            self.vectors = linear.weight(self, "prompt", (p, width), axes, std=std)
            return
        axes, std = ("layers", None, "kv_heads", "head"), c.init_std
        self.pairs = {
            name: tuple(
                linear.weight(
                    self,
                    f"{name}_{part}",
                    (depth, p, c.kv_heads, c.head_dim),
                    axes,
                    std=std,
                )
                for part in ("keys", "values")
            )
            for name, depth in self.stacks
        }

    def prompt(self, rows: int) -> Array:
        """Return the embedded prompt, once a row: [B, P, D] in cfg.dtype."""
        x = self.vectors.astype(self.cfg.dtype)
        return jnp.broadcast_to(x, (rows, *x.shape))

    def prefix(self, name: str, rows: int) -> tuple[slots.KeysValues, ...]:
        """Return each layer's keys and values of a stack, [B, K, P, H]."""

        def of(x):  # [P, K, H]
            x = x.swapaxes(0, 1).astype(self.cfg.dtype)
            return jnp.broadcast_to(x, (rows, *x.shape))

        keys, values = self.pairs[name]
        return tuple(
            slots.KeysValues(of(keys[i]), of(values[i])) for i in range(keys.shape[0])
        )

    def cached(self, name: str, cache: caches.Cache) -> caches.Cache:
        """Return an empty cache with a stack's prefix in its first P slots."""
        rows, p = cache.positions.shape[0], self.soft.length
        slot = jnp.zeros(rows, jnp.int32)
        layers = zip(cache.own, self.prefix(name, rows), strict=True)
        places = jnp.broadcast_to(jnp.arange(p), (rows, p))
        return cache.replace(
            own=tuple(slots.put(layer, new, slot) for layer, new in layers),
            positions=slots.write(cache.positions, places, slot, 0),
        )

    def put_before(self, name: str, x: Array, shared, types):
        """Return the positional and named arguments with which a stack reads the text
        after the vectors; see `through`.
        """
        rows, p = x.shape[0], self.soft.length
        whole = self.soft.kind == "prompt"
        shared = shared.replace(sight=sight_after(shared.sight, p, queries=whole))
        if whole:
            x = jnp.concatenate([self.prompt(rows), x], axis=1)
            types = None if types is None else before(types, p)
            return (x, shared), {"token_types": types}
        room = [(0, 0), (0, 0), (0, x.shape[1]), (0, 0)]
        own = tuple(
            slots.KeysValues(jnp.pad(kv.keys, room), jnp.pad(kv.values, room))
            for kv in self.prefix(name, rows)
        )
        slot = jnp.full(rows, p, jnp.int32)
        return (x, shared), {"token_types": types, "slot": slot, "own": own}


def make(cfg: TransformerConfig, soft: Soft, **depths: int) -> Vectors | None:
    """Return the vectors for stacks of these names and depths, or None without any."""
    return Vectors(cfg, soft, tuple(depths.items())) if soft.kind else None


def through(
    vectors: Vectors | None, stack, name: str, x: Array, shared, types=None
) -> Array:
    """Return a stack's hidden states of whole texts, read after the vectors.

    Args:
        vectors: None reads the text alone.
        stack: a transformer.Stack. name: under which its prefix is kept.
        x: [B, T, D], embedded tokens. types: int32[B, T] of them, or None.
        shared: as the stack takes it for the text alone.

    Returns:
        [B, P + T, D] after a prompt, which is read like the text; else [B, T, D].
    """
    given, named = (x, shared), {"token_types": types}
    if vectors is not None:
        given, named = vectors.put_before(name, x, shared, types)
    return stack(*given, **named)[0]


def before(x: Array, length: int, value=0, axis: int = 1) -> Array:
    """Return x with `length` slots of `value` before its own along an axis."""
    room = [(0, 0)] * x.ndim
    room[axis] = (length, 0)
    return jnp.pad(x, room, constant_values=value)


def shifted(positions: Array, length: int) -> Array:
    """Return int32[B, T] positions after `length` more; empty ones stay -1."""
    return jnp.where(positions >= 0, positions + length, -1)


def moved(length: int, positions, slot, sees=None, prefix=None):
    """Return the arguments of a cache's reader with `length` slots before them."""
    if not length:
        return positions, slot, sees, prefix
    return (
        shifted(positions, length),
        slot + length,
        None if sees is None else before(sees, length, True, axis=2),
        None if prefix is None else before(prefix, length, False),
    )


def sight_after(
    seen: attention.Visibility, length: int, *, queries: bool
) -> attention.Visibility:
    """Return who sees whom with P vectors before the keys, and before the queries.

    Args:
        seen: of the text alone, whose keys and queries are the same slots.
        length: P.
        queries: the vectors are queries too.

    Example: two vectors before two tokens and an empty slot give the positions
    0 1 2 3 -1 and the segments 0 0 1 1 1.
    """
    text, segments = shifted(seen.k_positions, length), seen.k_segments
    rows = text.shape[0]
    places = jnp.broadcast_to(jnp.arange(length, dtype=text.dtype), (rows, length))
    positions = jnp.concatenate([places, text], axis=1)
    if segments is None:  # one segment, which the vectors do not see
        segments = jnp.ones_like(text)
    both = before(segments, length)
    return seen.replace(
        q_positions=positions if queries else text,
        k_positions=positions,
        q_segments=both if queries else segments,
        k_segments=both,
        prefix=None if seen.prefix is None else before(seen.prefix, length, False),
    )
