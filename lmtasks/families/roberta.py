"""RoBERTa: BERT trained longer, without sentence pairs (Liu et al., 2019,
arXiv:1907.11692); XLM-RoBERTa (Conneau et al., 2020, arXiv:1911.02116).
"""

from __future__ import annotations

import dataclasses

from lmtasks.families import bert
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int, vocab: int = 50265) -> TransformerConfig:
    """Return RoBERTa at a size; positions count from 2, after the padding's row."""
    return dataclasses.replace(
        bert.shape(layers, width, heads),
        vocab=vocab,
        positions=Positions("learned", 512, offset=2),
        norm=Norm("layer", "post", 1e-5),
        token_types=1,
    )


PRESETS = {
    "tiny": shape(2, 128, 2),
    "base": shape(12, 768, 12),
    "large": shape(24, 1024, 16),
    "xlm-base": shape(12, 768, 12, 250002),
    "xlm-large": shape(24, 1024, 16, 250002),
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    offset = s.take("pad_token_id", 1) + 1
    size = s.take("max_position_embeddings") - offset
    if s.values.get("hidden_act", "gelu") != "gelu":  # the head's is always this
        s.refuse("hidden_act", s.values["hidden_act"], ("gelu",))
    return bert.encoder(s, **{"positions.size": size, "positions.offset": offset})


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    p = cfg.positions
    rows = {
        "max_position_embeddings": p.size + p.offset,
        "pad_token_id": p.offset - 1,
    }
    return bert.write(cfg, kind) | rows


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    tokens = "roberta.embeddings.word_embeddings.weight"
    copies = ("lm_head.decoder.bias",)
    classify = head == "classify"
    return [
        *bert.body("roberta."),
        table.Tensor(("embed/tokens",), tokens, "V D", ("lm_head.decoder.weight",)),
        *table.dense("top/transform", "lm_head.dense", "O D", "O"),
        *table.norm("top/norm", "lm_head.layer_norm"),
        table.Tensor(("top/bias",), "lm_head.bias", "V", copies),
        *table.head(
            head,
            pooler="classifier.dense" if classify else "roberta.pooler.dense",
            classify="classifier.out_proj",
        ),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"},
    read=read,
    write=write,
    table=tensors,
    prefix="roberta.",
    ignored=(r"position_ids$",),
    heads=(r"^lm_head\.", r"pooler\.", r"^classifier\.", r"^qa_outputs\."),
)
