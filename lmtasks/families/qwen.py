"""Qwen2, Qwen2.5 (biases on query, key and value) and Qwen3 (norms of query and key
instead). Yang et al., 2024, arXiv:2407.10671, 2412.15115; 2025, arXiv:2505.09388.
"""

from __future__ import annotations

import dataclasses

from lmtasks.families import llama
from lmtasks.hf import rope
from lmtasks.hf import settings
from lmtasks.models.config import Attention
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def second(layers: int, width: int, mlp: int, heads: int, kv_heads: int, **own):
    """Return Qwen2.5 at a size."""
    attention = Attention(heads=heads, kv_heads=kv_heads, bias=True)
    return _long(llama.shape(layers, width, mlp, attention), **own)


def third(layers: int, width: int, mlp: int, heads: int, **own) -> TransformerConfig:
    """Return Qwen3 at a size: heads of 128, 8 for keys and values."""
    attention = Attention(heads=heads, kv_heads=8, head_dim=128, qk_norm="head")
    return _long(llama.shape(layers, width, mlp, attention), **own)


def _long(cfg: TransformerConfig, vocab: int = 151936, tied: bool = True):
    positions = Positions("rotary", 32768, base=(1e6,))
    norm = dataclasses.replace(cfg.norm, eps=1e-6)
    return dataclasses.replace(
        cfg, vocab=vocab, positions=positions, norm=norm, tied=tied
    )


PRESETS = {
    "tiny": second(2, 128, 352, 4, 2),
    "2.5-0.5b": second(24, 896, 4864, 14, 2),
    "2.5-1.5b": second(28, 1536, 8960, 12, 2),
    "2.5-7b": second(28, 3584, 18944, 28, 4, vocab=152064, tied=False),
    "3-0.6b": third(28, 1024, 3072, 16),
    "3-1.7b": third(28, 2048, 6144, 16),
    "3-8b": third(36, 4096, 12288, 32, tied=False),
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    layers, third_kind = s.take("num_hidden_layers"), s.values["model_type"] == "qwen3"
    size = s.take("sliding_window", 4096) if s.take("use_sliding_window", False) else 0
    s.take("sliding_window", 0)
    first = s.take("max_window_layers", 28)
    usual = ["sliding" if size and i >= first else "full" for i in range(layers)]
    bias = s.take("attention_bias", False) if third_kind else True
    return llama.gated(
        s,
        activation=s.activation("hidden_act", "silu"),
        **{
            "attention.bias": bias,
            "attention.out_bias": third_kind and bias,
            "attention.qk_norm": "head" if third_kind else "",
        },
        **rope.positions(s),
        **rope.window(s, layers, size, usual),
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    windows = settings.spread(cfg.attention.window, cfg.layers)
    found = llama.write(cfg, kind) | {
        "use_sliding_window": any(windows),
        "sliding_window": max(windows) or None,
        "layer_types": rope.type_names(windows),
    }
    del found["mlp_bias"]
    if kind == "qwen2":
        del found["attention_bias"]
    return found


FAMILY = llama.family({"qwen2": "Qwen2", "qwen3": "Qwen3"}, read, write)
