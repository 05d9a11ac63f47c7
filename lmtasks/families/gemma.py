"""Gemma 1, 2 and 3, text: norms that multiply by 1 + w, GELU gates, scaled embeddings;
2 adds norms behind the sublayers and soft caps, 3 norms of query and key.

Gemma Team, 2024, arXiv:2403.08295, 2408.00118; 2025, arXiv:2503.19786.
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


def first(layers: int, width: int, mlp: int, attention: Attention):
    """Return Gemma 1 at a size."""
    return TransformerConfig(
        vocab=256000,
        width=width,
        layers=layers,
        mlp=mlp,
        activation="gelu_tanh",
        gated=True,
        attention=attention,
        norm=Norm("rms1", "pre", 1e-6),
        positions=Positions("rotary", 8192),
        embed_scale=width**0.5,
    )


def second(layers: int, width: int, mlp: int, heads: int, kv_heads: int):
    """Return Gemma 2 at a size: heads of 256, every other layer sees 4096 back."""
    attention = Attention(
        heads=heads, kv_heads=kv_heads, head_dim=256, scale=256**-0.5, soft_cap=50.0,
        window=(4096, 0),
    )  # fmt: skip
    cfg = first(layers, width, mlp, attention)
    norm = Norm("rms1", "sandwich", 1e-6)
    return dataclasses.replace(cfg, norm=norm, logit_soft_cap=30.0)


def third(layers: int, width: int, mlp: int, heads: int, kv_heads: int, **scaling):
    """Return Gemma 3's text model: five layers of six slide with a base of their own."""
    near = 512 if width <= 1152 else 1024
    attention = Attention(
        heads=heads, kv_heads=kv_heads, head_dim=256, scale=256**-0.5, qk_norm="head",
        window=(*(near,) * 5, 0),
    )  # fmt: skip
    base = (*(1e4,) * 5, 1e6)
    size = 131072 if scaling else 32768
    return dataclasses.replace(
        first(layers, width, mlp, attention),
        vocab=262208 if scaling else 262144,
        norm=Norm("rms1", "sandwich", 1e-6),
        positions=Positions("rotary", size, base=base, **scaling),
    )


_LONG = {"scaling": "linear", "factor": 8.0, "scaled": (*(False,) * 5, True)}
PRESETS = {
    "tiny": first(2, 128, 512, Attention(heads=2, kv_heads=1, head_dim=64)),
    "2b": first(18, 2048, 16384, Attention(heads=8, kv_heads=1, head_dim=256)),
    "7b": first(28, 3072, 24576, Attention(heads=16, head_dim=256)),
    "2-2b": second(26, 2304, 9216, 8, 4),
    "2-9b": second(42, 3584, 14336, 16, 8),
    "3-1b": third(26, 1152, 6912, 4, 1),
    "3-4b": third(34, 2560, 10240, 8, 4, **_LONG),
}
_NORMS = {
    "attn_norm": "input_layernorm",
    "attn_out_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_out_norm": "post_feedforward_layernorm",
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    kind, bias = s.values["model_type"], s.take("attention_bias", False)
    s.only("use_bidirectional_attention", (None, False), None)
    s.take("query_pre_attn_scalar", 256)
    s.take("_sliding_window_pattern", 6)
    # Gemma 1's published files say "gelu" and mean the tanh form; newer ones say it.
    key = "hidden_activation" if s.has("hidden_activation") else "hidden_act"
    if s.take(key, "gelu_pytorch_tanh") not in ("gelu", "gelu_pytorch_tanh"):
        s.refuse(key, s.values[key], ("gelu_pytorch_tanh",))
    s.take("hidden_act", None)
    return llama.gated(
        s,
        _fields(kind),
        embed_scale=s.take("hidden_size") ** 0.5,
        activation="gelu_tanh",
        **{"attention.bias": bias, "attention.out_bias": bias, "norm.kind": "rms1"},
        **(rope.positions(s) if kind == "gemma" else _later(s, kind)),
    )


def _fields(kind: str) -> settings.Fields:
    defaults = {"positions.size": 8192, "tied": True}
    if kind == "gemma3_text":
        defaults["positions.size"] = 131072
    changed = (field for field in llama.FIELDS if field[0] in defaults)
    kept = [field for field in llama.FIELDS if field[0] not in defaults]
    return (*kept, *((ours, key, defaults[ours]) for ours, key, _ in changed))


def _later(s: settings.Settings, kind: str) -> dict:
    """Return what Gemma 2 and 3 have besides."""
    layers, size = s.take("num_hidden_layers"), s.take("sliding_window", 4096)
    third_kind = kind == "gemma3_text"
    pattern = s.take("sliding_window_pattern", 6 if third_kind else 2)
    usual = ["sliding" if (i + 1) % pattern else "full" for i in range(layers)]
    types = rope.layer_types(s, layers, usual)
    bases = {"full": 1e6, "sliding": 1e4}
    return {
        "norm.at": "sandwich",
        "attention.scale": s.take("query_pre_attn_scalar", 256) ** -0.5,
        "attention.soft_cap": s.take("attn_logit_softcapping", 0.0),
        "logit_soft_cap": s.take("final_logit_softcapping", 0.0),
        "attention.qk_norm": "head" if third_kind else "",
        **rope.window(s, layers, size, usual),
        **(rope.by_type(s, types, bases) if third_kind else rope.positions(s)),
    }


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    found = llama.write(cfg, kind)
    del found["mlp_bias"]
    windows = settings.spread(cfg.attention.window, cfg.layers)
    if kind == "gemma":
        return found | {"hidden_act": "gelu_pytorch_tanh"}
    del found["hidden_act"]
    found |= {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _whole(_scale(cfg) ** -2),
        "attn_logit_softcapping": cfg.attention.soft_cap or None,
        "final_logit_softcapping": cfg.logit_soft_cap or None,
        "sliding_window": max(windows) or 4096,
        "layer_types": rope.type_names(windows),
    }
    if kind == "gemma3_text":
        found["rope_parameters"] = rope.parameters_by_type(cfg, windows)
    return found


def _scale(cfg: TransformerConfig) -> float:
    return cfg.attention.scale or cfg.head_dim**-0.5


def _whole(x: float) -> float:
    """Return a number that was whole before its root was taken as an int."""
    return round(x) if abs(x - round(x)) < 1e-6 * x else x


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    norms = None if kind == "gemma" else _NORMS
    return llama.tensors(cfg, kind, head, norms)


FAMILY = llama.family(
    {"gemma": "Gemma", "gemma2": "Gemma2", "gemma3_text": "Gemma3"},
    read,
    write,
    tensors,
)
