"""Llama: a causal decoder with RMS norm, rotary positions and a gated feed-forward.

Touvron et al., 2023, arXiv:2302.13971; Grattafiori et al., 2024, arXiv:2407.21783.
SmolLM and TinyLlama are of this shape; Mistral (Jiang et al., 2023, arXiv:2310.06825)
adds a sliding window.
"""

from __future__ import annotations

import dataclasses

from lmtasks.hf import rope
from lmtasks.hf import settings
from lmtasks.hf import table
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


def small(layers: int, width: int, mlp: int, attention: Attention):
    """Return SmolLM: a shared token table and a vocabulary of 49152."""
    cfg = shape(layers, width, mlp, attention)
    return dataclasses.replace(
        cfg, vocab=49152, positions=Positions("rotary", 2048), tied=True
    )


_LONG = {"scaling": "llama3", "factor": 32.0, "low": 1.0, "high": 4.0}
PRESETS = {
    "tiny": dataclasses.replace(shape(2, 128, 352, Attention(heads=4)), tied=True),
    "mini": dataclasses.replace(shape(4, 256, 704, Attention(heads=4)), tied=True),
    "2-7b": shape(32, 4096, 11008, Attention(heads=32)),
    "3-8b": third(shape(32, 4096, 14336, Attention(heads=32, kv_heads=8)), tied=False),
    "3-70b": third(shape(80, 8192, 28672, Attention(heads=64, kv_heads=8)), tied=False),
    "3.1-8b": third(
        shape(32, 4096, 14336, Attention(heads=32, kv_heads=8)),
        tied=False, **(_LONG | {"factor": 8.0}),
    ),
    "3.2-1b": third(
        shape(16, 2048, 8192, Attention(heads=32, kv_heads=8)), tied=True, **_LONG
    ),
    "tinyllama-1.1b": shape(22, 2048, 5632, Attention(heads=32, kv_heads=4)),
    "smollm-135m": small(30, 576, 1536, Attention(heads=9, kv_heads=3)),
    "smollm-360m": small(32, 960, 2560, Attention(heads=15, kv_heads=5)),
    "smollm-1.7b": small(24, 2048, 8192, Attention(heads=32)),
    "mistral-7b": shape(
        32, 4096, 14336, Attention(heads=32, kv_heads=8, window=(4096,))
    ),
}  # fmt: skip
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "hidden_size"),
    ("layers", "num_hidden_layers"),
    ("mlp", "intermediate_size"),
    ("attention.heads", "num_attention_heads"),
    ("attention_dropout", "attention_dropout", 0.0),
    ("norm.eps", "rms_norm_eps", 1e-6),
    ("positions.size", "max_position_embeddings", 2048),
    ("tied", "tie_word_embeddings", False),
)


def gated(s: settings.Settings, fields=FIELDS, **changes) -> TransformerConfig:
    """Return the shape of a config.json of Llama's kind."""
    values = settings.read(s, fields)
    heads, width = values["attention.heads"], values["width"]
    own = {
        "gated": True, "class_bias": False, "norm.kind": "rms",
        "attention.kv_heads": s.take("num_key_value_heads", heads),
        "attention.head_dim": s.take("head_dim", width // heads),
    }  # fmt: skip
    return settings.shape(own | values | changes)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    layers = s.take("num_hidden_layers")
    size, bias = s.take("sliding_window", None), s.take("attention_bias", False)
    usual = ["sliding" if size else "full"] * layers
    return gated(
        s,
        activation=s.activation("hidden_act", "silu"),
        mlp_bias=s.take("mlp_bias", False),
        **{"attention.bias": bias, "attention.out_bias": bias},
        **rope.positions(s),
        **rope.window(s, layers, size, usual),
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    found = settings.write(cfg, FIELDS) | {
        "num_key_value_heads": cfg.kv_heads,
        "head_dim": cfg.head_dim,
        "hidden_act": settings.their_activation(cfg.activation),
        "rope_parameters": rope.parameters(cfg),
    }
    if kind == "mistral":
        return found | {"sliding_window": (cfg.attention.window or (None,))[0]}
    return found | {"attention_bias": cfg.attention.bias, "mlp_bias": cfg.mlp_bias}


ATTENTION = {
    "query": ("q_proj", "(N H) D", "(N H)"),
    "key": ("k_proj", "(K H) D", "(K H)"),
    "value": ("v_proj", "(K H) D", "(K H)"),
    "out": ("o_proj", "D (N H)", "D"),
}
MLP = {
    "gate": ("gate_proj", "F D", "F"),
    "up": ("up_proj", "F D", "F"),
    "down": ("down_proj", "D F", "D"),
}
NORMS = {"attn_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}


def tensors(
    cfg: TransformerConfig, kind: str, head: str, norms=None
) -> list[table.Tensor]:
    """Return the table; `norms` are {ours: theirs} of a layer, Llama's two if None."""
    del kind
    layer, block = "decoder/layers_{l}", "model.layers.{l}."
    tokens = "model.embed_tokens.weight"
    copies = ("lm_head.weight",) if cfg.tied else ()
    found = [
        table.Tensor(("embed/tokens",), tokens, "V D", copies),
        *table.norm("decoder/norm", "model.norm"),
        *table.dense("top/table", "lm_head", "V D"),
        *table.head(head, classify="score", tag="score"),
    ]
    parts = (("attn", "self_attn", ATTENTION), ("mlp", "mlp", MLP))
    for ours, theirs, names in parts:
        for name, (other, layout, bias) in names.items():
            paths = f"{layer}/{ours}/{name}", f"{block}{theirs}.{other}"
            found += table.dense(*paths, layout, bias)
    for name in ("query", "key"):  # OLMo-2, Qwen3, Gemma 3
        ours = f"{layer}/attn/{name}_norm"
        letter = "H"
        if cfg.attention.qk_norm == "width":
            letter = "N" if name == "query" else "K"
        found += table.norm(ours, f"{block}self_attn.{name[0]}_norm", letter)
    for ours, theirs in (NORMS if norms is None else norms).items():
        found += table.norm(f"{layer}/{ours}", f"{block}{theirs}")
    return found


def family(types, read, write, table_of=tensors) -> table.Family:
    """Return a family whose checkpoints are laid out like Llama's."""
    return table.Family(
        architecture=ARCHITECTURE,
        types=types,
        read=read,
        write=write,
        table=table_of,
        prefix="model.",
        lm="ForCausalLM",
        ignored=(r"rotary_emb\.inv_freq$",),
        heads=(r"^lm_head\.", r"^score\.", r"^qa_outputs\."),
    )


FAMILY = family({"llama": "Llama", "mistral": "Mistral"}, read, write)
