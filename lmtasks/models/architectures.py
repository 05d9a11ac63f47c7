"""The three architectures, assembled from Stack: Encoder, Decoder, EncoderDecoder.

Each is called with a batch and returns its head's logits. Those that write text add
two verbs: `start(batch, size)` reads the prompt into a cache of `size` slots, and
`step(tokens, positions, cache, slot)` goes on from it.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import attention
from lmtasks.layers import embed
from lmtasks.models import cache as caches
from lmtasks.models import heads
from lmtasks.models import transformer
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array
from lmtasks.types import Batch


def sight_of(batch: Batch, *, causal: bool, prefix: str = "") -> attention.Visibility:
    """Return who sees whom in a batch; `prefix` = "source_" for the encoder side."""
    positions, segments = batch[f"{prefix}positions"], batch.get(f"{prefix}segments")
    return attention.Visibility(
        positions, positions, segments, segments, batch.get("prefix"), causal=causal
    )


def last_of(x: Array, positions: Array) -> Array:
    """Return row b of [B, T, D] at its largest position: [B, 1, D]."""
    last = jnp.argmax(positions, axis=1)
    return jnp.take_along_axis(x, last[:, None, None], axis=1)


class Encoder(nn.Module):
    """A bidirectional encoder (Devlin et al., 2019)."""

    cfg: TransformerConfig
    head: str = "none"
    classes: int = 0
    train: bool = False

    def setup(self):
        self.embed = embed.Embed(self.cfg)
        self.encoder = transformer.Stack(
            self.cfg, self.cfg.layers, False, train=self.train
        )
        self.top = heads.Head(self.cfg, self.head, self.classes, self.train)

    def __call__(self, batch: Batch) -> Array:
        """Return [B, A or T, V or C or 2] for `tokens`, `positions`, ..."""
        x = self.embed(batch["tokens"])
        shared = transformer.Shared(sight_of(batch, causal=False))
        x, _ = self.encoder(x, shared, token_types=batch.get("token_types"))
        return self.top(heads.gather(x, batch.get("at")), self.embed.tokens)


class Decoder(nn.Module):
    """A causal decoder (Radford et al., 2019); `prefix` positions see each other."""

    cfg: TransformerConfig
    head: str = "lm"
    classes: int = 0
    train: bool = False

    def setup(self):
        self.embed = embed.Embed(self.cfg)
        self.decoder = transformer.Stack(
            self.cfg, self.cfg.layers, True, train=self.train
        )
        self.top = heads.Head(self.cfg, self.head, self.classes, self.train)

    def __call__(self, batch: Batch) -> Array:
        """Return [B, A or T, V or C] for `tokens`, `positions`, ..."""
        x = self.embed(batch["tokens"])
        shared = transformer.Shared(sight_of(batch, causal=True))
        x, _ = self.decoder(x, shared, token_types=batch.get("token_types"))
        return self.top(heads.gather(x, batch.get("at")), self.embed.tokens)

    def start(self, batch: Batch, size: int) -> tuple[Array, caches.Cache]:
        """Return (logits [B, V] after each row's last token, cache)."""
        tokens, positions = batch["tokens"], batch["positions"]
        rows = tokens.shape[0]
        cache = caches.empty(self.cfg, layers=self.cfg.layers, batch=rows, size=size)
        slot = jnp.zeros(rows, jnp.int32)
        x, cache = self._extend(
            tokens,
            positions,
            cache,
            slot,
            batch.get("prefix"),
            batch.get("token_types"),
        )
        logits = self.top(last_of(x, positions), self.embed.tokens)
        return logits[:, 0], cache

    def step(
        self, tokens: Array, positions: Array, cache: caches.Cache, slot: Array
    ) -> tuple[Array, caches.Cache]:
        """Return (logits [B, T, V], cache) with int32[B, T] tokens written at slot.

        Padding has position -1; `slot` int32[B] is each row's own length.
        """
        x, cache = self._extend(tokens, positions, cache, slot)
        return self.top(x, self.embed.tokens), cache

    def _extend(self, tokens, positions, cache, slot, prefix=None, types=None):
        sight, cache = extend_sight(positions, cache, slot, prefix)
        x, kept = self.decoder(
            self.embed(tokens),
            transformer.Shared(sight),
            token_types=types,
            slot=slot,
            own=cache.own,
            keep=True,
        )
        return x, cache.replace(own=tuple(own for own, _ in kept))


class EncoderDecoder(nn.Module):
    """An encoder and a causal decoder that reads it (Vaswani et al., 2017)."""

    cfg: TransformerConfig
    head: str = "lm"
    classes: int = 0
    train: bool = False

    def setup(self):
        c = self.cfg
        self.embed = embed.Embed(c)
        self.encoder = transformer.Stack(c, c.layers, False, train=self.train)
        depth = c.decoder_layers or c.layers
        self.decoder = transformer.Stack(c, depth, True, cross=True, train=self.train)
        self.top = heads.Head(c, self.head, self.classes, self.train)

    def __call__(self, batch: Batch) -> Array:
        """Return [B, A or T, V] for `source`, `tokens` and their positions."""
        cross = attention.Visibility(
            batch["positions"],
            batch["source_positions"],
            batch.get("segments"),
            batch.get("source_segments"),
        )
        shared = transformer.Shared(
            sight_of(batch, causal=True),
            memory=self._encode(batch),
            cross_sight=cross,
        )
        x, _ = self.decoder(self.embed(batch["tokens"]), shared)
        return self.top(heads.gather(x, batch.get("at")), self.embed.tokens)

    def start(self, batch: Batch, size: int) -> tuple[Array, caches.Cache]:
        """Return (logits [B, V], cache) after `source` and the decoder's `tokens`."""
        memory = self._encode(batch)
        tokens, positions = batch["tokens"], batch["positions"]
        rows, depth = tokens.shape[0], self.cfg.decoder_layers or self.cfg.layers
        cache = caches.empty(self.cfg, layers=depth, batch=rows, size=size)
        cache = cache.replace(context_positions=batch["source_positions"])
        slot = jnp.zeros(rows, jnp.int32)
        x, cache = self._extend(tokens, positions, cache, slot, memory)
        logits = self.top(last_of(x, positions), self.embed.tokens)
        return logits[:, 0], cache

    def step(
        self, tokens: Array, positions: Array, cache: caches.Cache, slot: Array
    ) -> tuple[Array, caches.Cache]:
        """Return (logits [B, T, V], cache); see `Decoder.step`."""
        x, cache = self._extend(tokens, positions, cache, slot)
        return self.top(x, self.embed.tokens), cache

    def _encode(self, batch):
        shared = transformer.Shared(sight_of(batch, causal=False, prefix="source_"))
        return self.encoder(self.embed(batch["source"]), shared)[0]

    def _extend(self, tokens, positions, cache, slot, memory=None):
        sight, cache = extend_sight(positions, cache, slot)
        cross = attention.Visibility(positions, cache.context_positions)
        x, kept = self.decoder(
            self.embed(tokens),
            transformer.Shared(sight, memory=memory, cross_sight=cross),
            slot=slot,
            own=cache.own,
            context=cache.context,
            keep=True,
        )
        own, context = zip(*kept, strict=True)
        return x, cache.replace(own=own, context=context)


def extend_sight(positions, cache: caches.Cache, slot, prefix=None):
    """Return (who sees whom in the cache, the cache with `positions` at `slot`).

    A prefix is only read in the chunk that holds it, at slot 0; its keys stand first.
    """
    held = attention.write(cache.positions, positions, slot, 0)
    if prefix is not None:
        missing = held.shape[1] - prefix.shape[1]
        prefix = jnp.pad(prefix, ((0, 0), (0, missing)))
    sight = attention.Visibility(positions, held, prefix=prefix, causal=True)
    return sight, cache.replace(positions=held)


MODULES = {
    "encoder": Encoder,
    "decoder": Decoder,
    "encoder_decoder": EncoderDecoder,
}
