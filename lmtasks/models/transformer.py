"""Block and Stack: the layers every architecture is assembled from."""

from __future__ import annotations

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct

from lmtasks.layers import attention
from lmtasks.layers import disentangled
from lmtasks.layers import embed
from lmtasks.layers import linear
from lmtasks.layers import mlp
from lmtasks.layers import norms
from lmtasks.layers import positions as places
from lmtasks.layers import recurrent
from lmtasks.layers import slots
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


@struct.dataclass
class Layer:
    """What differs from layer to layer: numbers, and the layer's caches.

    Attributes:
        window: sliding window in positions; None = full.
        inv_freq: rotary frequencies float32[H / 2], or None.
        slot: int32[B], where `own` is written; None without a cache.
        own: the cache of self-attention, or None.
        context: cross keys and values ready to use, or None.
    """

    window: int | Array | None = None
    inv_freq: Array | None = None
    slot: Array | None = None
    own: slots.KeysValues | None = None
    context: slots.KeysValues | None = None


@struct.dataclass
class Shared:
    """What all layers share: visibility, position bias or the embedded distances of
    disentangled attention, and the encoder's output.
    """

    sight: attention.Visibility
    bias: Array | None = None
    distances: Array | None = None
    memory: Array | None = None
    cross_sight: attention.Visibility | None = None


class Block(nn.Module):
    """Self-attention, cross-attention when `cross`, and the feed-forward; or an LSTM in
    place of the first and the last.
    """

    cfg: TransformerConfig
    cross: bool = False
    causal: bool = True
    residual_scale: float = 1.0
    train: bool = False
    keep: bool = False
    first: bool = False

    @nn.compact
    def __call__(self, x: Array, layer: Layer, shared: Shared):
        """Return (x [B, T, D], (own, context) caches, or None unless `keep`)."""
        c = self.cfg
        x = nn.with_logical_constraint(x, ("batch", "length", "act_embed"))
        kept: dict[str, typing.Any] = {"own": None, "context": None}

        def self_attention(h):
            if shared.distances is not None:
                module = disentangled.Attention(c, self.train, name="attn")
                return module(h, shared.sight, shared.distances)
            out, kept["own"] = attention.Attention(
                c, self.residual_scale, self.train, name="attn"
            )(h, shared.sight, layer=layer, bias=shared.bias, cached=layer.own)
            return out

        def recurrence(h):
            module = recurrent.Lstm(c, not self.causal, name="lstm")
            out, kept["own"] = module(
                h, shared.sight, slot=layer.slot, cached=layer.own
            )
            return out

        def cross_attention(h):
            plain = Layer()  # no rotation, no window, nothing written
            out, kept["context"] = attention.Attention(
                c, self.residual_scale, self.train, name="cross"
            )(
                h,
                shared.cross_sight,
                layer=plain,
                memory=shared.memory,
                cached=layer.context,
            )
            return out

        def feed_forward(h):
            return mlp.Mlp(c, self.residual_scale, name="mlp")(h)

        if c.parallel:
            h, g = self._norm("attn_norm", x), self._norm("mlp_norm", x)
            x = x + self._drop(self_attention(h)) + self._drop(feed_forward(g))
        else:
            recurs = c.block == "lstm"
            own = ("lstm", recurrence) if recurs else ("attn", self_attention)
            x = self._residual(x, *own)
            if self.cross:
                x = self._residual(x, "cross", cross_attention)
            x = x if recurs else self._residual(x, "mlp", feed_forward)
        return x, (kept["own"], kept["context"]) if self.keep else None

    def _norm(self, name, x):
        return norms.of(self.cfg, name)(x)

    def _drop(self, h):
        if not (self.train and self.cfg.dropout):
            return h
        return nn.Dropout(self.cfg.dropout, deterministic=False)(h)

    def _residual(self, x, name, sublayer):
        at = self.cfg.norm.at
        before = at in ("pre", "sandwich")
        if name == "attn" and self.first and not self.cfg.norm.first:
            before = False
        h = self._norm(f"{name}_norm", x) if before else x
        h = sublayer(h)
        if at in ("sandwich", "output"):
            h = self._norm(f"{name}_out_norm", h)
        x = x + self._drop(h)
        return self._norm(f"{name}_norm", x) if at == "post" else x


class Stack(nn.Module):
    """Positions and types added to the tokens, L blocks, and the final norm."""

    cfg: TransformerConfig
    depth: int
    causal: bool
    cross: bool = False
    train: bool = False

    @nn.compact
    def __call__(
        self,
        x: Array,
        shared: Shared,
        *,
        token_types: Array | None = None,
        slot: Array | None = None,
        own: tuple = (),
        context: tuple = (),
        keep: bool = False,
    ):
        """Return (x [B, T, D], tuple over layers of (own, context), or None).

        Args:
            x: [B, T, D], embedded tokens.
            shared: visibility and memory; its `bias` is filled in here.
            token_types: int32[B, T] or None.
            slot: int32[B], where this chunk is written into `own`.
            own, context: per layer caches, or ().
            keep: return the caches.
        """
        c = self.cfg
        inputs = embed.Inputs(c, self.train, name="inputs")
        x = inputs(x, shared.sight.q_positions, token_types)
        shared = shared.replace(
            bias=self._bias(shared.sight), distances=self._distances()
        )
        if c.scan_layers:
            assert slot is None and not keep, "decode from per-layer parameters"
            x, kept = self._scan(x, shared), None
        else:
            x, kept = self._unrolled(x, shared, slot, own, context, keep)
        if c.norm.final and c.norm.at != "post":
            x = norms.of(c, "norm")(x)
        return x, kept

    def _bias(self, sight):
        p, n = self.cfg.positions, self.cfg.attention.heads
        if self.cfg.block == "lstm":
            return None
        if p.kind == "alibi":
            return places.alibi_bias(n, sight.q_positions, sight.k_positions)
        if p.kind != "t5":
            return None
        shape, axes = (p.buckets, n), ("buckets", "heads")
        table = linear.weight(
            self, "relative_bias", shape, axes, std=self.cfg.width**-0.5
        )
        q, k = sight.q_positions, sight.k_positions
        return places.relative_bias(table, q, k, causal=self.causal, limit=p.distance)

    def _distances(self):
        """Return the normed table of distances [2 R, D] of disentangled attention."""
        c, p = self.cfg, self.cfg.positions
        if p.kind != "disentangled":
            return None
        shape, axes = (2 * p.buckets, c.width), ("buckets", "embed")
        table = linear.weight(self, "distances", shape, axes, std=c.init_std)
        return norms.of(c, "distances_norm")(table.astype(c.dtype))

    def _block(self, **fields):
        kind = Block
        if self.cfg.remat:
            policy = {
                "full": jax.checkpoint_policies.nothing_saveable,
                "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
            }[self.cfg.remat]
            # Inside a scan the loop already stops common subexpression elimination.
            kind = nn.remat(Block, prevent_cse=not self.cfg.scan_layers, policy=policy)
        return kind, {
            "cfg": self.cfg,
            "cross": self.cross,
            "causal": self.causal,
            # GPT-2 shrinks what is added to the residual stream by 1 / sqrt(2 L).
            "residual_scale": (2 * self.depth) ** -0.5,
            "train": self.train,
        } | fields

    def _unrolled(self, x, shared, slot, own, context, keep):
        kind, fields = self._block(keep=keep)
        kept = []
        windows, frequencies = layer_numbers(self.cfg, self.depth)
        block = None
        for i in range(self.depth):
            layer = Layer(
                window=windows[i] or None,
                inv_freq=None if frequencies is None else frequencies[i],
                slot=slot,
                own=own[i] if own else None,
                context=context[i] if context else None,
            )
            if block is None or not self.cfg.shared_layers:
                block = kind(**fields, first=i == 0, name=f"layers_{i}")
            x, one = block(x, layer, shared)
            kept.append(one)
        return x, tuple(kept) if keep else None

    def _scan(self, x, shared):
        kind, fields = self._block()
        windows, frequencies = layer_numbers(self.cfg, self.depth)
        # Full attention everywhere stays static, so that it costs no mask.
        window = jnp.asarray(windows, jnp.int32) if any(windows) else None
        stacked = None if frequencies is None else jnp.asarray(np.stack(frequencies))
        layers = Layer(window=window, inv_freq=stacked)
        scanned = nn.scan(
            kind,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast),
            length=self.depth,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        return scanned(**fields, name="layers")(x, layers, shared)[0]


def layer_numbers(cfg: TransformerConfig, depth: int):
    """Return (windows, rotary frequencies) of each layer; None without rotary.

    The patterns `attention.window` and `positions.base` are cycled over the layers.
    """
    pattern = cfg.attention.window or (0,)
    windows = [int(pattern[i % len(pattern)]) for i in range(depth)]
    if cfg.positions.kind != "rotary":
        return windows, None
    bases = cfg.positions.base
    scaled = cfg.positions.scaled
    plain = dataclasses.replace(cfg.positions, scaling="")
    frequencies = []
    for i in range(depth):
        positions = cfg.positions if scaled[i % len(scaled)] else plain
        base = bases[i % len(bases)]
        frequencies.append(places.inverse_frequencies(positions, cfg.head_dim, base))
    return windows, frequencies
