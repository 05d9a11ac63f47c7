"""Llama: a causal decoder with RMS norm, rotary positions and a gated feed-forward.

Touvron et al., 2023, arXiv:2302.13971; Grattafiori et al., 2024, arXiv:2407.21783.
"""

from __future__ import annotations

import dataclasses

from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, mlp: int, attention: Attention) -> TransformerConfig:
    """Return Llama at a size; without dropout, as published."""
    return TransformerConfig(
        vocab=32000,
        width=width,
        layers=layers,
        mlp=mlp,
        activation="silu",
        gated=True,
        attention=attention,
        norm=Norm("rms", "pre", 1e-5),
        positions=Positions("rotary", 4096),
        tied=False,
    )


def third(cfg: TransformerConfig, *, tied: bool, **scaling) -> TransformerConfig:
    """Return the Llama 3 form of a shape: larger vocabulary and rotary base."""
    positions = Positions("rotary", 8192, base=(500000.0,), **scaling)
    return dataclasses.replace(cfg, vocab=128256, positions=positions, tied=tied)


_LONG = {"scaling": "llama3", "factor": 32.0, "low": 1.0, "high": 4.0}
PRESETS = {
    "tiny": dataclasses.replace(shape(2, 128, 352, Attention(heads=4)), tied=True),
    "mini": dataclasses.replace(shape(4, 256, 704, Attention(heads=4)), tied=True),
    "2-7b": shape(32, 4096, 11008, Attention(heads=32)),
    "3-8b": third(shape(32, 4096, 14336, Attention(heads=32, kv_heads=8)), tied=False),
    "3-70b": third(shape(80, 8192, 28672, Attention(heads=64, kv_heads=8)), tied=False),
    "3.2-1b": third(
        shape(16, 2048, 8192, Attention(heads=32, kv_heads=8)), tied=True, **_LONG
    ),
}
