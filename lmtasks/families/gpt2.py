"""GPT-2: a causal decoder with learned positions (Radford et al., 2019)."""

from __future__ import annotations

import dataclasses

from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, heads: int, size: int = 1024) -> TransformerConfig:
    """Return GPT-2 at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=50257,
        width=width,
        layers=layers,
        activation="gelu_tanh",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "pre", 1e-5),
        positions=Positions("learned", size),
        dropout=0.1,
        attention_dropout=0.1,
    )


def nano() -> TransformerConfig:
    """Return the shape of nanoGPT's CPU setting, over 65 characters."""
    cfg = shape(4, 128, 4, 64)
    return dataclasses.replace(cfg, vocab=65, dropout=0.0, attention_dropout=0.0)


PRESETS = {
    "nano": nano(),
    "tiny": shape(2, 128, 2),
    "mini": shape(4, 256, 4),
    "small": shape(12, 768, 12),
    "medium": shape(24, 1024, 16),
    "large": shape(36, 1280, 20),
    "xl": shape(48, 1600, 25),
}
