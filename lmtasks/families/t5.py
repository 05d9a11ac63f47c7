"""T5: an encoder-decoder with relative position bias (Raffel et al., 2020,
arXiv:1910.10683); v1.1 and FLAN-T5 with a gated feed-forward (Shazeer, 2020,
arXiv:2002.05202); mT5 (Xue et al., 2021, arXiv:2010.11934).
"""

from __future__ import annotations

import dataclasses

from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "encoder_decoder"


def shape(layers: int, width: int, mlp: int, heads: int, head_dim: int = 64):
    """Return T5 v1.0 at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=32128,
        width=width,
        layers=layers,
        mlp=mlp,
        activation="relu",
        attention=Attention(heads=heads, head_dim=head_dim, scale=1.0),
        norm=Norm("rms", "pre", 1e-6),
        positions=Positions("t5", 512),
        head_scale=width**-0.5,
        init="fan_in",
        dropout=0.1,
        attention_dropout=0.1,
    )


def gated(cfg: TransformerConfig) -> TransformerConfig:
    """Return the v1.1 form: gated GELU, and a head of its own without scale."""
    return dataclasses.replace(
        cfg, activation="gelu_tanh", gated=True, tied=False, head_scale=1.0
    )


def multilingual(cfg: TransformerConfig) -> TransformerConfig:
    """Return mT5's form: v1.1 over a vocabulary of 250112."""
    return dataclasses.replace(gated(cfg), vocab=250112)


PRESETS = {
    "tiny": shape(2, 128, 512, 2),
    "mini": shape(4, 256, 1024, 4),
    "small": shape(6, 512, 2048, 8),
    "base": shape(12, 768, 3072, 12),
    "large": shape(24, 1024, 4096, 16),
    "3b": shape(24, 1024, 16384, 32, 128),
    "11b": shape(24, 1024, 65536, 128, 128),
    "v1.1-small": gated(shape(8, 512, 1024, 6)),
    "v1.1-base": gated(shape(12, 768, 2048, 12)),
    "v1.1-large": gated(shape(24, 1024, 2816, 16)),
    "v1.1-xl": gated(shape(24, 2048, 5120, 32)),
    "v1.1-xxl": gated(shape(24, 4096, 10240, 64)),
    "mt5-small": multilingual(shape(8, 512, 1024, 6)),
    "mt5-base": multilingual(shape(12, 768, 2048, 12)),
}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "d_model"),
    ("layers", "num_layers"),
    ("mlp", "d_ff"),
    ("attention.heads", "num_heads"),
    ("attention.head_dim", "d_kv"),
    ("positions.buckets", "relative_attention_num_buckets", 32),
    ("positions.distance", "relative_attention_max_distance", 128),
    ("norm.eps", "layer_norm_epsilon", 1e-6),
    ("dropout", "dropout_rate", 0.1),
    ("attention_dropout", "dropout_rate", 0.1),
)
_ACTIVATIONS = {
    "relu": ("relu", False), "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True), "gated-relu": ("relu", True),
    "gelu": ("gelu", False), "silu": ("silu", False),
}  # fmt: skip


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json.

    v1.0 shares the token table with the head and scales what the head reads. A file
    that says it does not share does neither; newer ones say scale_decoder_outputs, and
    whether the head is shared shows in the tensors.
    """
    s.take("n_positions", 512)
    s.take("dense_act_fn", None), s.take("is_gated_act", None)
    s.only("is_decoder", (False,), False)
    kind = s.take("feed_forward_proj", "relu")
    if kind not in _ACTIVATIONS:
        s.refuse("feed_forward_proj", kind, _ACTIVATIONS)
    activation, is_gated = _ACTIVATIONS[kind]
    shares = s.take("tie_word_embeddings", True)
    multilingual = s.values["model_type"] == "mt5"
    scaled = shares and s.take("scale_decoder_outputs", True) and not multilingual
    tied = scaled or (shares and "lm_head.weight" not in names)
    values = settings.read(s, FIELDS)
    return settings.shape(
        values,
        decoder_layers=s.take("num_decoder_layers", values["layers"]),
        activation=activation,
        gated=is_gated,
        tied=tied,
        head_scale=values["width"] ** -0.5 if scaled else 1.0,
        init="fan_in",
        attention__scale=1.0,
        positions__kind="t5",
        positions__size=512,
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    names = {pair: name for name, pair in _ACTIVATIONS.items()}
    return settings.write(cfg, FIELDS) | {
        "num_decoder_layers": cfg.decoder_layers or cfg.layers,
        "feed_forward_proj": names[cfg.activation, cfg.gated],
        "tie_word_embeddings": cfg.tied,
        "scale_decoder_outputs": cfg.head_scale != 1,
        "decoder_start_token_id": 0,
        "is_encoder_decoder": True,
    }


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del kind, head
    shared = [f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
    copies = (*shared, "lm_head.weight") if cfg.tied else tuple(shared)
    return [
        table.Tensor(("embed/tokens",), "shared.weight", "V D", copies),
        *table.dense("top/table", "lm_head", "V D"),
        *_side("encoder", {"attn": "SelfAttention"}, cfg.gated),
        *_side("decoder", _BOTH, cfg.gated),
    ]


_BOTH = {"attn": "SelfAttention", "cross": "EncDecAttention"}


def _side(side: str, attentions: dict[str, str], is_gated: bool) -> list[table.Tensor]:
    layer, block = f"{side}/layers_{{l}}", f"{side}.block.{{l}}.layer."
    first = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
    found = [
        *table.dense(f"{side}/relative_bias", first, "R N"),
        *table.norm(f"{side}/norm", f"{side}.final_layer_norm"),
    ]
    for i, (ours, theirs) in enumerate(attentions.items()):
        for name in ("query", "key", "value"):
            path = f"{block}{i}.{theirs}.{name[0]}"
            found += table.dense(f"{layer}/{ours}/{name}", path, "(N H) D")
        found += table.dense(f"{layer}/{ours}/out", f"{block}{i}.{theirs}.o", "D (N H)")
        found += table.norm(f"{layer}/{ours}_norm", f"{block}{i}.layer_norm")
    last = len(attentions)
    dense = f"{block}{last}.DenseReluDense."
    up = "wi_1" if is_gated else "wi"
    return [
        *found,
        *table.dense(f"{layer}/mlp/gate", f"{dense}wi_0", "F D"),
        *table.dense(f"{layer}/mlp/up", f"{dense}{up}", "F D"),
        *table.dense(f"{layer}/mlp/down", f"{dense}wo", "D F"),
        *table.norm(f"{layer}/mlp_norm", f"{block}{last}.layer_norm"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"t5": "T5", "mt5": "MT5"},
    read=read,
    write=write,
    table=tensors,
    lm="ForConditionalGeneration",
    ignored=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias",),
    heads=(r"^lm_head\.",),
)
