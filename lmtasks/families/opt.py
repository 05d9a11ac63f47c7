"""OPT: a causal decoder with learned positions from row 2 (Zhang et al., 2022,
arXiv:2205.01068).
"""

from __future__ import annotations

from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, heads: int) -> TransformerConfig:
    """Return OPT at a size; dropout .1 as published."""
    return TransformerConfig(
        vocab=50272,
        width=width,
        layers=layers,
        activation="relu",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "pre", 1e-5),
        positions=Positions("learned", 2048, offset=2),
        dropout=0.1,
    )


PRESETS = {
    "tiny": shape(2, 128, 2),
    "125m": shape(12, 768, 12),
    "1.3b": shape(24, 2048, 32),
    "6.7b": shape(32, 4096, 32),
}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "hidden_size"),
    ("layers", "num_hidden_layers"),
    ("attention.heads", "num_attention_heads"),
    ("mlp", "ffn_dim"),
    ("positions.size", "max_position_embeddings", 2048),
    ("attention.bias", "enable_bias", True),
    ("attention.out_bias", "enable_bias", True),
    ("mlp_bias", "enable_bias", True),
    ("dropout", "dropout", 0.1),
    ("attention_dropout", "attention_dropout", 0.0),
    ("tied", "tie_word_embeddings", True),
)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.only("layer_norm_elementwise_affine", (True,), True)
    before = s.take("do_layer_norm_before", True)
    embed, width = s.take("word_embed_proj_dim", 0), s.take("hidden_size")
    return settings.shape(
        settings.read(s, FIELDS),
        activation=s.activation("activation_function", "relu"),
        embed_dim=embed if embed != width else 0,
        class_bias=False,
        norm__kind="layer",
        norm__at="pre" if before else "post",
        norm__eps=1e-5,
        norm__final=not s.take("_remove_final_layer_norm", False),
        positions__kind="learned",
        positions__offset=2,
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    return settings.write(cfg, FIELDS) | {
        "activation_function": settings.their_activation(cfg.activation),
        "word_embed_proj_dim": cfg.embed_dim or cfg.width,
        "do_layer_norm_before": cfg.norm.at == "pre",
        "_remove_final_layer_norm": not cfg.norm.final,
    }


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del kind
    layer, top = "decoder/layers_{l}", "model.decoder."
    block = f"{top}layers.{{l}}."
    copies = ("lm_head.weight",) if cfg.tied else ()
    attn = f"{block}self_attn."
    return [
        table.Tensor(("embed/tokens",), f"{top}embed_tokens.weight", "V D", copies),
        *table.dense("embed/up", f"{top}project_in", "D E"),
        *table.dense("top/down", f"{top}project_out", "E D"),
        *table.dense("decoder/inputs/positions", f"{top}embed_positions", "P D"),
        *table.dense(f"{layer}/attn/query", f"{attn}q_proj", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/key", f"{attn}k_proj", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/value", f"{attn}v_proj", "(N H) D", "(N H)"),
        *table.dense(f"{layer}/attn/out", f"{attn}out_proj", "D (N H)", "D"),
        *table.norm(f"{layer}/attn_norm", f"{block}self_attn_layer_norm"),
        *table.dense(f"{layer}/mlp/up", f"{block}fc1", "F D", "F"),
        *table.dense(f"{layer}/mlp/down", f"{block}fc2", "D F", "D"),
        *table.norm(f"{layer}/mlp_norm", f"{block}final_layer_norm"),
        *table.norm("decoder/norm", f"{top}final_layer_norm"),
        *table.dense("top/table", "lm_head", "V D"),
        *table.head(head, classify="score"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"opt": "OPT"},
    read=read,
    write=write,
    table=tensors,
    prefix="model.",
    lm="ForCausalLM",
    heads=(r"^lm_head\.", r"^score\.", r"^qa_outputs\.", r"project_out\."),
)
