"""What a TransformerConfig may hold: names, numbers, and what goes together."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence

if typing.TYPE_CHECKING:
    from lmtasks.models.config import TransformerConfig


def _choose(key: str, given: str, accepted: Sequence[str]) -> None:
    if given not in accepted:
        near = difflib.get_close_matches(given, accepted, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"model.{key}={given!r} is not known; use one of {', '.join(accepted)}{hint}"
        )


def check(cfg: TransformerConfig) -> None:
    """Raise ValueError, naming the key, for a shape that cannot be."""
    _names(cfg)
    _numbers(cfg)
    a, p = cfg.attention, cfg.positions
    if not a.head_dim and cfg.width % a.heads:
        raise ValueError(
            f"model.width={cfg.width} is not divisible by attention.heads="
            f"{a.heads}; change one or set model.attention.head_dim"
        )
    if a.heads % cfg.kv_heads:
        raise ValueError(
            f"model.attention.heads={a.heads} is not divisible by kv_heads="
            f"{cfg.kv_heads}; kv_heads must divide heads"
        )
    if p.kind == "rotary" and int(cfg.head_dim * p.fraction) % 2:
        raise ValueError(
            f"rotary positions need an even head dim, got {cfg.head_dim} * "
            f"{p.fraction}; change model.width or model.attention.heads"
        )
    if cfg.shared_layers and cfg.scan_layers:
        raise ValueError("model.shared_layers excludes model.scan_layers; set one")
    _combinations(cfg)
    biased = p.kind in ("t5", "alibi", "disentangled")
    if a.implementation in ("cudnn", "splash") and (a.soft_cap or biased):
        raise ValueError(
            f"attention.implementation={a.implementation!r} takes neither soft_cap "
            "nor position biases; use 'xla' or 'auto'"
        )
    if a.implementation == "cudnn" and cfg.dtype != "bfloat16":
        raise ValueError(
            f"attention.implementation='cudnn' needs model.dtype='bfloat16', got "
            f"{cfg.dtype!r}; change it or use 'xla'"
        )


def _combinations(cfg):
    p = cfg.positions
    if cfg.scan_layers and not cfg.norm.first:
        raise ValueError(
            "model.norm.first=False makes the first layer unlike the others, which "
            "model.scan_layers cannot hold; set it to False"
        )
    if cfg.block == "lstm" and (cfg.parallel or p.kind == "disentangled"):
        key = "parallel=True" if cfg.parallel else "positions.kind='disentangled'"
        raise ValueError(
            f"model.{key} is of attention; leave it with model.block='lstm'"
        )
    if cfg.block == "lstm" and cfg.width % 2:
        raise ValueError(
            f"model.block='lstm' reads both ways with half the width each, and "
            f"model.width={cfg.width} is odd; use an even one"
        )
    if cfg.embed_inputs and not cfg.embed_dim:
        raise ValueError("model.embed_inputs=True needs model.embed_dim")
    if p.scaling == "yarn" and not all(p.scaled):
        raise ValueError(
            "model.positions.scaling='yarn' is for all layers; positions.scaled "
            f"is {p.scaled}"
        )


def _numbers(cfg):
    a, p = cfg.attention, cfg.positions
    least = {
        "vocab": (cfg.vocab, 1), "width": (cfg.width, 1),
        "layers": (cfg.layers, 1), "mlp": (cfg.mlp, 0),
        "decoder_layers": (cfg.decoder_layers, 0), "init_std": (cfg.init_std, 0),
        "token_types": (cfg.token_types, 0), "embed_dim": (cfg.embed_dim, 0),
        "attention.heads": (a.heads, 1), "attention.kv_heads": (a.kv_heads, 0),
        "attention.head_dim": (a.head_dim, 0), "norm.eps": (cfg.norm.eps, 0),
        "positions.size": (p.size, 1), "positions.offset": (p.offset, 0),
        "positions.buckets": (p.buckets, 2), "positions.distance": (p.distance, 1),
    }  # fmt: skip
    for key, (value, minimum) in least.items():
        if not value >= minimum:
            raise ValueError(f"model.{key}={value} must be at least {minimum}")
    for key in ("dropout", "attention_dropout"):
        if not 0 <= getattr(cfg, key) < 1:
            raise ValueError(
                f"model.{key}={getattr(cfg, key)} must be at least 0 and below 1"
            )
    if not 0 < p.fraction <= 1:
        raise ValueError(
            f"model.positions.fraction={p.fraction} must be above 0 and at most 1"
        )
    if not all(isinstance(w, int) and w >= 0 for w in a.window):
        raise ValueError(
            f"model.attention.window={a.window!r} takes whole numbers, 0 = full"
        )


def _names(cfg):
    _choose("norm.kind", cfg.norm.kind, ("layer", "rms", "rms1"))
    _choose("norm.at", cfg.norm.at, ("pre", "post", "sandwich", "output"))
    _choose(
        "positions.kind",
        cfg.positions.kind,
        ("learned", "sinusoidal", "rotary", "t5", "alibi", "disentangled", "none"),
    )
    scaling = cfg.positions.scaling
    _choose("positions.scaling", scaling, ("", "linear", "llama3", "yarn"))
    _choose("attention.qk_norm", cfg.attention.qk_norm, ("", "head", "width"))
    kernels, kernel = ("xla", "cudnn", "splash", "auto"), cfg.attention
    _choose("attention.implementation", kernel.implementation, kernels)
    acts = ("gelu", "gelu_tanh", "relu", "relu2", "silu", "quick_gelu")
    _choose("activation", cfg.activation, acts)
    _choose("block", cfg.block, ("attention", "lstm"))
    _choose("context", cfg.context, ("attention", "vector"))
    _choose("pooling", cfg.pooling, ("cls", "mean"))
    _choose("pooler_activation", cfg.pooler_activation, ("tanh", "relu", "gelu"))
    _choose("init", cfg.init, ("normal", "fan_in"))
    _choose("remat", cfg.remat, ("", "full", "dots"))
    _choose("dtype", cfg.dtype, ("float32", "bfloat16"))
    _choose("matmul", cfg.matmul, ("", "int8"))
    _choose("cache_dtype", cfg.cache_dtype, ("", "float32", "bfloat16", "int8"))
