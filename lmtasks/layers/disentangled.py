"""Disentangled attention: content and distance are compared apart (He et al., 2021,
arXiv:2006.03654, 2111.09543).
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import attention
from lmtasks.layers import linear
from lmtasks.layers import slots
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


def bucket(distance: Array, *, buckets: int, limit: int) -> Array:
    """Return DeBERTa's bucket of `distance` = query position - key position.

    Distances up to half of the buckets stand for themselves; beyond, buckets grow
    logarithmically up to `limit`. An odd function.

    Example (256 buckets, limit 512): 5 -> 5, 128 -> 128, 256 -> 192, -511 -> -255.
    """
    middle = buckets // 2
    far = jnp.maximum(jnp.abs(distance), middle).astype(jnp.float32) / middle
    steps = jnp.log(far) / math.log((limit - 1) / middle) * (middle - 1)
    large = jnp.ceil(steps).astype(jnp.int32) + middle
    near = jnp.abs(distance) <= middle
    return jnp.where(near, distance, jnp.sign(distance) * large)


class Attention(nn.Module):
    """Self-attention whose logits are content-content, content-distance and
    distance-content products; query and key projections are shared by both.
    """

    cfg: TransformerConfig
    train: bool = False

    @nn.compact
    def __call__(
        self, x: Array, sight: attention.Visibility, distances: Array
    ) -> Array:
        """Return [B, T, D] of x [B, T, D]; distances [2 R, D] is the normed table."""
        c = self.cfg
        if c.dropout and self.train:
            distances = nn.Dropout(c.dropout, deterministic=False)(distances)
        scale = (3 * c.head_dim) ** -0.5
        query, key = self._projection("query"), self._projection("key")
        q, keys = query(x), key(x)
        bias = scale * self._bias(q, keys, query, key, sight, distances)
        values = self._projection("value")(x)
        kv = slots.KeysValues(keys=keys.swapaxes(1, 2), values=values.swapaxes(1, 2))
        rate = c.attention_dropout if self.train else 0.0
        dropout = nn.Dropout(rate, deterministic=False) if rate else None
        mask, reads = sight.dense(), sight.q_positions >= 0
        tell = attention.teller(self, mask, reads)
        out = attention.attend(
            q, kv, mask, scale=scale, bias=bias, dropout=dropout, tell=tell
        )
        return self._out(jnp.where(reads[:, :, None, None], out, 0))

    def _bias(self, q, keys, query, key, sight, distances):
        """Return float32[B, N, T, S], both products with the distances, unscaled."""
        p = self.cfg.positions
        far = sight.q_positions[:, :, None] - sight.k_positions[:, None, :]
        row = bucket(far, buckets=p.buckets, limit=p.distance) + p.buckets
        row = jnp.clip(row, 0, 2 * p.buckets - 1)[:, None]  # [B, 1, T, S]
        float32 = {"preferred_element_type": jnp.float32}
        to_distance = jnp.einsum("BTNH,RNH->BNTR", q, key(distances), **float32)
        of_distance = jnp.einsum("BSNH,RNH->BNRS", keys, query(distances), **float32)
        return jnp.take_along_axis(to_distance, row, axis=3) + jnp.take_along_axis(
            of_distance, row, axis=2
        )

    def _projection(self, name):
        """Return the function [..., D] -> [..., N, H] of the named weight."""
        c = self.cfg
        n, h = c.attention.heads, c.head_dim
        axes = ("embed", "heads", "head")
        w = linear.weight(self, name, (c.width, n, h), axes, std=c.init_std)
        bias = linear.constant(self, f"{name}_bias", (n, h), axes[1:])
        return lambda x: linear.project(x, w, bias=bias)

    def _out(self, out):
        c = self.cfg
        shape, axes = (
            (c.attention.heads, c.head_dim, c.width),
            ("heads", "head", "embed"),
        )
        w = linear.weight(self, "out", shape, axes, std=c.init_std)
        bias = linear.constant(self, "out_bias", (c.width,), ("embed",))
        return linear.project(out, w, bias=bias, inputs=2)
