"""BERT: a bidirectional encoder (Devlin et al., 2019, arXiv:1810.04805)."""

from __future__ import annotations

from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int, size: int = 512) -> TransformerConfig:
    """Return BERT at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=30522,
        width=width,
        layers=layers,
        activation="gelu",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "post", 1e-12),
        positions=Positions("learned", size),
        token_types=2,
        embed_norm=True,
        head_bias=True,
        head_transform=True,
        pooler=True,
        dropout=0.1,
        attention_dropout=0.1,
    )


# tiny to large: Turc et al., 2019, arXiv:1908.08962.
PRESETS = {
    "tiny": shape(2, 128, 2),
    "mini": shape(4, 256, 4),
    "small": shape(4, 512, 8),
    "base": shape(12, 768, 12),
    "large": shape(24, 1024, 16),
}
