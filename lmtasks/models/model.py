"""Model: an architecture as pure functions of (params, batch)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from lmtasks.models import architectures
from lmtasks.models import cache as caches
from lmtasks.models import layout
from lmtasks.models import soft as vectors
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array
from lmtasks.types import Batch
from lmtasks.types import Params


@dataclasses.dataclass(frozen=True)
class Model:
    """One of the three architectures with a head; holds no arrays.

    Attributes:
        architecture: "encoder" | "decoder" | "encoder_decoder".
        cfg: its shape.
        head: "lm" | "classify" | "tag" | "span" | "none".
        classes: C of a class head.
        soft: vectors that are trained before the text.
    """

    architecture: str
    cfg: TransformerConfig
    head: str = "lm"
    classes: int = 0
    soft: vectors.Soft = vectors.Soft()

    def __post_init__(self):
        if self.architecture == "encoder_decoder" and self.cfg.parallel:
            raise ValueError(
                "model.parallel=True leaves no place for cross-attention; use it with "
                "an encoder or a decoder"
            )
        kind = self.cfg.positions.kind
        if kind == "disentangled" and self.architecture != "encoder":
            raise ValueError(
                "model.positions.kind='disentangled' looks both ways; use it with an "
                f"encoder, not with architecture={self.architecture!r}"
            )
        if self.cfg.pooling != "cls" and self.architecture != "encoder":
            raise ValueError(
                f"model.pooling={self.cfg.pooling!r} is what an encoder's class head "
                f"reads; leave it unset with architecture={self.architecture!r}"
            )
        if self.soft.kind == "prefix" and (
            self.cfg.scan_layers or kind == "disentangled" or self.cfg.block == "lstm"
        ):
            key = "scan_layers=True" if self.cfg.scan_layers else "block='lstm'"
            key = f"positions.kind={kind!r}" if kind == "disentangled" else key
            raise ValueError(
                f"soft.kind='prefix' gives each layer keys and values, which model.{key}"
                " has no place for; use 'prompt'"
            )
        if self.cfg.context == "vector" and self.architecture != "encoder_decoder":
            raise ValueError(
                "model.context='vector' is what a decoder reads of its encoder; leave it "
                f"unset with architecture={self.architecture!r}"
            )

    def module(self, train: bool = False) -> nn.Module:
        """Return the linen module; `train` turns dropout on."""
        kind = architectures.MODULES[self.architecture]
        return kind(self.cfg, self.head, self.classes, train, self.soft)

    def init(self, rng: Array) -> Params:
        """Return fresh parameters, float32, wrapped in their logical axes."""
        tokens = jnp.zeros((1, 2), jnp.int32)
        batch = {"tokens": tokens, "positions": tokens, "token_types": tokens}
        batch |= {"source": tokens, "source_positions": tokens}
        return self.module().init(rng, batch)["params"]

    def apply(self, params: Params, batch: Batch, rng: Array | None = None) -> Array:
        """Return the head's logits; with `rng`, dropout is on."""
        module = self.module(train=rng is not None)
        if self.cfg.matmul == "int8":
            params = layout.with_integers(params, logical_axes(self))
        rngs = None if rng is None else {"dropout": rng}
        return module.apply({"params": params}, batch, rngs=rngs)

    def begin(self, params: Params, batch: Batch, size: int) -> caches.Cache:
        """Return a cache of `size` slots before anything of a prompt was read."""
        return self._run("begin", params, batch, size)

    def start(
        self,
        params: Params,
        batch: Batch,
        size: int,
        *,
        chunk: int = 0,
        hidden: bool = False,
    ) -> tuple[Array, caches.Cache]:
        """Return (logits [B, V] after the prompt, cache of `size` slots).

        Args:
            params, batch: of the model; a prompt begins at slot 0.
            size: slots of the cache, the prompt's included.
            chunk: tokens of a decoder's prompt read at a time, 0 = all: less memory
                for long prompts, the same numbers.
            hidden: return (logits, last hidden states [B, T, D]) for the logits.
        """
        chunked = chunk and self.architecture == "decoder" and "prefix" not in batch
        if chunked and not hidden and batch["tokens"].shape[1] > chunk:
            return self._start_in_chunks(params, batch, size, chunk)
        logits, x, cache = self._run("start", params, batch, size)
        return ((logits, x) if hidden else logits), cache

    def _start_in_chunks(self, params, batch, size, chunk):
        b, longest = batch["tokens"].shape
        room = -longest % chunk
        last = jnp.argmax(batch["positions"], axis=1)
        empty = {"positions": -1}

        def cut(key):  # [chunks, B, chunk]
            pad = ((0, 0), (0, room))
            x = jnp.pad(batch[key], pad, constant_values=empty.get(key, 0))
            return jnp.moveaxis(x.reshape(b, -1, chunk), 1, 0)

        keys = [k for k in ("tokens", "positions", "token_types") if k in batch]
        parts = {key: cut(key) for key in keys}

        def read(carry, xs):
            cache, end = carry
            number, part = xs
            x, cache = self._run(
                "read",
                params,
                part["tokens"],
                part["positions"],
                cache,
                jnp.full(b, number * chunk, jnp.int32),
                types=part.get("token_types"),
            )
            place = last - number * chunk
            here = jnp.clip(place, 0, chunk - 1)[:, None, None]
            mine = jnp.take_along_axis(x, here, axis=1)
            inside = ((place >= 0) & (place < chunk))[:, None, None]
            return (cache, jnp.where(inside, mine, end)), None

        cache = self.begin(params, batch, size)
        end = jnp.zeros((b, 1, self.cfg.width), self.cfg.dtype)
        numbers = jnp.arange((longest + room) // chunk)
        (cache, end), _ = jax.lax.scan(read, (cache, end), (numbers, parts))
        return self._run("head_of", params, end)[:, 0], cache

    def step(
        self,
        params: Params,
        tokens: Array,
        positions: Array,
        cache: caches.Cache,
        slot: Array,
        sees: Array | None = None,
        *,
        hidden: bool = False,
    ) -> tuple[Array, caches.Cache]:
        """Return (logits [B, T, V], cache) after int32[B, T] more tokens.

        `sees` bool[B, T, S] says which slots each token may look at besides; with
        `hidden`, (logits, last hidden states [B, T, D]) stand for the logits.
        """
        logits, x, cache = self._run(
            "step", params, tokens, positions, cache, slot, sees
        )
        return ((logits, x) if hidden else logits), cache

    def _run(self, method, params, *args, **kwargs):
        module = self.module()
        return module.apply({"params": params}, *args, method=method, **kwargs)

    def for_decoding(self, *, weights: str = "", cache: str = "") -> Model:
        """Return the same model over per-layer parameters (`layout.unstack_layers`).

        Args:
            weights: dtype the products run in, "" = as trained ("int8" weights, see
                `layout.for_decoding`, leave it).
            cache: dtype of the cache, "" = that of the products.
        """
        dtype = weights if weights in ("float32", "bfloat16") else self.cfg.dtype
        cfg = dataclasses.replace(
            self.cfg, scan_layers=False, remat="", dtype=dtype, cache_dtype=cache
        )
        return dataclasses.replace(self, cfg=cfg)


def unbox(boxed: Params) -> Params:
    """Return plain arrays from parameters wrapped in their logical axes."""
    return nn.unbox(boxed)


def logical_axes(model: Model) -> Params:
    """Return the tree of logical axis names (PartitionSpecs) of the parameters."""
    boxed = jax.eval_shape(model.init, jax.random.key(0))
    return nn.get_partition_spec(boxed)


def count(params: Params) -> int:
    """Return the number of parameters of a tree of arrays or shapes."""
    return sum(x.size for x in jax.tree.leaves(params))
