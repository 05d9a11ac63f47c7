"""BART and its kin: mBART, Pegasus and Marian differ by a few switches.

Lewis et al., 2020, arXiv:1910.13461; Liu et al., 2020, arXiv:2001.08210; Zhang et al.,
2020, arXiv:1912.08777; Junczys-Dowmunt et al., 2018, arXiv:1804.00344.
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


def shape(layers: int, width: int, heads: int, mlp: int) -> TransformerConfig:
    """Return BART at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=50265,
        width=width,
        layers=layers,
        mlp=mlp,
        activation="gelu",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "post", 1e-5),
        positions=Positions("learned", 1024, offset=2),
        embed_norm=True,
        head_bias=True,
        dropout=0.1,
    )


def _mbart() -> TransformerConfig:
    return dataclasses.replace(
        shape(12, 1024, 16, 4096),
        vocab=250027,
        norm=Norm("layer", "pre", 1e-5),
        embed_scale=32.0,
    )


def _pegasus() -> TransformerConfig:
    return dataclasses.replace(
        shape(16, 1024, 16, 4096),
        vocab=96103,
        activation="relu",
        norm=Norm("layer", "pre", 1e-5),
        positions=Positions("sinusoidal", 1024),
        embed_norm=False,
        embed_scale=32.0,
    )


def _marian() -> TransformerConfig:
    return dataclasses.replace(
        shape(6, 512, 8, 2048),
        vocab=58101,
        activation="silu",
        positions=Positions("sinusoidal", 512),
        embed_norm=False,
        embed_scale=512**0.5,
    )


PRESETS = {
    "tiny": shape(2, 128, 2, 512),
    "base": shape(6, 768, 12, 3072),
    "large": shape(12, 1024, 16, 4096),
    "mbart-large": _mbart(),
    "pegasus-large": _pegasus(),
    "marian": _marian(),
}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "d_model"),
    ("layers", "encoder_layers"),
    ("decoder_layers", "decoder_layers"),
    ("attention.heads", "encoder_attention_heads"),
    ("mlp", "encoder_ffn_dim"),
    ("positions.size", "max_position_embeddings", 1024),
    ("dropout", "dropout", 0.1),
    ("attention_dropout", "attention_dropout", 0.0),
)
# model_type -> norm.at, positions.kind, positions.offset, embed_norm.
_KINDS = {
    "bart": ("post", "learned", 2, True),
    "mbart": ("pre", "learned", 2, True),
    "pegasus": ("pre", "sinusoidal", 0, False),
    "marian": ("post", "sinusoidal", 0, False),
}


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    at, positions, offset, normed = _KINDS[s.values["model_type"]]
    for field in ("attention_heads", "ffn_dim"):
        same = s.take(f"encoder_{field}")
        s.only(f"decoder_{field}", (same,), same)
    s.only("tie_word_embeddings", (True,), True)
    s.only("is_decoder", (False,), False)
    s.only("share_encoder_decoder_embeddings", (True,), True)
    s.take("num_hidden_layers", None)  # the encoder's once more
    for key, usual in _OLD.items():
        s.only(key, (usual[s.values["model_type"]],), usual[s.values["model_type"]])
    scaled = s.take("scale_embedding", False)
    values = settings.read(s, FIELDS)
    return settings.shape(
        values,
        activation=s.activation("activation_function", "gelu"),
        mlp_bias=True,
        embed_norm=normed,
        embed_scale=values["width"] ** 0.5 if scaled else 1.0,
        head_bias=True,
        norm__kind="layer",
        norm__at=at,
        norm__eps=1e-5,
        attention__bias=True,
        attention__out_bias=True,
        positions__kind=positions,
        positions__offset=offset,
    )


# Switches of old files, which the model type now stands for.
_OLD = {
    "normalize_before": {"bart": False, "mbart": True, "pegasus": True, "marian": False},
    "add_final_layer_norm": {
        "bart": False, "mbart": True, "pegasus": True, "marian": False,
    },
    "normalize_embedding": {
        "bart": True, "mbart": True, "pegasus": False, "marian": False,
    },
    "static_position_embeddings": {
        "bart": False, "mbart": False, "pegasus": True, "marian": True,
    },
}  # fmt: skip


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    return settings.write(cfg, FIELDS) | {
        "decoder_attention_heads": cfg.attention.heads,
        "decoder_ffn_dim": cfg.hidden,
        "activation_function": settings.their_activation(cfg.activation),
        "scale_embedding": cfg.embed_scale != 1,
        "is_encoder_decoder": True,
    }


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del cfg, kind, head
    shared = [f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
    copies = (*shared, "lm_head.weight")
    return [
        table.Tensor(("embed/tokens",), "model.shared.weight", "V D", copies),
        table.Tensor(("top/bias",), "final_logits_bias", "1 V"),
        *_side("encoder", {"attn": "self_attn"}),
        *_side("decoder", {"attn": "self_attn", "cross": "encoder_attn"}),
    ]


def _side(side: str, attentions: dict[str, str]) -> list[table.Tensor]:
    layer, block = f"{side}/layers_{{l}}", f"model.{side}.layers.{{l}}."
    found = [
        *table.dense(
            f"{side}/inputs/positions", f"model.{side}.embed_positions", "P D"
        ),
        *table.norm(f"{side}/inputs/norm", f"model.{side}.layernorm_embedding"),
        *table.norm(f"{side}/norm", f"model.{side}.layer_norm"),
    ]
    for ours, theirs in attentions.items():
        for name in ("query", "key", "value"):
            path = f"{block}{theirs}.{name[0]}_proj"
            found += table.dense(f"{layer}/{ours}/{name}", path, "(N H) D", "(N H)")
        out = f"{block}{theirs}.out_proj"
        found += table.dense(f"{layer}/{ours}/out", out, "D (N H)", "D")
        found += table.norm(f"{layer}/{ours}_norm", f"{block}{theirs}_layer_norm")
    return [
        *found,
        *table.dense(f"{layer}/mlp/up", f"{block}fc1", "F D", "F"),
        *table.dense(f"{layer}/mlp/down", f"{block}fc2", "D F", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}final_layer_norm"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"bart": "Bart", "mbart": "MBart", "pegasus": "Pegasus", "marian": "Marian"},
    read=read,
    write=write,
    table=tensors,
    prefix="model.",
    lm="ForConditionalGeneration",
    # Of sinusoids, which are computed; ours has no parameter for them.
    ignored=(r"embed_positions\.weights?$",),
    heads=(r"^lm_head\.", r"^final_logits_bias$", r"^classification_head\."),
)
