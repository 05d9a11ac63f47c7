"""Our parameters under transformers' names, and random values for all of them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping

import numpy as np

from lmtasks.models.config import TransformerConfig

# our path -> their name; {l} is the layer. Matrices are stored [in, out] by us and by
# gpt2, [out, in] by the others.
_BERT_LAYER = {
    "attn/query": "attention.self.query.weight",
    "attn/query_bias": "attention.self.query.bias",
    "attn/key": "attention.self.key.weight",
    "attn/key_bias": "attention.self.key.bias",
    "attn/value": "attention.self.value.weight",
    "attn/value_bias": "attention.self.value.bias",
    "attn/out": "attention.output.dense.weight",
    "attn/out_bias": "attention.output.dense.bias",
    "attn_norm/scale": "attention.output.LayerNorm.weight",
    "attn_norm/bias": "attention.output.LayerNorm.bias",
    "mlp/up": "intermediate.dense.weight",
    "mlp/up_bias": "intermediate.dense.bias",
    "mlp/down": "output.dense.weight",
    "mlp/down_bias": "output.dense.bias",
    "mlp_norm/scale": "output.LayerNorm.weight",
    "mlp_norm/bias": "output.LayerNorm.bias",
}
_BERT = {
    "embed/tokens": "bert.embeddings.word_embeddings.weight",
    "encoder/inputs/positions": "bert.embeddings.position_embeddings.weight",
    "encoder/inputs/types": "bert.embeddings.token_type_embeddings.weight",
    "encoder/inputs/norm/scale": "bert.embeddings.LayerNorm.weight",
    "encoder/inputs/norm/bias": "bert.embeddings.LayerNorm.bias",
    "top/pooler": "bert.pooler.dense.weight",
    "top/pooler_bias": "bert.pooler.dense.bias",
    "top/out": "classifier.weight",
    "top/out_bias": "classifier.bias",
}
_GPT2_LAYER = {
    "attn/out": "attn.c_proj.weight",
    "attn/out_bias": "attn.c_proj.bias",
    "attn_norm/scale": "ln_1.weight",
    "attn_norm/bias": "ln_1.bias",
    "mlp/up": "mlp.c_fc.weight",
    "mlp/up_bias": "mlp.c_fc.bias",
    "mlp/down": "mlp.c_proj.weight",
    "mlp/down_bias": "mlp.c_proj.bias",
    "mlp_norm/scale": "ln_2.weight",
    "mlp_norm/bias": "ln_2.bias",
}
_GPT2 = {
    "embed/tokens": "transformer.wte.weight",
    "decoder/inputs/positions": "transformer.wpe.weight",
    "decoder/norm/scale": "transformer.ln_f.weight",
    "decoder/norm/bias": "transformer.ln_f.bias",
}
_T5_ATTENTION = {"query": "q", "key": "k", "value": "v", "out": "o"}
_TABLES = ("tokens", "positions", "types", "relative_bias")


def flat(params: Mapping) -> dict[str, np.ndarray]:
    """Return {"a/b/c": array} of nested dicts."""
    out = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            out |= {f"{key}/{path}": x for path, x in flat(value).items()}
        else:
            out[key] = np.asarray(value)
    return out


def random_value(
    path: str, shape: tuple[int, ...], cfg: TransformerConfig
) -> np.ndarray:
    """Return float32 values of a parameter that hide no fault, the same every time.

    Norm scales 1 +- .3, biases +- .3, matrices 1 / sqrt(inputs); lookup tables so that
    tied logits have a deviation of 2, queries so that attention's have one too. A bias
    left out or a scale forgotten moves the loss.
    """
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    x = rng.standard_normal(shape, np.float32)
    last = path.split("/")[-1]
    if last == "scale":
        return 1 + np.float32(0.3) * x
    if "bias" in last:
        return np.float32(0.3) * x
    if last in _TABLES:
        return np.float32(2 * cfg.width**-0.5 / cfg.head_scale) * x
    # [N, H, D] sums over its heads, every other matrix over its first dim.
    inputs = math.prod(shape[:-1]) if last == "out" else shape[0]
    if last == "query":
        inputs /= 4
        if cfg.attention.scale:
            inputs *= cfg.head_dim * cfg.attention.scale**2
    return x * np.float32(inputs**-0.5)


def bert(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state dict of BertForSequenceClassification."""
    out = {}
    for path, x in arrays.items():
        layer, rest = _layer(path)
        if layer is None:
            name = _BERT[path]
        else:
            name = f"bert.encoder.layer.{layer}.{_BERT_LAYER[rest]}"
        out[name] = x if path.split("/")[-1] in _TABLES else _matrix(rest, x).T
    return _contiguous(out)


def gpt2(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state dict of GPT2LMHeadModel; query, key and value are one."""
    out = {}
    for path, x in arrays.items():
        layer, rest = _layer(path)
        if layer is None:
            out[_GPT2[path]] = x
        elif rest in _GPT2_LAYER:
            out[f"transformer.h.{layer}.{_GPT2_LAYER[rest]}"] = _matrix(rest, x)
        elif rest.startswith("attn/query"):
            kinds = ("query", "key", "value")
            paths = [path.replace("query", kind) for kind in kinds]
            joined = [_matrix(rest, arrays[p]) for p in paths]
            end = "bias" if rest.endswith("bias") else "weight"
            name = f"transformer.h.{layer}.attn.c_attn.{end}"
            out[name] = np.concatenate(joined, axis=-1)
    out["lm_head.weight"] = out["transformer.wte.weight"]
    return _contiguous(out)


def t5(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state dict of T5ForConditionalGeneration (v1.0)."""
    out = {}
    for path, x in arrays.items():
        side, layer = path.split("/")[0], _layer(path)[0]
        if layer is not None:
            name = f"{side}.block.{layer}.layer.{_t5_layer(side, _layer(path)[1])}"
            out[name] = _matrix(_layer(path)[1], x).T
        elif path.endswith("/relative_bias"):
            inside = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            out[f"{side}.{inside}"] = x
        elif path.endswith("/norm/scale"):
            out[f"{side}.final_layer_norm.weight"] = x
        else:
            out["shared.weight"] = x
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        out[f"{name}.weight"] = out["shared.weight"]
    return _contiguous(out)


def _t5_layer(side: str, rest: str) -> str:
    block, last = rest.split("/")
    feed_forward = 2 if side == "decoder" else 1
    number = {"attn": 0, "cross": 1, "mlp": feed_forward}[block.removesuffix("_norm")]
    if block.endswith("_norm"):
        return f"{number}.layer_norm.weight"
    if block == "mlp":
        return f"{number}.DenseReluDense.{ {'up': 'wi', 'down': 'wo'}[last] }.weight"
    kind = {"attn": "SelfAttention", "cross": "EncDecAttention"}[block]
    return f"{number}.{kind}.{_T5_ATTENTION[last]}.weight"


def _layer(path: str) -> tuple[int | None, str]:
    """Return (layer, path inside it), or (None, path)."""
    found = re.search(r"/layers_(\d+)/(.*)", path)
    return (int(found[1]), found[2]) if found else (None, path)


def _matrix(rest: str, x: np.ndarray) -> np.ndarray:
    """Return [D, N, H], [N, H, D] and [N, H] as matrices and vectors."""
    last = rest.split("/")[-1]
    if last in ("query_bias", "key_bias", "value_bias"):
        return x.reshape(-1)
    if last == "out" and x.ndim == 3:
        return x.reshape(-1, x.shape[-1])
    return x.reshape(x.shape[0], -1) if x.ndim > 1 else x


def _contiguous(arrays):
    return {name: np.ascontiguousarray(x) for name, x in arrays.items()}


# family -> state dict of its model in transformers.
TO_PEER = {"bert": bert, "gpt2": gpt2, "t5": t5}
