"""GPT-2: a causal decoder with learned positions (Radford et al., 2019)."""

from __future__ import annotations

import dataclasses

from lmtasks.hf import settings
from lmtasks.hf import table
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

FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "n_embd"),
    ("layers", "n_layer"),
    ("attention.heads", "n_head"),
    ("positions.size", "n_positions", 1024),
    ("norm.eps", "layer_norm_epsilon", 1e-5),
    ("dropout", "resid_pdrop", 0.1),
    ("attention_dropout", "attn_pdrop", 0.1),
    ("tied", "tie_word_embeddings", True),
)
_LIKE = {
    "mlp_bias": True, "norm.kind": "layer", "attention.bias": True,
    "attention.out_bias": True, "positions.kind": "learned", "class_bias": False,
}  # fmt: skip


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.only("scale_attn_weights", (True,), True)
    s.only("scale_attn_by_inverse_layer_idx", (False,), False)
    s.only("reorder_and_upcast_attn", (False,), False)
    s.only("add_cross_attention", (False,), False)
    values = _LIKE | settings.read(s, FIELDS)
    activation = s.activation("activation_function", "gelu_new")
    mlp = s.take("n_inner", 4 * values["width"])
    return settings.shape(values, mlp=mlp, activation=activation)


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    return settings.write(cfg, FIELDS) | {
        "n_inner": cfg.hidden,
        "activation_function": settings.their_activation(cfg.activation),
    }


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table; its matrices are stored [in, out]."""
    del kind
    layer, block = "decoder/layers_{l}", "transformer.h.{l}."
    qkv = tuple(f"{layer}/attn/{name}" for name in ("query", "key", "value"))
    copies = ("lm_head.weight",) if cfg.tied else ()
    tokens = "transformer.wte.weight"
    return [
        table.Tensor(("embed/tokens",), tokens, "V D", copies),
        *table.dense("decoder/inputs/positions", "transformer.wpe", "P D"),
        *table.norm(f"{layer}/attn_norm", f"{block}ln_1"),
        *table.dense(qkv, f"{block}attn.c_attn", "D (3 N H)", "(3 N H)"),
        *table.dense(f"{layer}/attn/out", f"{block}attn.c_proj", "(N H) D", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}ln_2"),
        *table.dense(f"{layer}/mlp/up", f"{block}mlp.c_fc", "D F", "F"),
        *table.dense(f"{layer}/mlp/down", f"{block}mlp.c_proj", "F D", "D"),
        *table.norm("decoder/norm", "transformer.ln_f"),
        *table.dense("top/table", "lm_head", "V D"),
        *table.head(head, classify="score"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"gpt2": "GPT2"},
    read=read,
    write=write,
    table=tensors,
    prefix="transformer.",
    lm="LMHeadModel",
    ignored=(r"\.attn\.bias$", r"\.attn\.masked_bias$"),
    heads=(r"^lm_head\.", r"^score\.", r"^classifier\.", r"^qa_outputs\."),
)
