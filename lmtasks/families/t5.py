"""T5: an encoder-decoder with relative position bias (Raffel et al., 2020,
arXiv:1910.10683), and v1.1 with a gated feed-forward (Shazeer, 2020,
arXiv:2002.05202).
"""

from __future__ import annotations

import dataclasses

from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder_decoder"


def shape(layers: int, width: int, mlp: int, heads: int, head_dim: int = 64):
    """Return T5 v1.0 at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=32128,
        width=width,
        layers=layers,
        mlp=mlp,
        activation="relu",
        attention=Attention(heads=heads, head_dim=head_dim, scale=1.0),
        norm=Norm("rms", "pre", 1e-6),
        positions=Positions("t5", 512),
        head_scale=width**-0.5,
        init="fan_in",
        dropout=0.1,
        attention_dropout=0.1,
    )


def gated(cfg: TransformerConfig) -> TransformerConfig:
    """Return the v1.1 form: gated GELU, and a head of its own without scale."""
    return dataclasses.replace(
        cfg, activation="gelu_tanh", gated=True, tied=False, head_scale=1.0
    )


PRESETS = {
    "tiny": shape(2, 128, 512, 2),
    "mini": shape(4, 256, 1024, 4),
    "small": shape(6, 512, 2048, 8),
    "base": shape(12, 768, 3072, 12),
    "large": shape(24, 1024, 4096, 16),
    "3b": shape(24, 1024, 16384, 32, 128),
    "11b": shape(24, 1024, 65536, 128, 128),
    "v1.1-small": gated(shape(8, 512, 1024, 6)),
    "v1.1-base": gated(shape(12, 768, 2048, 12)),
    "v1.1-large": gated(shape(24, 1024, 2816, 16)),
    "v1.1-xl": gated(shape(24, 2048, 5120, 32)),
    "v1.1-xxl": gated(shape(24, 4096, 10240, 64)),
}
