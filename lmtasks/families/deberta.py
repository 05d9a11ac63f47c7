"""DeBERTa v2 and v3: disentangled attention over content and distance (He et al., 2021,
arXiv:2006.03654, 2111.09543).
"""

from __future__ import annotations

from lmtasks.families import bert
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder"


def shape(layers: int, width: int, heads: int, vocab: int = 128100):
    """Return DeBERTa v3 at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=vocab,
        width=width,
        layers=layers,
        activation="gelu",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "post", 1e-7),
        positions=Positions("disentangled", 512, buckets=256, distance=512),
        embed_norm=True,
        head_bias=True,
        head_transform=True,
        pooler=True,
        pooler_activation="gelu",
        dropout=0.1,
        attention_dropout=0.1,
    )


PRESETS = {
    "tiny": shape(2, 128, 2),
    "v3-xsmall": shape(12, 384, 6),
    "v3-small": shape(6, 768, 12),
    "v3-base": shape(12, 768, 12),
    "v3-large": shape(24, 1024, 16),
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.only("relative_attention", (True,), False)
    s.only("position_biased_input", (False,), True)
    s.only("share_att_key", (True,), False)
    s.only("norm_rel_ebd", ("layer_norm",), "none")
    s.only("conv_kernel_size", (0,), 0)
    s.only("legacy", (True,), True)
    kinds = s.take("pos_att_type", [])
    terms = set(kinds.split("|") if isinstance(kinds, str) else kinds)
    if terms != {"c2p", "p2c"}:
        s.refuse("pos_att_type", kinds, (["p2c", "c2p"],))
    size = s.take("max_position_embeddings", 512)
    s.only("pooler_hidden_size", (s.take("hidden_size"),), s.take("hidden_size"))
    s.only("embedding_size", (s.take("hidden_size"),), s.take("hidden_size"))
    if s.take("position_buckets", -1) < 1:
        s.refuse("position_buckets", s.values.get("position_buckets"), ("above 0",))
    limit = s.take("max_relative_positions", -1)
    pooler = s.only("pooler_hidden_act", ("gelu", "tanh", "relu"), "gelu")
    return bert.encoder(
        s,
        token_types=s.take("type_vocab_size", 0),
        pooler_activation=pooler,
        **{
            "norm.eps": s.take("layer_norm_eps", 1e-7),
            "positions.kind": "disentangled",
            "positions.size": size,
            "positions.buckets": s.take("position_buckets"),
            "positions.distance": limit if limit > 0 else size,
        },
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    return bert.write(cfg, kind) | {
        "relative_attention": True,
        "position_biased_input": False,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": cfg.positions.buckets,
        "max_relative_positions": cfg.positions.distance,
        "pooler_hidden_act": cfg.pooler_activation,
        "pooler_hidden_size": cfg.width,
    }


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind
    layer = "encoder/layers_{l}/attn"
    attn = "deberta.encoder.layer.{l}.attention.self."
    own = {f"{layer}/{name}{end}" for name in ("query", "key", "value")
           for end in ("", "_bias")}  # fmt: skip
    names = {"query": "query_proj", "key": "key_proj", "value": "value_proj"}
    return [
        *[t for t in bert.body("deberta.") if t.ours[0] not in own],
        *[
            tensor
            for ours, theirs in names.items()
            for tensor in table.dense(
                f"{layer}/{ours}", attn + theirs, "(N H) D", "(N H)"
            )
        ],
        *table.dense("encoder/distances", "deberta.encoder.rel_embeddings", "R D"),
        *table.norm("encoder/distances_norm", "deberta.encoder.LayerNorm"),
        *bert.predictions("deberta.embeddings.word_embeddings"),
        *table.head(head, pooler="pooler.dense"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"deberta-v2": "DebertaV2"},
    read=read,
    write=write,
    table=tensors,
    prefix="deberta.",
    ignored=(r"position_ids$",),
    heads=(r"^cls\.", r"^lm_predictions\.", r"^mask_predictions\.", r"pooler\.",
           r"^classifier\.", r"^qa_outputs\."),
)  # fmt: skip
