"""ELECTRA: an encoder trained to find replaced tokens (Clark et al., 2020,
arXiv:2003.10555); the generator is a small one with a vocabulary head.
"""

from __future__ import annotations

import dataclasses

from lmtasks.families import bert
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int, mlp: int, embed: int):
    """Return ELECTRA at a size; embed = 0 where the table is as wide as the model."""
    return dataclasses.replace(
        bert.shape(layers, width, heads),
        mlp=mlp,
        embed_dim=embed,
        embed_inputs=bool(embed),
        pooler_activation="gelu",
    )


PRESETS = {
    "tiny": shape(2, 128, 2, 512, 64),
    "small": shape(12, 256, 4, 1024, 128),
    "base": shape(12, 768, 12, 3072, 0),
    "large": shape(24, 1024, 16, 4096, 0),
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    width, embed = s.take("hidden_size"), s.take("embedding_size", 128)
    if s.values.get("hidden_act", "gelu") != "gelu":  # the heads' is always this
        s.refuse("hidden_act", s.values["hidden_act"], ("gelu",))
    narrow = embed != width
    return bert.encoder(
        s,
        embed_dim=embed if narrow else 0,
        embed_inputs=narrow,
        pooler_activation="gelu",
        **{"positions.size": s.take("max_position_embeddings", 512)},
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    return bert.write(cfg, kind) | {"embedding_size": cfg.embed_dim or cfg.width}


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    tokens = "electra.embeddings.word_embeddings.weight"
    top = "generator_predictions"
    return [
        *bert.body("electra."),
        table.Tensor(("embed/tokens",), tokens, "V D", ("generator_lm_head.weight",)),
        *table.dense("encoder/inputs/up", "electra.embeddings_project", "D E", "D"),
        *table.dense("top/transform", f"{top}.dense", "O D", "O"),
        *table.norm("top/norm", f"{top}.LayerNorm"),
        table.Tensor(("top/bias",), "generator_lm_head.bias", "V"),
        *table.head(
            head,
            pooler="classifier.dense" if head == "classify" else "",
            classify="classifier.out_proj",
        ),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"electra": "Electra"},
    read=read,
    write=write,
    table=tensors,
    prefix="electra.",
    ignored=(r"position_ids$",),
    heads=(r"^generator_", r"^discriminator_predictions\.", r"^classifier\.",
           r"^qa_outputs\."),
)  # fmt: skip
