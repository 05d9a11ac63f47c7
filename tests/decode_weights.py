"""The parameters of decode_cases under transformers' names."""

from __future__ import annotations

import re

import decode_cases as cases
import jax
import numpy as np

# Our modules -> theirs; {l} is the layer, {side} the stack, {f} T5's feed-forward.
_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
_BART_ATTENTION = _ATTENTION | {"out": "out_proj"}
_LLAMA_ATTENTION = _ATTENTION | {"out": "o_proj"}
_T5_ATTENTION = {"query": "q", "key": "k", "value": "v", "out": "o"}


def _attention(ours: str, theirs: str, names: dict[str, str]) -> dict[str, str]:
    return {f"{ours}/{k}": f"{theirs}.{v}" for k, v in names.items()}


_LAYER = "{side}/layers_{l}"
NAMES = {
    "gpt2": {
        "embed/tokens": "transformer.wte",
        "{side}/inputs/positions": "transformer.wpe",
        "{side}/norm": "transformer.ln_f",
        f"{_LAYER}/attn_norm": "transformer.h.{l}.ln_1",
        f"{_LAYER}/mlp_norm": "transformer.h.{l}.ln_2",
        f"{_LAYER}/attn/qkv": "transformer.h.{l}.attn.c_attn",
        f"{_LAYER}/attn/out": "transformer.h.{l}.attn.c_proj",
        f"{_LAYER}/mlp/up": "transformer.h.{l}.mlp.c_fc",
        f"{_LAYER}/mlp/down": "transformer.h.{l}.mlp.c_proj",
    },
    "llama": {
        "embed/tokens": "model.embed_tokens",
        "top/table": "lm_head",
        "{side}/norm": "model.norm",
        f"{_LAYER}/attn_norm": "model.layers.{l}.input_layernorm",
        f"{_LAYER}/mlp_norm": "model.layers.{l}.post_attention_layernorm",
        f"{_LAYER}/mlp/gate": "model.layers.{l}.mlp.gate_proj",
        f"{_LAYER}/mlp/up": "model.layers.{l}.mlp.up_proj",
        f"{_LAYER}/mlp/down": "model.layers.{l}.mlp.down_proj",
        **_attention(f"{_LAYER}/attn", "model.layers.{l}.self_attn", _LLAMA_ATTENTION),
    },
    "t5": {
        "embed/tokens": "shared",
        "{side}/norm": "{side}.final_layer_norm",
        "{side}/relative_bias": "{side}.block.0.layer.0.SelfAttention"
        ".relative_attention_bias",
        f"{_LAYER}/attn_norm": "{side}.block.{l}.layer.0.layer_norm",
        f"{_LAYER}/cross_norm": "{side}.block.{l}.layer.1.layer_norm",
        f"{_LAYER}/mlp_norm": "{side}.block.{l}.layer.{f}.layer_norm",
        f"{_LAYER}/mlp/up": "{side}.block.{l}.layer.{f}.DenseReluDense.wi",
        f"{_LAYER}/mlp/down": "{side}.block.{l}.layer.{f}.DenseReluDense.wo",
        **_attention(
            f"{_LAYER}/attn",
            "{side}.block.{l}.layer.0.SelfAttention",
            _T5_ATTENTION,
        ),
        **_attention(
            f"{_LAYER}/cross",
            "{side}.block.{l}.layer.1.EncDecAttention",
            _T5_ATTENTION,
        ),
    },
    "bart": {
        "embed/tokens": "model.shared",
        "{side}/inputs/positions": "model.{side}.embed_positions",
        "{side}/inputs/norm": "model.{side}.layernorm_embedding",
        f"{_LAYER}/attn_norm": "model.{side}.layers.{l}.self_attn_layer_norm",
        f"{_LAYER}/cross_norm": "model.{side}.layers.{l}.encoder_attn_layer_norm",
        f"{_LAYER}/mlp_norm": "model.{side}.layers.{l}.final_layer_norm",
        f"{_LAYER}/mlp/up": "model.{side}.layers.{l}.fc1",
        f"{_LAYER}/mlp/down": "model.{side}.layers.{l}.fc2",
        **_attention(
            f"{_LAYER}/attn", "model.{side}.layers.{l}.self_attn", _BART_ATTENTION
        ),
        **_attention(
            f"{_LAYER}/cross",
            "model.{side}.layers.{l}.encoder_attn",
            _BART_ATTENTION,
        ),
    },
}
# What they list once more under another name.
TIED = {
    "gpt2": ["lm_head"],
    "llama": [],
    "t5": ["encoder.embed_tokens", "decoder.embed_tokens", "lm_head"],
    "bart": ["model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"],
}
_LOOKUP = ("tokens", "positions", "relative_bias", "table")


def state_dict(case: cases.Case) -> dict[str, np.ndarray]:
    """Return our parameters under their names, matrices [out, in] but for GPT-2."""
    leaves = jax.tree_util.tree_leaves_with_path(case.params())
    ours = {
        "/".join(k.key for k in path): _matrix(path[-1].key, x) for path, x in leaves
    }
    if case.family == "gpt2":
        ours = _joined(ours)
    out = {}
    for path, x in ours.items():
        if path == "top/bias":
            out["final_logits_bias"] = x[None]
            continue
        kept = case.family == "gpt2" or path.split("/")[-1] in _LOOKUP
        out[_name(case.family, path)] = x if kept else x.T
    tied = out[f"{NAMES[case.family]['embed/tokens']}.weight"]
    out |= {f"{name}.weight": tied for name in TIED[case.family]}
    return {name: np.array(x, np.float32, order="C") for name, x in out.items()}


def _matrix(last: str, x: np.ndarray) -> np.ndarray:
    """Return [D, N, H], [N, H, D] and [N, H] as matrices and vectors."""
    if last in ("query_bias", "key_bias", "value_bias"):
        return x.reshape(-1)
    if last == "out":
        return x.reshape(-1, x.shape[-1])
    return x.reshape(x.shape[0], -1) if x.ndim > 1 else x


def _joined(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return them with query, key and value as one, as GPT-2 keeps them."""
    kinds = ("query", "key", "value")
    out = {k: x for k, x in arrays.items() if not any(f"/{n}" in k for n in kinds)}
    for path in arrays:
        if "/query" in path:
            parts = [arrays[path.replace("query", kind)] for kind in kinds]
            out[path.replace("query", "qkv")] = np.concatenate(parts, axis=-1)
    return out


def _name(family: str, path: str) -> str:
    """Return the name of one of our parameters in their state dict."""
    module, kind = path, "weight"
    if path.endswith(("/scale", "/bias")):
        module, _, last = path.rpartition("/")
        kind = "weight" if last == "scale" else "bias"
    elif path.endswith("_bias") and not path.endswith("/relative_bias"):
        module, kind = path.removesuffix("_bias"), "bias"
    layer = re.search(r"layers_(\d+)", path)
    side = path.split("/")[0]
    module = re.sub(r"layers_\d+", "layers_{l}", module)
    module = re.sub(r"^(encoder|decoder)/", "{side}/", module)
    values = {"l": layer and layer[1], "side": side, "f": 1 + (side == "decoder")}
    return f"{NAMES[family][module].format(**values)}.{kind}"
