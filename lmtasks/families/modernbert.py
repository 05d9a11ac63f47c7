"""ModernBERT: a pre-norm encoder with rotary positions, gated feed-forward and mostly
local attention (Warner et al., 2024, arXiv:2412.13663).
"""

from __future__ import annotations

from lmtasks.hf import rope
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int, mlp: int) -> TransformerConfig:
    """Return ModernBERT at a size; a window of 128 positions in two layers of three."""
    return TransformerConfig(
        vocab=50368,
        width=width,
        layers=layers,
        mlp=mlp,
        activation="gelu",
        gated=True,
        attention=Attention(heads=heads, window=(0, 65, 65)),
        norm=Norm("layer", "pre", 1e-5, bias=False, first=False),
        positions=Positions("rotary", 8192, base=(160000.0, 10000.0, 10000.0)),
        embed_norm=True,
        head_bias=True,
        pooling="mean",
        head_transform=True,
        head_dense_bias=False,
        pooler=True,
        pooler_activation="gelu",
        pooler_norm=True,
    )


PRESETS = {
    "tiny": shape(2, 128, 2, 192),
    "mini": shape(4, 256, 4, 512),
    "base": shape(22, 768, 12, 1152),
    "large": shape(28, 1024, 16, 2624),
}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "hidden_size"),
    ("layers", "num_hidden_layers"),
    ("attention.heads", "num_attention_heads"),
    ("mlp", "intermediate_size"),
    ("norm.eps", "norm_eps", 1e-5),
    ("norm.bias", "norm_bias", False),
    ("positions.size", "max_position_embeddings", 8192),
    ("attention.bias", "attention_bias", False),
    ("attention.out_bias", "attention_bias", False),
    ("mlp_bias", "mlp_bias", False),
    ("head_bias", "decoder_bias", True),
    ("pooling", "classifier_pooling", "cls"),
    ("head_dense_bias", "classifier_bias", False),
    ("dropout", "embedding_dropout", 0.0),
    ("attention_dropout", "attention_dropout", 0.0),
)
_LIKE = {
    "gated": True, "embed_norm": True, "head_transform": True, "pooler": True,
    "pooler_activation": "gelu", "pooler_norm": True, "norm.kind": "layer",
    "norm.first": False, "positions.kind": "rotary",
}  # fmt: skip


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    s.only("tie_word_embeddings", (True,), True)
    s.only("classifier_activation", ("gelu",), "gelu")
    s.take("mlp_dropout", 0.0)  # of training; ours is one rate
    s.only("classifier_pooling", ("cls", "mean"), "cls")
    values = _LIKE | settings.read(s, FIELDS)
    types = rope.layer_types(s, values["layers"], _usual(s, values["layers"]))
    near = s.take("local_attention", 128) // 2 + 1
    return settings.shape(
        values | rope.by_type(s, types, {"full": 160000.0, "sliding": 10000.0}),
        activation=s.activation("hidden_activation", "gelu"),
        attention__window=rope.cycle(near if t == "sliding" else 0 for t in types),
    )


def _usual(s: settings.Settings, layers: int) -> list[str]:
    every = s.take("global_attn_every_n_layers", 3)
    return ["sliding" if i % every else "full" for i in range(layers)]


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    windows = settings.spread(cfg.attention.window, cfg.layers)
    return settings.write(cfg, FIELDS) | {
        "hidden_activation": settings.their_activation(cfg.activation),
        "layer_types": rope.type_names(windows),
        "local_attention": 2 * (max(windows) - 1),
        "rope_parameters": rope.parameters_by_type(cfg, windows),
    }


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    layer, block = "encoder/layers_{l}", "model.layers.{l}."
    tokens = "model.embeddings.tok_embeddings.weight"
    qkv = tuple(f"{layer}/attn/{name}" for name in ("query", "key", "value"))
    up = (f"{layer}/mlp/gate", f"{layer}/mlp/up")
    top = "top/pooler" if head == "classify" else "top/transform"
    return [
        table.Tensor(("embed/tokens",), tokens, "V D", ("decoder.weight",)),
        *table.norm("encoder/inputs/norm", "model.embeddings.norm"),
        *table.dense(qkv, f"{block}attn.Wqkv", "(3 N H) D", "(3 N H)"),
        *table.dense(f"{layer}/attn/out", f"{block}attn.Wo", "D (N H)", "D"),
        *table.norm(f"{layer}/attn_norm", f"{block}attn_norm"),
        *table.dense(up, f"{block}mlp.Wi", "(2 F) D", "(2 F)"),
        *table.dense(f"{layer}/mlp/down", f"{block}mlp.Wo", "D F", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}mlp_norm"),
        *table.norm("encoder/norm", "model.final_norm"),
        *table.dense(top, "head.dense", "O D", "O"),
        *table.norm(
            "top/pooler_norm" if head == "classify" else "top/norm", "head.norm"
        ),
        table.Tensor(("top/bias",), "decoder.bias", "V"),
        *table.head(head, span="classifier"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"modernbert": "ModernBert"},
    read=read,
    write=write,
    table=tensors,
    prefix="model.",
    heads=(r"^head\.", r"^decoder\.", r"^classifier\."),
)
