"""GPT-NeoX and Pythia: attention and feed-forward side by side, a quarter of each head
rotated (Black et al., 2022, arXiv:2204.06745; Biderman et al., 2023, arXiv:2304.01373).
"""

from __future__ import annotations

from lmtasks.hf import rope
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models.config import Attention
from lmtasks.models.config import Norm
from lmtasks.models.config import Positions
from lmtasks.models.config import TransformerConfig

ARCHITECTURE = "decoder"


def shape(layers: int, width: int, heads: int, vocab: int = 50304):
    """Return Pythia at a size; without dropout, as published."""
    return TransformerConfig(
        vocab=vocab,
        width=width,
        layers=layers,
        activation="gelu",
        mlp_bias=True,
        attention=Attention(heads=heads, bias=True, out_bias=True),
        norm=Norm("layer", "pre", 1e-5),
        positions=Positions("rotary", 2048, fraction=0.25),
        tied=False,
        parallel=True,
    )


PRESETS = {
    "tiny": shape(2, 128, 2),
    "pythia-70m": shape(6, 512, 8),
    "pythia-160m": shape(12, 768, 12),
    "pythia-410m": shape(24, 1024, 16),
    "pythia-1b": shape(16, 2048, 8),
    "20b": shape(44, 6144, 64, 50432),
}
FIELDS = (
    ("vocab", "vocab_size"),
    ("width", "hidden_size"),
    ("layers", "num_hidden_layers"),
    ("attention.heads", "num_attention_heads"),
    ("mlp", "intermediate_size"),
    ("norm.eps", "layer_norm_eps", 1e-5),
    ("positions.size", "max_position_embeddings", 2048),
    ("parallel", "use_parallel_residual", True),
    ("attention.bias", "attention_bias", True),
    ("attention.out_bias", "attention_bias", True),
    ("attention_dropout", "attention_dropout", 0.0),
    ("tied", "tie_word_embeddings", False),
)


def read(s: settings.Settings, names) -> TransformerConfig:
    """Return the shape of a config.json."""
    del names
    s.only("is_decoder", (False, True), False)  # it is one either way
    values = settings.read(s, FIELDS)
    found = rope.positions(s, s.take("rotary_emb_base", 10000))
    new = s.take("rope_parameters", {})
    if "partial_rotary_factor" not in new:
        found["positions.fraction"] = s.take("rotary_pct", 0.25)
    s.take("rotary_pct", 0.25)
    return settings.shape(
        values | found,
        activation=s.activation("hidden_act", "gelu"),
        mlp_bias=True,
        class_bias=False,
        norm__kind="layer",
    )


def write(cfg: TransformerConfig, kind: str) -> dict:
    """Return the keys of config.json that `read` reads."""
    del kind
    fraction = {"partial_rotary_factor": cfg.positions.fraction}
    return settings.write(cfg, FIELDS) | {
        "hidden_act": settings.their_activation(cfg.activation),
        "rope_parameters": rope.parameters(cfg) | fraction,
    }


def layer(block: str, attention: str) -> list[table.Tensor]:
    """Return the tensors of a layer, which BLOOM names alike."""
    ours, attn = "decoder/layers_{l}", block + attention
    qkv = tuple(f"{ours}/attn/{name}" for name in ("query", "key", "value"))
    return [
        *table.norm(f"{ours}/attn_norm", f"{block}input_layernorm"),
        *table.dense(qkv, f"{attn}query_key_value", "(N 3 H) D", "(N 3 H)"),
        *table.dense(f"{ours}/attn/out", f"{attn}dense", "D (N H)", "D"),
        *table.norm(f"{ours}/mlp_norm", f"{block}post_attention_layernorm"),
        *table.dense(f"{ours}/mlp/up", f"{block}mlp.dense_h_to_4h", "F D", "F"),
        *table.dense(f"{ours}/mlp/down", f"{block}mlp.dense_4h_to_h", "D F", "D"),
    ]


def tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    """Return the table."""
    del kind
    tokens = "gpt_neox.embed_in.weight"
    copies = ("embed_out.weight",) if cfg.tied else ()
    return [
        table.Tensor(("embed/tokens",), tokens, "V D", copies),
        *layer("gpt_neox.layers.{l}.", "attention."),
        *table.norm("decoder/norm", "gpt_neox.final_layer_norm"),
        *table.dense("top/table", "embed_out", "V D"),
        *table.head(head, classify="score"),
    ]


FAMILY = table.Family(
    architecture=ARCHITECTURE,
    types={"gpt_neox": "GPTNeoX"},
    read=read,
    write=write,
    table=tensors,
    prefix="gpt_neox.",
    lm="ForCausalLM",
    ignored=(r"rotary_emb\.inv_freq$", r"\.attention\.(masked_)?bias$"),
    heads=(r"^embed_out\.", r"^score\.", r"^classifier\.", r"^qa_outputs\."),
)
