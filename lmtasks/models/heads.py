"""What stands on top of the last hidden state."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import linear
from lmtasks.layers import mlp
from lmtasks.layers import norms
from lmtasks.layers import pooling
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array
from lmtasks.types import Batch

# Head -> what a position gets: the vocabulary, C classes, or start and end.
HEADS = ("lm", "classify", "tag", "span", "none")


def gather(x: Array, at: Array | None) -> Array:
    """Return the rows of x [B, T, D] at int32[B, A]; zeros where `at` is T."""
    if at is None:
        return x
    return jnp.take_along_axis(x, at[..., None], axis=1, mode="fill", fill_value=0)


def of_class(x: Array, batch: Batch, kind: str) -> Array:
    """Return what a class head reads of x [B, T, D] at `at`, [B, A or T, D]: the
    vector there ("cls"), or the mean over the segment there, padding left out ("mean").
    """
    at = batch.get("at")
    if kind == "cls":
        return gather(x, at)
    there = batch["positions"] >= 0
    segments = batch["segments"] if "segments" in batch else jnp.ones_like(there, int)
    segments = jnp.where(there, segments, -1)
    own = segments
    if at is not None:  # an unused place belongs to no segment
        own = jnp.take_along_axis(segments, at, axis=1, mode="fill", fill_value=-2)
    member = own[:, :, None] == segments[:, None]
    return pooling.pool(x.astype(jnp.float32), member, kind).astype(x.dtype)


def mix(x: Array, batch: Batch) -> Array:
    """Return x [B, A, D] with each vector mixed with another of the batch, where the
    batch says which, int32[B, A], and how much of its own is kept.
    """
    if "mix" not in batch:
        return x
    share = batch["mix_share"].astype(x.dtype)
    return share * x + (1 - share) * x.reshape(-1, x.shape[-1])[batch["mix"]]


class Head(nn.Module):
    """Maps hidden states [B, T, D] to float32 logits [B, T, V or C or 2].

    "lm" may share the token table; "classify" has the pooler when cfg.pooler.
    """

    cfg: TransformerConfig
    kind: str
    classes: int = 0
    train: bool = False

    @nn.compact
    def __call__(self, x: Array, table: Array | None = None) -> Array:
        if self.kind == "none":
            return x
        return self._lm(x, table) if self.kind == "lm" else self._classes(x)

    def _lm(self, x, table):
        c = self.cfg
        width = c.embed_dim if c.tied and c.embed_dim else c.width
        if c.head_transform:
            x = self._dense(x, "transform", width)
            x = mlp.activate(c.activation, x)
            x = norms.of(c, "norm")(x)
        elif width != c.width:
            shape, axes = (c.width, width), ("embed", "embed_in")
            x = linear.project(
                x, linear.weight(self, "down", shape, axes, std=c.init_std)
            )
        if not c.tied:
            std = c.width**-0.5 if c.init == "fan_in" else c.init_std
            axes = ("vocab", "embed")
            table = linear.weight(self, "table", (c.vocab, c.width), axes, std=std)
        if c.head_scale != 1:
            x = x * jnp.asarray(c.head_scale, x.dtype)
        logits = linear.project_transposed(x, table)
        if c.head_bias:
            logits = logits + linear.constant(self, "bias", (c.vocab,), ("vocab",))
        if c.logit_soft_cap:
            logits = c.logit_soft_cap * jnp.tanh(logits / c.logit_soft_cap)
        return nn.with_logical_constraint(logits, ("batch", "length", "act_vocab"))

    def _classes(self, x):
        c = self.cfg
        if self.kind == "classify" and c.pooler:
            x = mlp.activate(c.pooler_activation, self._dense(x, "pooler", c.width))
            if c.pooler_norm:
                x = norms.of(c, "pooler_norm")(x)
        if c.dropout and self.train:
            x = nn.Dropout(c.dropout, deterministic=False)(x)
        classes = 2 if self.kind == "span" else self.classes
        axes = ("embed", "classes")
        w = linear.weight(self, "out", (c.width, classes), axes, std=c.init_std)
        bias = None
        if c.class_bias:
            bias = linear.constant(self, "out_bias", (classes,), ("classes",))
        return linear.project(x.astype(jnp.float32), w, bias=bias)

    def _dense(self, x, name, width):
        axes, std = ("embed", "embed_out"), self.cfg.init_std
        w = linear.weight(self, name, (self.cfg.width, width), axes, std=std)
        bias = None
        if self.cfg.head_dense_bias:
            bias = linear.constant(self, f"{name}_bias", (width,), ("embed_out",))
        return linear.project(x, w, bias=bias)
