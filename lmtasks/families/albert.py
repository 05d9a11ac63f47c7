"""ALBERT: one layer applied L times, narrow embeddings (Lan et al., 2020,
arXiv:1909.11942).
"""

from __future__ import annotations

import dataclasses

from lmtasks.families import bert
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int) -> TransformerConfig:
    """Return ALBERT v2 at a size; without dropout, as published."""
    return dataclasses.replace(
        bert.shape(layers, width, heads),
        vocab=30000,
        activation="gelu_tanh",
        embed_dim=128,
        embed_inputs=True,
        shared_layers=True,
        dropout=0.0,
        attention_dropout=0.0,
    )


PRESETS = {
    "tiny": dataclasses.replace(shape(2, 128, 2), embed_dim=64),
    "base": shape(12, 768, 12),
    "large": shape(24, 1024, 16),
    "xlarge": shape(24, 2048, 16),
    "xxlarge": shape(12, 4096, 64),
}
FIELDS = (
    *bert.FIELDS[:-2],
    ("embed_dim", "embedding_size", 128),
    ("dropout", "hidden_dropout_prob", 0.0),
    ("attention_dropout", "attention_probs_dropout_prob", 0.0),
    ("positions.size", "max_position_embeddings", 512),
)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.only("num_hidden_groups", (1,), 1)
    s.only("inner_group_num", (1,), 1)
    return bert.encoder(
        s,
        FIELDS,
        activation=s.activation("hidden_act", "gelu_new"),
        embed_inputs=True,
        shared_layers=True,
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    return bert.write(cfg, kind) | settings.write(cfg, FIELDS)


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    inputs, layer = "albert.embeddings.", "encoder/layers_{l}"
    block = "albert.encoder.albert_layer_groups.0.albert_layers.{l}."
    attn = f"{block}attention."
    up = "albert.encoder.embedding_hidden_mapping_in"
    tokens = f"{inputs}word_embeddings.weight"
    top = "predictions."
    return [
        table.Tensor(("embed/tokens",), tokens, "V D", (f"{top}decoder.weight",)),
        *table.dense("encoder/inputs/positions", f"{inputs}position_embeddings", "P D"),
        *table.dense("encoder/inputs/types", f"{inputs}token_type_embeddings", "Y D"),
        *table.norm("encoder/inputs/norm", f"{inputs}LayerNorm"),
        *table.dense("encoder/inputs/up", up, "D E", "D"),
        *table.dense(f"{layer}/attn/query", f"{attn}query", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/key", f"{attn}key", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/value", f"{attn}value", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/out", f"{attn}dense", "D (N H)", "D"),
        *table.norm(f"{layer}/attn_norm", f"{attn}LayerNorm"),
        *table.dense(f"{layer}/mlp/up", f"{block}ffn", "F D", "F"),
        *table.dense(f"{layer}/mlp/down", f"{block}ffn_output", "D F", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}full_layer_layer_norm"),
        *table.dense("top/transform", f"{top}dense", "O D", "O"),
        *table.norm("top/norm", f"{top}LayerNorm"),
        table.Tensor(("top/bias",), f"{top}bias", "V", (f"{top}decoder.bias",)),
        *table.head(head, pooler="albert.pooler"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"albert": "Albert"},
    read=read,
    write=write,
    table=tensors,
    prefix="albert.",
    ignored=(r"position_ids$",),
    heads=(r"^predictions\.", r"^sop_classifier\.", r"pooler\.", r"^classifier\.",
           r"^qa_outputs\."),
)  # fmt: skip
