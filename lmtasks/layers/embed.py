"""Token tables, and what a position and a token type add to a token."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import linear
from lmtasks.layers import norms
from lmtasks.layers import positions as places
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


class Embed(nn.Module):
    """The token table, shared by both sides of an encoder-decoder and a tied head."""

    cfg: TransformerConfig

    def setup(self):
        c = self.cfg
        width = c.embed_dim or c.width
        std = 1.0 if c.init == "fan_in" else c.init_std
        shape, axes = (c.vocab, width), ("vocab", "embed")
        self.tokens = linear.weight(self, "tokens", shape, axes, std=std)
        if c.embed_dim and not c.embed_inputs:
            axes = ("embed_in", "embed")
            shape = (width, c.width)
            self.projection = linear.weight(self, "up", shape, axes, std=c.init_std)

    def __call__(self, tokens: Array) -> Array:
        """Return [B, T, D] in cfg.dtype for int32[B, T]; [B, T, E] with embed_inputs."""
        c = self.cfg
        x = linear.rows_of(self.tokens, tokens).astype(c.dtype)
        if c.embed_dim and not c.embed_inputs:
            x = linear.project(x, self.projection)
        # Gemma rounds the scale in the compute dtype, as its reference does.
        return x if c.embed_scale == 1 else x * jnp.asarray(c.embed_scale, c.dtype)


class Inputs(nn.Module):
    """Adds positions and token types to embedded tokens, then norm and dropout; with
    embed_inputs, all in width E, and then a projection to D.
    """

    cfg: TransformerConfig
    train: bool = False

    @nn.compact
    def __call__(self, x: Array, positions: Array, token_types: Array | None) -> Array:
        """Return [B, T, D]; int32[B, T] positions of -1 read row 0, unseen by all."""
        c, p = self.cfg, self.cfg.positions
        std, width = c.init_std, x.shape[-1]
        if p.kind == "learned":
            shape = (p.size + p.offset, width)
            axes = ("positions", "embed")
            table = linear.weight(self, "positions", shape, axes, std=std)
            rows = jnp.maximum(positions, 0) + p.offset
            x = x + jnp.take(table, rows, axis=0, mode="clip").astype(x.dtype)
        elif p.kind == "sinusoidal":
            x = x + places.sinusoidal(positions, width).astype(x.dtype)
        if c.token_types:
            shape, axes = (c.token_types, width), ("types", "embed")
            table = linear.weight(self, "types", shape, axes, std=std)
            if token_types is None:
                x = x + table[0].astype(x.dtype)
            else:
                rows = jnp.take(table, token_types, axis=0, mode="clip")
                x = x + rows.astype(x.dtype)
        if c.embed_norm:
            x = norms.of(c, "norm")(x)
        if c.dropout and self.train:
            x = nn.Dropout(c.dropout, deterministic=False)(x)
        if c.embed_inputs:
            axes = ("embed_in", "embed")
            up = linear.weight(self, "up", (width, c.width), axes, std=std)
            bias = linear.constant(self, "up_bias", (c.width,), ("embed",))
            x = linear.project(x, up, bias=bias)
        return x
