"""Model: an architecture as pure functions of (params, batch)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from lmtasks.models import architectures
from lmtasks.models import cache as caches
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
    """

    architecture: str
    cfg: TransformerConfig
    head: str = "lm"
    classes: int = 0

    def __post_init__(self):
        if self.architecture == "encoder_decoder" and self.cfg.parallel:
            raise ValueError(
                "model.parallel=True leaves no place for cross-attention; use it with "
                "an encoder or a decoder"
            )

    def module(self, train: bool = False) -> nn.Module:
        """Return the linen module; `train` turns dropout on."""
        kind = architectures.MODULES[self.architecture]
        return kind(self.cfg, self.head, self.classes, train)

    def init(self, rng: Array) -> Params:
        """Return fresh parameters, float32, wrapped in their logical axes."""
        tokens = jnp.zeros((1, 2), jnp.int32)
        batch = {"tokens": tokens, "positions": tokens, "token_types": tokens}
        batch |= {"source": tokens, "source_positions": tokens}
        return self.module().init(rng, batch)["params"]

    def apply(self, params: Params, batch: Batch, rng: Array | None = None) -> Array:
        """Return the head's logits; with `rng`, dropout is on."""
        module = self.module(train=rng is not None)
        rngs = None if rng is None else {"dropout": rng}
        return module.apply({"params": params}, batch, rngs=rngs)

    def start(
        self, params: Params, batch: Batch, size: int
    ) -> tuple[Array, caches.Cache]:
        """Return (logits [B, V] after the prompt, cache of `size` slots)."""
        module = self.module()
        return module.apply({"params": params}, batch, size, method="start")

    def step(
        self,
        params: Params,
        tokens: Array,
        positions: Array,
        cache: caches.Cache,
        slot: Array,
    ) -> tuple[Array, caches.Cache]:
        """Return (logits [B, T, V], cache) after int32[B, T] more tokens."""
        module = self.module()
        return module.apply(
            {"params": params}, tokens, positions, cache, slot, method="step"
        )

    def for_decoding(self) -> Model:
        """Return the same model over per-layer parameters (`layout.unstack_layers`)."""
        cfg = dataclasses.replace(self.cfg, scan_layers=False, remat="")
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
