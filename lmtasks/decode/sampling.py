"""Logits to one token: greedy, temperature, top-k, top-p, min-p, typical, per row."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.decode.plan import Decode
from lmtasks.layers.attention import BIG_NEGATIVE
from lmtasks.types import Array

# Rows whose top-k is at most this are sampled from their so many largest logits.
PREFILTER = 128
# Draws from the whole distribution before a row's set is searched for.
ATTEMPTS = 4
# Columns of a block of the inverse cumulative distribution.
_BLOCK = 256


@struct.dataclass
class Sampling:
    """How each row is sampled; arrays [B], so one program serves mixed requests.

    Attributes:
        temperature: float32[B]; 0 = greedy.
        top_k: int32[B]; 0 = all.
        top_p: float32[B]; 1 = all (Holtzman et al., 2020, arXiv:1904.09751).
        min_p: float32[B]; 0 = all; relative to the largest probability.
        typical_p: float32[B]; 1 = all (Meister et al., 2023, arXiv:2202.00666).
    """

    temperature: Array
    top_k: Array
    top_p: Array
    min_p: Array
    typical_p: Array


def sampling_of(decode: Decode, batch: int) -> Sampling:
    """Return the same parameters for each of `batch` rows."""
    return Sampling(
        temperature=jnp.full(batch, decode.temperature, jnp.float32),
        top_k=jnp.full(batch, decode.top_k, jnp.int32),
        top_p=jnp.full(batch, decode.top_p, jnp.float32),
        min_p=jnp.full(batch, decode.min_p, jnp.float32),
        typical_p=jnp.full(batch, decode.typical_p, jnp.float32),
    )


def argmax(x: Array) -> Array:
    """Return int32[...], the first largest entry of float[..., V].

    Two plain reductions: XLA on CPU does not vectorize its own argmax.
    """
    top = jnp.max(x, axis=-1, keepdims=True)
    at = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return jnp.min(jnp.where(x == top, at, x.shape[-1] - 1), axis=-1)


def _largest_threshold(values: Array, enough) -> tuple[Array, Array]:
    """Return (the largest int32[R] t for which enough(keys >= t) holds, keys).

    Bisection over the bits of a float32, whose order is that of the numbers: 32
    passes find the exact threshold without sorting the vocabulary.
    """
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    keys = jnp.where(bits < 0, jnp.int32(-(2**31)) - bits - 1, bits)

    def halve(_, bounds):
        low, high = bounds  # enough holds at low, not above high
        # Floor of the mean without overflow, rounded up.
        middle = low + ((high - low) >> 1) + ((high - low) & 1)
        good = enough(keys >= middle[:, None])
        return jnp.where(good, middle, low), jnp.where(good, high, middle - 1)

    low, high = jnp.min(keys, axis=-1), jnp.max(keys, axis=-1)
    # Differences of finite keys of one sign fit; split at zero to keep them small.
    cross = (low < 0) & (high >= 0)
    zero = jnp.zeros_like(low)
    at_zero = enough(keys >= zero[:, None])
    low = jnp.where(cross & at_zero, zero, low)
    high = jnp.where(cross & ~at_zero, zero - 1, high)
    return jax.lax.fori_loop(0, 32, halve, (low, high))[0], keys


def keep_mask(logits: Array, sampling: Sampling) -> Array:
    """Return bool[B, V]: what top-k, top-p, min-p and typical-p leave, in this order.

    Top-p keeps the smallest set whose mass is >= p - 1e-6, typical-p the same of the
    tokens whose surprise is nearest to the entropy; ties at a threshold are all kept.
    Each filter sees the distribution the one before has left.

    Args:
        logits: float32[B, V], already divided by the temperature.
        sampling: its parameters.
    """
    every = jnp.ones(logits.shape, bool)
    # A search takes 32 passes over the vocabulary: only where some row asks for it.
    keep = jax.lax.cond(
        jnp.any(sampling.top_k > 0),
        lambda: _largest(logits, sampling.top_k),
        lambda: every,
    )
    probs = jax.nn.softmax(jnp.where(keep, logits, BIG_NEGATIVE), axis=-1)
    keep = keep & jax.lax.cond(
        jnp.any(sampling.top_p < 1),
        lambda: _smallest_set(probs, probs, sampling.top_p),
        lambda: every,
    )
    top = jnp.max(probs, axis=-1, keepdims=True)
    keep = keep & (probs >= sampling.min_p[:, None] * top)

    def typical(keep):
        log_p = jax.nn.log_softmax(jnp.where(keep, logits, BIG_NEGATIVE), axis=-1)
        probs = jnp.exp(log_p)
        entropy = -jnp.sum(jnp.where(keep, probs * log_p, 0), -1, keepdims=True)
        near = jnp.where(keep, -jnp.abs(log_p + entropy), BIG_NEGATIVE)
        return keep & _smallest_set(near, probs, sampling.typical_p)

    return jax.lax.cond(jnp.any(sampling.typical_p < 1), typical, lambda k: k, keep)


def _largest(logits: Array, top_k: Array) -> Array:
    """Return bool[B, V]: the top_k largest logits of each row; 0 = all."""
    v = logits.shape[-1]
    k = jnp.where(top_k > 0, jnp.minimum(top_k, v), v)
    least, keys = _largest_threshold(logits, lambda kept: jnp.sum(kept, -1) >= k)
    return keys >= least[:, None]


def _smallest_set(order: Array, probs: Array, mass: Array) -> Array:
    """Return bool[B, V]: the first tokens by `order` that have the mass together."""
    least, keys = _largest_threshold(
        order, lambda kept: jnp.sum(jnp.where(kept, probs, 0), -1) >= mass - 1e-6
    )
    return (mass[:, None] >= 1) | (keys >= least[:, None])


def invert(weights: Array, uniform: Array) -> Array:
    """Return int32[R]: where the cumulative sum of a row first passes uniform * sum.

    Blocks first, then within one block, so that the row is read once. Entries of
    weight 0 are never returned; a row without any weight gives its last entry.

    Args:
        weights: float32[R, V], at least 0.
        uniform: float32[R] in [0, 1).
    """
    rows, v = weights.shape
    room = -v % _BLOCK
    blocks = jnp.pad(weights, ((0, 0), (0, room))).reshape(rows, -1, _BLOCK)
    sums = jnp.sum(blocks, axis=-1)
    upto = jnp.cumsum(sums, axis=-1)
    target = uniform * upto[:, -1]
    block = _first_above(upto, target, sums > 0)
    chosen = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    before = jnp.take_along_axis(upto - sums, block[:, None], axis=1)[:, 0]
    inner = _first_above(jnp.cumsum(chosen, -1), target - before, chosen > 0)
    return jnp.minimum(block * _BLOCK + inner, v - 1)


def _first_above(upto: Array, target: Array, filled: Array) -> Array:
    """Return the first filled place whose cumulative sum passes the target, or the
    last filled one where rounding leaves none.
    """
    at = jnp.arange(upto.shape[-1])
    passed = (upto > target[:, None]) & filled
    first = jnp.min(jnp.where(passed, at, upto.shape[-1]), axis=-1)
    last = jnp.max(jnp.where(filled, at, -1), axis=-1)
    last = jnp.where(last < 0, upto.shape[-1] - 1, last)
    return jnp.where(first < upto.shape[-1], first, last).astype(jnp.int32)


def _tempered(logits: Array, sampling: Sampling) -> Array:
    temperature = jnp.where(sampling.temperature > 0, sampling.temperature, 1.0)
    return logits.astype(jnp.float32) / temperature[:, None]


def draw(logits: Array, sampling: Sampling, uniform: Array) -> Array:
    """Return int32[B], one token a row from the sets that `keep_mask` finds.

    Args:
        logits: float32[B, V].
        sampling: parameters [B]; rows of temperature 0 take the argmax.
        uniform: float32[B] in [0, 1), inverted through the cumulative mass.
    """
    scaled = _tempered(logits, sampling)
    keep = keep_mask(scaled, sampling)
    top = jnp.max(scaled, axis=-1, keepdims=True)
    drawn = invert(jnp.where(keep, jnp.exp(scaled - top), 0), uniform)
    return jnp.where(sampling.temperature > 0, drawn, argmax(logits))


def sample(logits: Array, sampling: Sampling | None, keys: Array) -> Array:
    """Return int32[B], one token a row; the distribution of `draw`, faster.

    Where every top-k is small the other filters see only the largest logits. Without
    top-k a token is drawn from the whole distribution and refused where it is not in
    its row's set, which one sum tells: what is likelier has the mass already. Rows
    that neither way has served fall back on `draw`.

    Args:
        logits: float32[B, V].
        sampling: parameters [B]; None = greedy in every row.
        keys: key[B].
    """
    if sampling is None:
        return argmax(logits)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (ATTEMPTS + 1,)))(keys)
    greedy = sampling.temperature <= 0
    k = jnp.where(greedy, 1, sampling.top_k)
    size = min(PREFILTER, logits.shape[-1])
    small = jnp.all((k > 0) & (k < size))
    free = jnp.all((sampling.top_k == 0) | greedy)
    free = free & jnp.all((sampling.typical_p >= 1) | greedy)
    path = jnp.where(jnp.all(greedy), 0, jnp.where(small, 1, jnp.where(free, 2, 0)))
    token, served = jax.lax.switch(
        path,
        (
            lambda: (argmax(logits), greedy),
            lambda: _among_largest(logits, sampling, uniform[:, -1], size),
            lambda: _by_refusal(logits, sampling, uniform),
        ),
    )
    return jax.lax.cond(
        jnp.all(served),
        lambda: token,
        lambda: jnp.where(served, token, draw(logits, sampling, uniform[:, -1])),
    )


def _among_largest(logits, sampling, uniform, size):
    """Return (tokens, served): drawn from the `size` largest logits of each row."""
    values, ids = jax.lax.top_k(logits.astype(jnp.float32), size)
    k = jnp.clip(sampling.top_k, 1, size)
    least = jnp.take_along_axis(values, k[:, None] - 1, axis=1)[:, 0]
    # Ties at the threshold may go on beyond the largest ones.
    served = (sampling.temperature <= 0) | (values[:, -1] < least)
    # In the order of the vocabulary, so that `draw` gives the same tokens.
    order = jnp.argsort(ids, axis=-1)
    values = jnp.take_along_axis(values, order, axis=1)
    at = draw(values, sampling, uniform)[:, None]
    ids = jnp.take_along_axis(ids, order, axis=1)
    return jnp.take_along_axis(ids, at, axis=1)[:, 0], served


def _by_refusal(logits, sampling, uniform):
    """Return (tokens, served): drawn from all, those outside of their set refused."""
    scaled = _tempered(logits, sampling)
    top = jnp.max(scaled, axis=-1, keepdims=True)
    weights = jnp.exp(scaled - top)
    total = jnp.sum(weights, axis=-1)
    wanted = (sampling.top_p - 1e-6) * total
    greedy = sampling.temperature <= 0

    def more(state):
        n, _, good = state
        return (n < ATTEMPTS) & ~jnp.all(good)

    def attempt(state):
        n, token, good = state
        drawn = invert(weights, uniform[:, n])
        mine = jnp.take_along_axis(weights, drawn[:, None], axis=1)
        likelier = jnp.sum(jnp.where(weights > mine, weights, 0), axis=-1)
        inside = (sampling.top_p >= 1) | (likelier < wanted)
        inside = inside & (mine[:, 0] >= sampling.min_p)
        token = jnp.where(good, token, drawn)
        return n + 1, token, good | inside

    state = (jnp.int32(0), argmax(logits), greedy)
    _, token, good = jax.lax.while_loop(more, attempt, state)
    return token, good
