"""The three architectures, assembled from Stack: Encoder, Decoder, EncoderDecoder.

Each is called with a batch and returns its head's logits. Those that write text add
two verbs: `start(batch, size)` reads the prompt into a cache of `size` slots, and
`step(tokens, positions, cache, slot)` goes on from it. Both are made of `begin`, an
empty cache, `read`, which extends it, and `head`.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import attention
from lmtasks.layers import embed
from lmtasks.layers import pooling
from lmtasks.layers import slots
from lmtasks.models import cache as caches
from lmtasks.models import heads
from lmtasks.models import soft
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
    vectors: soft.Soft = soft.Soft()

    def setup(self):
        self.embed = embed.Embed(self.cfg)
        self.soft = soft.make(self.cfg, self.vectors, encoder=self.cfg.layers)
        self.encoder = transformer.Stack(
            self.cfg, self.cfg.layers, False, train=self.train
        )
        self.top = heads.Head(self.cfg, self.head, self.classes, self.train)

    def __call__(self, batch: Batch) -> Array:
        """Return [B, A or T, V or C or 2] for `tokens`, `positions`, ..."""
        x = self.embed(batch["tokens"])
        shared = transformer.Shared(sight_of(batch, causal=False))
        types = batch.get("token_types")
        x = soft.through(self.soft, self.encoder, "encoder", x, shared, types)
        x = x[:, -batch["tokens"].shape[1] :]
        x = heads.of_class(x, batch, self.cfg.pooling)
        return self.top(heads.mix(x, batch), self.embed.tokens)


class Decoder(nn.Module):
    """A causal decoder (Radford et al., 2019); `prefix` positions see each other."""

    cfg: TransformerConfig
    head: str = "lm"
    classes: int = 0
    train: bool = False
    vectors: soft.Soft = soft.Soft()

    def setup(self):
        self.embed = embed.Embed(self.cfg)
        self.soft = soft.make(self.cfg, self.vectors, decoder=self.cfg.layers)
        self.decoder = transformer.Stack(
            self.cfg, self.cfg.layers, True, train=self.train
        )
        self.top = heads.Head(self.cfg, self.head, self.classes, self.train)

    def __call__(self, batch: Batch) -> Array:
        """Return [B, A or T, V or C] for `tokens`, `positions`, ..."""
        x = self.embed(batch["tokens"])
        shared = transformer.Shared(sight_of(batch, causal=True))
        types = batch.get("token_types")
        x = soft.through(self.soft, self.decoder, "decoder", x, shared, types)
        x = x[:, -batch["tokens"].shape[1] :]
        return self.top(heads.gather(x, batch.get("at")), self.embed.tokens)

    def begin(self, batch: Batch, size: int) -> caches.Cache:
        """Return an empty cache of `size` slots for the rows of the batch.

        Trained vectors lie in slots of their own before those, which callers of
        `read` and `step` do not count.
        """
        rows, room = batch["tokens"].shape[0], self.vectors.room
        cache = caches.empty(
            self.cfg, layers=self.cfg.layers, batch=rows, size=size + room, first=room
        )
        if not room:
            return cache
        if self.vectors.kind == "prefix":
            return self.soft.cached("decoder", cache)
        places = jnp.broadcast_to(jnp.arange(room), (rows, room))
        x, slot = self.soft.prompt(rows), jnp.zeros(rows, jnp.int32)
        return self._extend(x, places, cache, slot)[1]

    def start(self, batch: Batch, size: int) -> tuple[Array, Array, caches.Cache]:
        """Return (logits [B, V] after each row's last token, x [B, T, D], cache)."""
        tokens, positions = batch["tokens"], batch["positions"]
        slot = jnp.zeros(tokens.shape[0], jnp.int32)
        x, cache = self.read(
            tokens,
            positions,
            self.begin(batch, size),
            slot,
            prefix=batch.get("prefix"),
            types=batch.get("token_types"),
        )
        return self.head_of(last_of(x, positions))[:, 0], x, cache

    def step(
        self, tokens: Array, positions: Array, cache: caches.Cache, slot: Array, sees
    ) -> tuple[Array, Array, caches.Cache]:
        """Return (logits [B, T, V], x [B, T, D], cache) with int32[B, T] tokens
        written at slot.

        Padding has position -1; `slot` int32[B] is where each row goes on; `sees`
        bool[B, T, S] or None says which slots a query may look at besides.
        """
        x, cache = self.read(tokens, positions, cache, slot, sees)
        return self.head_of(x), x, cache

    def head_of(self, x: Array) -> Array:
        """Return the logits [B, T, V] of hidden states [B, T, D]."""
        return self.top(x, self.embed.tokens)

    def read(
        self, tokens, positions, cache, slot, sees=None, *, prefix=None, types=None
    ):
        """Return (hidden states [B, T, D], cache); arguments as of `step`."""
        x, given = self.embed(tokens), (positions, slot, sees, prefix)
        positions, slot, sees, prefix = soft.moved(self.vectors.room, *given)
        return self._extend(x, positions, cache, slot, sees, prefix, types)

    def _extend(self, x, positions, cache, slot, sees=None, prefix=None, types=None):
        sight, cache = extend_sight(positions, cache, slot, prefix, sees)
        x, kept = self.decoder(
            x,
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
    vectors: soft.Soft = soft.Soft()

    def setup(self):
        c = self.cfg
        self.embed = embed.Embed(c)
        self.encoder = transformer.Stack(c, c.layers, False, train=self.train)
        depth = c.decoder_layers or c.layers
        self.soft = soft.make(c, self.vectors, encoder=c.layers, decoder=depth)
        self.decoder = transformer.Stack(c, depth, True, cross=True, train=self.train)
        self.top = heads.Head(c, self.head, self.classes, self.train)

    def __call__(self, batch: Batch) -> Array:
        """Return [B, A or T, V] for `source`, `tokens` and their positions."""
        positions, segments = self._source(batch)
        shared = transformer.Shared(
            sight_of(batch, causal=True),
            memory=self._encode(batch),
            cross_sight=attention.Visibility(
                batch["positions"], positions, batch.get("segments"), segments
            ),
        )
        x = self.embed(batch["tokens"])
        prefix = self.soft if self._room() else None
        x = soft.through(prefix, self.decoder, "decoder", x, shared)
        return self.top(heads.gather(x, batch.get("at")), self.embed.tokens)

    def begin(self, batch: Batch, size: int) -> caches.Cache:
        """Return a cache of `size` slots that knows the source, its own part empty."""
        depth = self.cfg.decoder_layers or self.cfg.layers
        rows, room = batch["tokens"].shape[0], self._room()
        cache = caches.empty(
            self.cfg, layers=depth, batch=rows, size=size + room, first=room
        )
        if room:
            cache = self.soft.cached("decoder", cache)
        return cache.replace(context_positions=self._source(batch)[0])

    def start(self, batch: Batch, size: int) -> tuple[Array, Array, caches.Cache]:
        """Return (logits [B, V], x [B, T, D], cache) after `source` and `tokens`."""
        tokens, positions = batch["tokens"], batch["positions"]
        slot = jnp.zeros(tokens.shape[0], jnp.int32)
        cache, memory = self.begin(batch, size), self._encode(batch)
        x, cache = self.read(tokens, positions, cache, slot, memory=memory)
        return self.head_of(last_of(x, positions))[:, 0], x, cache

    def step(
        self, tokens: Array, positions: Array, cache: caches.Cache, slot: Array, sees
    ) -> tuple[Array, Array, caches.Cache]:
        """Return (logits [B, T, V], x [B, T, D], cache); see `Decoder.step`."""
        x, cache = self.read(tokens, positions, cache, slot, sees)
        return self.head_of(x), x, cache

    def head_of(self, x: Array) -> Array:
        """Return the logits [B, T, V] of hidden states [B, T, D]."""
        return self.top(x, self.embed.tokens)

    def _encode(self, batch):
        shared = transformer.Shared(sight_of(batch, causal=False, prefix="source_"))
        x = self.embed(batch["source"])
        memory = soft.through(self.soft, self.encoder, "encoder", x, shared)
        if self.cfg.context == "attention":
            return memory
        positions, segments = self._read_source(batch)
        sight = attention.Visibility(positions, positions, segments, segments)
        return pooling.mean_of(memory, sight.dense())

    def _room(self) -> int:
        """Return how many slots of the decoder the trained vectors take."""
        return self.vectors.room if self.vectors.kind == "prefix" else 0

    def _source(self, batch):
        """Return (positions, segments or None) of what is seen of the encoder."""
        positions, segments = self._read_source(batch)
        if self.cfg.context == "vector":
            positions = pooling.last_only(positions)
        return positions, segments

    def _read_source(self, batch):
        """Return (positions, segments or None) of what `_encode` returns."""
        positions, segments = batch["source_positions"], batch.get("source_segments")
        if self.vectors.kind == "prompt":
            room = self.vectors.room  # what matters here is only that they are there
            positions = soft.before(positions, room)
            segments = None if segments is None else soft.before(segments, room)
        return positions, segments

    def read(self, tokens, positions, cache, slot, sees=None, *, memory=None):
        """Return (hidden states [B, T, D], cache); arguments as of `step`."""
        positions, slot, sees, _ = soft.moved(self._room(), positions, slot, sees)
        sight, cache = extend_sight(positions, cache, slot, sees=sees)
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


def extend_sight(positions, cache: caches.Cache, slot, prefix=None, sees=None):
    """Return (who sees whom in the cache, the cache with `positions` at `slot`).

    A prefix is only read in the chunk that holds it, at slot 0; its keys stand first.
    """
    held = slots.write(cache.positions, positions, slot, 0)
    if prefix is not None:
        missing = held.shape[1] - prefix.shape[1]
        prefix = jnp.pad(prefix, ((0, 0), (0, missing)))
    sight = attention.Visibility(positions, held, prefix=prefix, sees=sees, causal=True)
    return sight, cache.replace(positions=held)


MODULES = {
    "encoder": Encoder,
    "decoder": Decoder,
    "encoder_decoder": EncoderDecoder,
}
