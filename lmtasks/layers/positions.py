"""Positions as pure functions: rotary with scalings, sinusoidal, T5 bias, ALiBi."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks.models.config import Positions
from lmtasks.types import Array


def inverse_frequencies(positions: Positions, head_dim: int, base: float) -> np.ndarray:
    """Return the rotary frequencies float32[rotated / 2] after the chosen scaling.

    "linear" divides every frequency (Chen et al., 2023, arXiv:2306.15595); "llama3"
    divides the low ones and blends between (Llama 3.1's rule); "yarn" blends by the
    number of rotations over the trained length (Peng et al., 2023, arXiv:2309.00071).
    """
    rotated = int(head_dim * positions.fraction)
    freq = base ** -(np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    if positions.scaling == "linear":
        freq = freq / positions.factor
    elif positions.scaling == "llama3":
        wavelength = 2 * math.pi / freq
        low, high = positions.low, positions.high
        share = (positions.original / wavelength - low) / (high - low)
        share = np.clip(share, 0.0, 1.0)
        freq = (1 - share) * freq / positions.factor + share * freq
    elif positions.scaling == "yarn":
        freq = _yarn(freq, positions, rotated, base)
    return freq.astype(np.float32)


def _yarn(freq, positions: Positions, rotated: int, base: float):
    def index(rotations):  # of the frequency that turns so often over the length
        turns = positions.original / (rotations * 2 * math.pi)
        return rotated * math.log(turns) / (2 * math.log(base))

    first = max(math.floor(index(positions.high)), 0)
    last = min(math.ceil(index(positions.low)), rotated - 1)
    ramp = (np.arange(rotated // 2) - first) / max(last - first, 1e-3)
    ramp = np.clip(ramp, 0.0, 1.0)
    return freq / positions.factor * ramp + freq * (1 - ramp)


def attention_factor(positions: Positions) -> float:
    """Return what rotary cosines and sines are multiplied by: 1, but for yarn."""
    if positions.scaling != "yarn" or positions.factor <= 1:
        return 1.0
    return 0.1 * math.log(positions.factor) + 1.0


def rotate(x: Array, positions: Array, inv_freq: Array, factor: float = 1.0) -> Array:
    """Return x with its first 2 * len(inv_freq) dims rotated, halves paired.

    Dim i is paired with dim i + rotated / 2 (the layout of GPT-NeoX and of Llama's
    published safetensors).

    Args:
        x: [B, T, N, H].
        positions: int32[B, T].
        inv_freq: float32[rotated / 2].
        factor: multiplies cosine and sine.
    """
    half = inv_freq.shape[0]
    angle = positions[..., None].astype(jnp.float32) * inv_freq  # [B, T, rotated/2]
    cos = (jnp.cos(angle) * factor)[:, :, None]
    sin = (jnp.sin(angle) * factor)[:, :, None]
    y = x.astype(jnp.float32)
    a, b, rest = y[..., :half], y[..., half : 2 * half], y[..., 2 * half :]
    parts = [a * cos - b * sin, b * cos + a * sin, rest]
    return jnp.concatenate(parts, axis=-1).astype(x.dtype)


def sinusoidal(positions: Array, width: int) -> Array:
    """Return float32[B, T, D]: sines of the first half, cosines of the second.

    Vaswani et al., 2017, arXiv:1706.03762, with the halves side by side (tensor2tensor,
    Marian, Pegasus) instead of interleaved.
    """
    half = width // 2
    freq = 10000.0 ** -(np.arange(half, dtype=np.float32) / half)
    angle = positions[..., None].astype(jnp.float32) * freq
    out = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return jnp.pad(out, ((0, 0), (0, 0), (0, width - 2 * half)))


def relative_bucket(
    distance: Array, *, causal: bool, buckets: int = 32, limit: int = 128
) -> Array:
    """Return T5's bucket of `distance` = key position - query position.

    Half of the buckets hold exact small distances, the rest grow logarithmically up
    to `limit` (Raffel et al., 2020, arXiv:1910.10683). Without `causal` the upper
    half of the buckets is for keys after the query.
    """
    offset = jnp.zeros_like(distance)
    if causal:
        distance = jnp.maximum(-distance, 0)
    else:
        buckets //= 2
        offset = jnp.where(distance > 0, buckets, 0)
        distance = jnp.abs(distance)
    exact = buckets // 2
    ratio = jnp.log(distance.astype(jnp.float32) / exact + np.finfo(np.float32).eps)
    large = exact + (ratio / np.log(limit / exact) * (buckets - exact)).astype(
        jnp.int32
    )
    large = jnp.minimum(large, buckets - 1)
    return offset + jnp.where(distance < exact, distance, large)


def relative_bias(
    table: Array, q_positions: Array, k_positions: Array, *, causal: bool, limit: int
) -> Array:
    """Return float32[B, N, T, S] from the table float32[buckets, N].

    A product with one-hot rows: its gradient is a product too, where a gather's would
    be a scatter.
    """
    distance = k_positions[:, None, :] - q_positions[:, :, None]
    buckets = table.shape[0]
    bucket = relative_bucket(distance, causal=causal, buckets=buckets, limit=limit)
    one_hot = jax.nn.one_hot(bucket, buckets, dtype=jnp.float32)
    return jnp.einsum("BTSR,RN->BNTS", one_hot, table.astype(jnp.float32))


def alibi_slopes(heads: int) -> np.ndarray:
    """Return the slopes float32[N] (Press et al., 2022, arXiv:2108.12409)."""

    def powers(n):
        start = 2.0 ** (-8.0 / n)
        return [start ** (i + 1) for i in range(n)]

    whole = 2 ** math.floor(math.log2(heads))
    slopes = powers(whole) + powers(2 * whole)[0::2][: heads - whole]
    return np.asarray(slopes, np.float32)


def alibi_bias(heads: int, q_positions: Array, k_positions: Array) -> Array:
    """Return float32[B, N, T, S]: -slope * |key position - query position|."""
    distance = k_positions[:, None, :] - q_positions[:, :, None]
    slopes = alibi_slopes(heads)[None, :, None, None]
    return -slopes * jnp.abs(distance)[:, None].astype(jnp.float32)
