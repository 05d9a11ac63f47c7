"""BLOOM: ALiBi instead of positions, a norm on the embeddings (Le Scao et al., 2022,
arXiv:2211.05100).
"""

from __future__ import annotations

from lmtasks.families import neox
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, heads: int) -> TransformerConfig:
    """Return BLOOM at a size; without dropout, as published."""
    return TransformerConfig(
        vocab=250880,
        width=width,
        layers=layers,
        activation="gelu_tanh",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "pre", 1e-5),
        positions=Positions("alibi", 2048),
        embed_norm=True,
    )


PRESETS = {
    "tiny": shape(2, 128, 2),
    "560m": shape(24, 1024, 16),
    "1b7": shape(24, 2048, 16),
    "7b1": shape(30, 4096, 32),
}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "hidden_size"),
    ("layers", "n_layer"),
    ("attention.heads", "n_head"),
    ("norm.eps", "layer_norm_epsilon", 1e-5),
    ("dropout", "hidden_dropout", 0.0),
    ("attention_dropout", "attention_dropout", 0.0),
    ("tied", "tie_word_embeddings", True),
)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.only("apply_residual_connection_post_layernorm", (False,), False)
    old = {"hidden_size": "n_embed", "n_layer": "num_hidden_layers",
           "n_head": "num_attention_heads"}  # fmt: skip
    for key, older in old.items():  # published files say n_embed, others the rest
        if not s.has(key) and s.has(older):
            s.values = dict(s.values) | {key: s.values[older]}
        s.has(older)
    return settings.shape(
        settings.read(s, FIELDS),
        activation="gelu_tanh",
        mlp_bias=True,
        embed_norm=True,
        class_bias=False,
        norm__kind="layer",
        attention__bias=True,
        attention__out_bias=True,
        positions__kind="alibi",
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    return settings.write(cfg, FIELDS)


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del kind
    tokens = "transformer.word_embeddings.weight"
    copies = ("lm_head.weight",) if cfg.tied else ()
    return [
        table.Tensor(("embed/tokens",), tokens, "V D", copies),
        *table.norm("decoder/inputs/norm", "transformer.word_embeddings_layernorm"),
        *neox.layer("transformer.h.{l}.", "self_attention."),
        *table.norm("decoder/norm", "transformer.ln_f"),
        *table.dense("top/table", "lm_head", "V D"),
        *table.head(head, classify="score"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"bloom": "Bloom"},
    read=read,
    write=write,
    table=tensors,
    prefix="transformer.",
    lm="ForCausalLM",
    heads=(r"^lm_head\.", r"^score\.", r"^classifier\.", r"^qa_outputs\."),
)
