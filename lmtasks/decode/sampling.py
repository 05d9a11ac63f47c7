"""Logits to one token: greedy, temperature, top-k, top-p, min-p, per row."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.layers.attention import BIG_NEGATIVE
from lmtasks.types import Array


@struct.dataclass
class Sampling:
    """How each row is sampled; arrays [B], so one program serves mixed requests.

    Attributes:
        temperature: float32[B]; 0 = greedy.
        top_k: int32[B]; 0 = all.
        top_p: float32[B]; 1 = all (Holtzman et al., 2020, arXiv:1904.09751).
        min_p: float32[B]; 0 = all; relative to the largest probability.
    """

    temperature: Array
    top_k: Array
    top_p: Array
    min_p: Array


@dataclasses.dataclass(frozen=True)
class Decode:
    """What a run says of decoding.

    Attributes:
        max_tokens: longest text written, in tokens.
        temperature, top_k, top_p, min_p: see Sampling.
        stop_ids: vocabulary ids that end a text.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self):
        accepted = {
            "max_tokens": self.max_tokens >= 1,
            "temperature": self.temperature >= 0,
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "min_p": 0 <= self.min_p <= 1,
        }
        for key, good in accepted.items():
            if not good:
                raise ValueError(
                    f"decode.{key}={getattr(self, key)} is out of range; accepted: "
                    "max_tokens >= 1, temperature >= 0, top_k >= 0, 0 < top_p <= 1, "
                    "0 <= min_p <= 1"
                )

    def sampling(self, batch: int) -> Sampling:
        """Return the same parameters for each of `batch` rows."""
        return Sampling(
            temperature=jnp.full(batch, self.temperature, jnp.float32),
            top_k=jnp.full(batch, self.top_k, jnp.int32),
            top_p=jnp.full(batch, self.top_p, jnp.float32),
            min_p=jnp.full(batch, self.min_p, jnp.float32),
        )


def _largest_threshold(logits: Array, enough) -> Array:
    """Return the largest float32[B] t for which enough(logits >= t) holds.

    Bisection over the bits of a float32, whose order is that of the numbers: 32
    passes find the exact threshold without sorting the vocabulary.
    """
    bits = jax.lax.bitcast_convert_type(logits, jnp.int32)
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
    """Return bool[B, V]: what temperature, top-k, top-p and min-p leave, in order.

    Top-p keeps the smallest set whose mass is >= p - 1e-6; ties at a threshold are
    all kept.

    Args:
        logits: float32[B, V], already divided by the temperature.
        sampling: its parameters.
    """
    k = jnp.where(sampling.top_k > 0, sampling.top_k, logits.shape[-1])
    least, keys = _largest_threshold(
        logits, lambda kept: jnp.sum(kept, axis=-1) >= jnp.minimum(k, logits.shape[-1])
    )
    keep = keys >= least[:, None]
    probs = jax.nn.softmax(jnp.where(keep, logits, BIG_NEGATIVE), axis=-1)
    least, keys = _largest_threshold(
        probs,
        lambda kept: jnp.sum(jnp.where(kept, probs, 0), -1) >= sampling.top_p - 1e-6,
    )
    every = sampling.top_p[:, None] >= 1
    keep = keep & (every | (keys >= least[:, None]))
    top = jnp.max(probs, axis=-1, keepdims=True)
    return keep & (probs >= sampling.min_p[:, None] * top)


def sample(logits: Array, sampling: Sampling, uniform: Array) -> Array:
    """Return int32[B], one token a row; rows of temperature 0 take the argmax.

    Args:
        logits: float32[B, V].
        sampling: parameters [B].
        uniform: float32[B] in [0, 1), inverted through the cumulative mass.
    """
    greedy = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    temperature = jnp.where(sampling.temperature > 0, sampling.temperature, 1.0)
    scaled = logits.astype(jnp.float32) / temperature[:, None]
    keep = keep_mask(scaled, sampling)
    probs = jax.nn.softmax(jnp.where(keep, scaled, BIG_NEGATIVE), axis=-1)
    mass = jnp.cumsum(jnp.where(keep, probs, 0), axis=-1)
    # The first token whose cumulative mass passes the draw; rounding may leave the
    # total below the draw, so it is scaled by the total.
    target = uniform[:, None] * mass[:, -1:]
    passed = (mass > target) & keep
    drawn = jnp.argmax(passed, axis=-1).astype(jnp.int32)
    # A draw next to 1 may round to the whole mass: take the likeliest then.
    drawn = jnp.where(jnp.any(passed, axis=-1), drawn, greedy)
    return jnp.where(sampling.temperature > 0, drawn, greedy)
