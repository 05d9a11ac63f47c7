"""DistilBERT: BERT of half the depth, without token types (Sanh et al., 2019,
arXiv:1910.01108).
"""

from __future__ import annotations

import dataclasses

from lmtasks.families import bert
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int) -> TransformerConfig:
    """Return DistilBERT at a size."""
    cfg = bert.shape(layers, width, heads)
    return dataclasses.replace(cfg, token_types=0, pooler_activation="relu")


PRESETS = {"tiny": shape(2, 128, 2), "base": shape(6, 768, 12)}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "dim"),
    ("layers", "n_layers"),
    ("attention.heads", "n_heads"),
    ("mlp", "hidden_dim"),
    ("positions.size", "max_position_embeddings", 512),
    ("dropout", "dropout", 0.1),
    ("attention_dropout", "attention_dropout", 0.1),
)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.take("sinusoidal_pos_embds", False)  # the table is stored either way
    s.only("tie_weights_", (True,), True)
    s.only("tie_word_embeddings", (True,), True)
    values = bert.LIKE | settings.read(s, FIELDS)
    activation = s.activation("activation", "gelu")
    return settings.shape(values, activation=activation, pooler_activation="relu")


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    activation = settings.their_activation(cfg.activation)
    return settings.write(cfg, FIELDS) | {"activation": activation}


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    inputs, layer = "distilbert.embeddings.", "encoder/layers_{l}"
    block = "distilbert.transformer.layer.{l}."
    attn = f"{block}attention."
    tokens = f"{inputs}word_embeddings.weight"
    return [
        table.Tensor(("embed/tokens",), tokens, "V D", ("vocab_projector.weight",)),
        *table.dense("encoder/inputs/positions", f"{inputs}position_embeddings", "P D"),
        *table.norm("encoder/inputs/norm", f"{inputs}LayerNorm"),
        *table.dense(f"{layer}/attn/query", f"{attn}q_lin", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/key", f"{attn}k_lin", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/value", f"{attn}v_lin", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/out", f"{attn}out_lin", "D (N H)", "D"),
        *table.norm(f"{layer}/attn_norm", f"{block}sa_layer_norm"),
        *table.dense(f"{layer}/mlp/up", f"{block}ffn.lin1", "F D", "F"),
        *table.dense(f"{layer}/mlp/down", f"{block}ffn.lin2", "D F", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}output_layer_norm"),
        *table.dense("top/transform", "vocab_transform", "O D", "O"),
        *table.norm("top/norm", "vocab_layer_norm"),
        table.Tensor(("top/bias",), "vocab_projector.bias", "V"),
        *table.head(head, pooler="pre_classifier"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"distilbert": "DistilBert"},
    read=read,
    write=write,
    table=tensors,
    prefix="distilbert.",
    ignored=(r"position_ids$",),
    heads=(r"^vocab_", r"^pre_classifier\.", r"^classifier\.", r"^qa_outputs\."),
)
