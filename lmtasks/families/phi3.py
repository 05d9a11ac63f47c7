"""Phi-3: Llama's shape with joined projections (Abdin et al., 2024, arXiv:2404.14219)."""

from __future__ import annotations

import dataclasses

from lmtasks.families import llama
from lmtasks.hf import rope
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, mlp: int, heads: int) -> TransformerConfig:
    """Return Phi-3 at a size, with its window of 2047 positions."""
    attention = Attention(heads=heads, window=(2047,))
    return dataclasses.replace(
        llama.shape(layers, width, mlp, attention),
        vocab=32064,
        positions=Positions("rotary", 4096),
    )


PRESETS = {"tiny": shape(2, 128, 352, 4), "mini-4k": shape(32, 3072, 8192, 32)}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    layers, size = s.take("num_hidden_layers"), s.take("sliding_window", None)
    s.take("original_max_position_embeddings", 4096)
    usual = ["sliding" if size else "full"] * layers
    return llama.gated(
        s,
        activation=s.activation("hidden_act", "silu"),
        dropout=s.take("resid_pdrop", 0.0),
        **{"attention.bias": s.only("attention_bias", (False,), False)},
        **rope.positions(s),
        **rope.window(s, layers, size, usual),
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    found = llama.write(cfg, "mistral") | {"resid_pdrop": cfg.dropout}
    del kind, found["head_dim"]
    return found


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    layer, block = "decoder/layers_{l}", "model.layers.{l}."
    qkv = tuple(f"{layer}/attn/{name}" for name in ("query", "key", "value"))
    up = (f"{layer}/mlp/gate", f"{layer}/mlp/up")
    apart = {*qkv, *up, *(f"{path}_bias" for path in (*qkv, *up))}
    return [
        *[t for t in llama.tensors(cfg, kind, head) if t.ours[0] not in apart],
        *table.dense(qkv, f"{block}self_attn.qkv_proj", "((N+K+K) H) D"),
        *table.dense(up, f"{block}mlp.gate_up_proj", "(2 F) D"),
    ]


FAMILY = llama.family({"phi3": "Phi3"}, read, write, tensors)
