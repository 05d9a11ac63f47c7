"""A recurrent layer in attention's place: an LSTM over packed and cached texts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from lmtasks.layers import attention
from lmtasks.layers import linear
from lmtasks.layers import slots
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


@struct.dataclass
class State:
    """Output h and cell c of an LSTM, float32[..., H] each."""

    h: Array
    c: Array

    def where(self, mask: Array, other: State) -> State:
        """Return this state where `mask` [...] is true, the other elsewhere."""
        pick = lambda a, b: jnp.where(mask[..., None], a, b)
        return jax.tree.map(pick, self, other)

    def at(self, places: Array) -> State:
        """Return the states [B, T, H] that lie at `places` int32[B, T] of [B, S, H]."""
        pick = lambda x: jnp.take_along_axis(x, places[..., None], axis=1)
        return jax.tree.map(pick, self)


@struct.dataclass
class Order:
    """What each slot goes on from; all bool[B, T], `root` and `branch` None where a
    row has no segments.

    Attributes:
        hold: an empty slot, which leaves the state as it is.
        fresh: the first token of a text, which goes on from zero.
        root: a token of segment 0, which the other segments share.
        branch: the first token of a segment that goes on from where segment 0 ended.
    """

    hold: Array
    fresh: Array
    root: Array | None = None
    branch: Array | None = None


def order_of(positions: Array, segments: Array | None) -> Order:
    """Return how a row is read from left to right; int32[B, T] each.

    Example: a prompt and two options, positions 0 1 2 3 2 3, segments 0 0 1 1 2 2:
    slot 0 is fresh, slots 2 and 4 branch.
    """
    hold, fresh = positions < 0, positions == 0
    if segments is None:
        return Order(hold, fresh)
    root = (segments == 0) & ~hold
    changes = jnp.diff(segments, axis=1, prepend=0) != 0
    return Order(hold, fresh, root, changes & ~root & (positions > 0))


def backward_order(positions: Array, segments: Array | None) -> Order:
    """Return how a row is read from right to left, its slots still from the left.

    A text begins with its last token, which no slot of the next position follows.
    """
    after = jnp.pad(positions[:, 1:], ((0, 0), (0, 1)), constant_values=-1)
    fresh = after != positions + 1
    if segments is not None:
        fresh = fresh | (jnp.diff(segments, axis=1, append=-1) != 0)
    return Order(positions < 0, fresh)


def cell(gates: Array, state: State) -> State:
    """Return the state after one token (Hochreiter and Schmidhuber, 1997; forget gate
    of Gers et al., 2000, opened by 1 as in Jozefowicz et al., 2015).

    Args:
        gates: float32[..., 4, H], before their activations: input, forget, new, output.
        state: before the token.
    """
    take, keep, new, give = (gates[..., i, :] for i in range(4))
    c = jax.nn.sigmoid(keep + 1) * state.c + jax.nn.sigmoid(take) * jnp.tanh(new)
    return State(jax.nn.sigmoid(give) * jnp.tanh(c), c)


class Direction(nn.Module):
    """An LSTM of H units that reads from one side."""

    cfg: TransformerConfig
    units: int

    def setup(self):
        c, h = self.cfg, self.units
        shape, axes = (c.width, 4, h), ("embed", "gates", "units")
        std = c.width**-0.5
        self.input = linear.weight(self, "input", shape, axes, std=std)
        shape, axes = (h, 4, h), ("units", "gates", None)
        self.hidden = linear.weight(self, "hidden", shape, axes, std=h**-0.5)
        self.bias = linear.constant(self, "bias", (4, h), ("gates", "units"))

    def __call__(self, x: Array, order: Order, start: State | None = None) -> State:
        """Return the state after each slot [B, T, H] of x [B, T, D], read in turn."""
        b = x.shape[0]
        zero = State(*[jnp.zeros((b, self.units), jnp.float32)] * 2)
        given = jax.tree.map(lambda y: y.swapaxes(0, 1), (self._seen(x), order))

        def read(carry, one):
            state, root = carry
            gates, where = one
            if where.branch is not None:
                state = root.where(where.branch, state)
            state = zero.where(where.fresh, state)
            new = self._next(gates, state)
            state = state.where(where.hold, new)
            if where.root is not None:
                root = state.where(where.root, root)
            return (state, root), state

        _, states = jax.lax.scan(read, (start or zero, zero), given)
        return jax.tree.map(lambda y: y.swapaxes(0, 1), states)

    def after(self, x: Array, states: State) -> State:
        """Return the states [B, T, H] after x [B, T, D], each from its own before."""
        return self._next(self._seen(x), states)

    def _seen(self, x):
        return linear.project(x, self.input, bias=self.bias).astype(jnp.float32)

    def _next(self, gates, state):
        back = linear.project(state.h.astype(self.cfg.dtype), self.hidden)
        return cell(gates + back.astype(jnp.float32), state)


class Lstm(nn.Module):
    """An LSTM of D units, or, `both` ways, two of D / 2 side by side."""

    cfg: TransformerConfig
    both: bool = False

    @nn.compact
    def __call__(
        self,
        x: Array,
        sight: attention.Visibility,
        *,
        slot: Array | None = None,
        cached: slots.KeysValues | None = None,
    ) -> tuple[Array, slots.KeysValues | None]:
        """Return (output [B, T, D], cache or None); arguments as of attention.

        The cache holds the state after each slot: h as keys, c as values, [B, 1, S, D].
        A token goes on from the slot of the position before its own that it sees, so
        that lanes of one row and texts that were rewound need nothing else.
        """
        if sight.prefix is not None:
            raise ValueError(
                "a prefix that sees what follows (objective prefix, denoise.kind=prefix) "
                "is nothing that model.block='lstm' can read; use objective=clm"
            )
        positions, width = sight.q_positions, self.cfg.width
        units = width // 2 if self.both else width
        forward = Direction(self.cfg, units, name="forward")
        if cached is not None:
            states = self._cached(forward, x, sight, cached)
            new = slots.KeysValues(states.h[:, None], states.c[:, None])
            return states.h.astype(x.dtype), slots.put(cached, new, slot)
        segments = sight.q_segments
        y = forward(x, order_of(positions, segments)).h
        if self.both:
            backward = Direction(self.cfg, units, name="backward")
            turned = jax.tree.map(
                lambda a: a[:, ::-1], (x, backward_order(positions, segments))
            )
            y = jnp.concatenate([y, backward(*turned).h[:, ::-1]], axis=-1)
        return jnp.where(positions[..., None] >= 0, y, 0).astype(x.dtype), None

    def _cached(self, forward, x, sight, cached):
        held = State(cached.keys[:, 0], cached.values[:, 0])
        positions = sight.q_positions
        each = sight.sees is not None or x.shape[1] == 1  # tokens of one depth
        if not each:  # a chunk of one text: its first token looks back
            far = jnp.iinfo(positions.dtype).max
            first = jnp.min(jnp.where(positions < 0, far, positions), axis=1)
            positions = first[:, None]
        before = sight.k_positions[:, None, :] == positions[:, :, None] - 1
        before = before & (sight.k_positions >= 0)[:, None, :]
        if sight.sees is not None:
            before = before & sight.sees
        found = held.at(jnp.argmax(before, axis=-1))
        zero = jax.tree.map(jnp.zeros_like, found)
        found = found.where(jnp.any(before, axis=-1), zero)
        if each:
            return forward.after(x, found)
        start = jax.tree.map(lambda y: y[:, 0], found)
        return forward(x, order_of(sight.q_positions, None), start)
