"""Our parameters under transformers' names, and random values for all of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np

from lmtasks.hf import reading
from lmtasks.hf import writing
from lmtasks.models import model as models
from lmtasks.models.config import TransformerConfig

_TABLES = ("tokens", "positions", "types", "relative_bias")


def random_value(
    path: str, shape: tuple[int, ...], cfg: TransformerConfig
) -> np.ndarray:
    """Return float32 values of a parameter that hide no fault, the same every time.

    Norm scales 1 +- .3, biases +- .3, matrices 1 / sqrt(inputs); lookup tables so that
    tied logits have a deviation of 2, queries so that attention's have one too. A bias
    left out or a scale forgotten moves the loss.
    """
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    x = rng.standard_normal(shape, np.float32)
    last = path.split("/")[-1]
    if last == "scale":
        return 1 + np.float32(0.3) * x
    if "bias" in last:
        return np.float32(0.3) * x
    if last in _TABLES:
        return np.float32(2 * cfg.width**-0.5 / cfg.head_scale) * x
    # [N, H, D] sums over its heads, every other matrix over its first dim.
    inputs = math.prod(shape[:-1]) if last == "out" else shape[0]
    if last == "query":
        inputs /= 4
        if cfg.attention.scale:
            inputs *= cfg.head_dim * cfg.attention.scale**2
    return x * np.float32(inputs**-0.5)


def to_peer(
    family: str, model: models.Model, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the state dict of transformers' model, tied weights once.

    Args:
        family: "bert" | "gpt2" | "t5", the model type.
        model: the shape and the head.
        arrays: {path: array} of its parameters.
    """
    export = writing.Export(reading.family_of(family), family, model.for_decoding())
    return dict(writing.tensors(export, arrays))
