"""BERT: a bidirectional encoder (Devlin et al., 2019, arXiv:1810.04805)."""

from __future__ import annotations

from lmtasks.hf import settings
from lmtasks.hf import table
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

FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "hidden_size"),
    ("layers", "num_hidden_layers"),
    ("attention.heads", "num_attention_heads"),
    ("mlp", "intermediate_size"),
    ("norm.eps", "layer_norm_eps", 1e-12),
    ("token_types", "type_vocab_size", 2),
    ("dropout", "hidden_dropout_prob", 0.1),
    ("attention_dropout", "attention_probs_dropout_prob", 0.1),
)


# What all encoders of its kind have.
LIKE = {
    "mlp_bias": True, "embed_norm": True, "head_bias": True, "head_transform": True,
    "pooler": True, "norm.kind": "layer", "norm.at": "post", "norm.eps": 1e-12,
    "attention.bias": True, "attention.out_bias": True, "positions.kind": "learned",
}  # fmt: skip


def encoder(s: settings.Settings, fields=FIELDS, **changes) -> TransformerConfig:
    """Return the shape of a BERT-like config.json."""
    s.only("is_decoder", (False,), False)
    s.only("add_cross_attention", (False,), False)
    s.only("position_embedding_type", ("absolute",), "absolute")
    s.only("tie_word_embeddings", (True,), True)
    activation = {"activation": s.activation("hidden_act", "gelu")}
    return settings.shape(LIKE | settings.read(s, fields) | activation | changes)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    return encoder(s, FIELDS, **{"positions.size": s.take("max_position_embeddings")})


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    return settings.write(cfg, FIELDS) | {
        "hidden_act": settings.their_activation(cfg.activation),
        "max_position_embeddings": cfg.positions.size,
    }


def body(prefix: str, layer: str = "encoder/layers_{l}") -> list[table.Tensor]:
    """Return the tensors of BERT's inputs, but the tokens, and of its layers."""
    inputs, block = f"{prefix}embeddings.", f"{prefix}encoder.layer.{{l}}."
    attn = f"{block}attention."
    return [
        *table.dense("encoder/inputs/positions", f"{inputs}position_embeddings", "P D"),
        *table.dense("encoder/inputs/types", f"{inputs}token_type_embeddings", "Y D"),
        *table.norm("encoder/inputs/norm", f"{inputs}LayerNorm"),
        *table.dense(f"{layer}/attn/query", f"{attn}self.query", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/key", f"{attn}self.key", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/value", f"{attn}self.value", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/out", f"{attn}output.dense", "D (N H)", "D"),
        *table.norm(f"{layer}/attn_norm", f"{attn}output.LayerNorm"),
        *table.dense(f"{layer}/mlp/up", f"{block}intermediate.dense", "F D", "F"),
        *table.dense(f"{layer}/mlp/down", f"{block}output.dense", "D F", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}output.LayerNorm"),
    ]


def predictions(tokens: str) -> list[table.Tensor]:
    """Return BERT's head over the vocabulary, tied to the named table."""
    top = "cls.predictions"
    return [
        *table.dense("top/transform", f"{top}.transform.dense", "O D", "O"),
        *table.norm("top/norm", f"{top}.transform.LayerNorm"),
        table.Tensor(("top/bias",), f"{top}.bias", "V", (f"{top}.decoder.bias",)),
        table.Tensor(
            ("embed/tokens",), f"{tokens}.weight", "V D", (f"{top}.decoder.weight",)
        ),
    ]


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    tokens = "bert.embeddings.word_embeddings"
    return [
        *body("bert."),
        *predictions(tokens),
        *table.head(head, pooler="bert.pooler.dense"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"bert": "Bert"},
    read=read,
    write=write,
    table=tensors,
    prefix="bert.",
    ignored=(r"position_ids$",),
    heads=(r"^cls\.", r"pooler\.", r"^classifier\.", r"^qa_outputs\."),
)
