"""OLMo 2: Llama's shape with norms behind the sublayers and of the whole query and key
(OLMo Team, 2025, arXiv:2501.00656).
"""

from __future__ import annotations

import dataclasses

from lmtasks.families import llama
from lmtasks.hf import rope
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, mlp: int, heads: int, kv_heads: int = 0):
    """Return OLMo 2 at a size."""
    attention = Attention(heads=heads, kv_heads=kv_heads, qk_norm="width")
    return dataclasses.replace(
        llama.shape(layers, width, mlp, attention),
        vocab=100352,
        norm=Norm("rms", "output", 1e-6),
        positions=Positions("rotary", 4096, base=(500000.0,)),
    )


PRESETS = {
    "tiny": shape(2, 128, 352, 4),
    "1b": shape(16, 2048, 8192, 16),
    "7b": shape(32, 4096, 11008, 32),
}
_NORMS = {
    "attn_out_norm": "post_attention_layernorm",
    "mlp_out_norm": "post_feedforward_layernorm",
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    bias = s.take("attention_bias", False)
    return llama.gated(
        s,
        activation=s.activation("hidden_act", "silu"),
        **{"attention.bias": bias, "attention.out_bias": bias},
        **{"norm.at": "output", "attention.qk_norm": "width"},
        **{"norm.eps": s.take("rms_norm_eps", 1e-5)},
        **rope.positions(s),
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    found = llama.write(cfg, kind)
    del found["mlp_bias"], found["head_dim"]
    return found


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    return llama.tensors(cfg, kind, head, _NORMS)


FAMILY = llama.family({"olmo2": "Olmo2"}, read, write, tensors)
