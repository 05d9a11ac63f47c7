"""The binary file of llama2.c: a header of seven numbers, then float32 arrays.

Its rotary pairs stand together, as in Meta's code, so its projections of query and key
have another layout than Llama's in safetensors.
"""

from __future__ import annotations

import math
import pathlib

import numpy as np

from lmtasks.families import llama
from lmtasks.hf import files
from lmtasks.hf import table
from lmtasks.models.config import TransformerConfig

_HEADER = ("hidden_size", "intermediate_size", "num_hidden_layers",
           "num_attention_heads", "num_key_value_heads", "vocab_size",
           "max_position_embeddings")  # fmt: skip


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a folder that are llama2.c's by header and size; if there are
    none, those by their header alone, which were cut short.
    """
    found = {p: _header(p) for p in sorted(folder.glob("*.bin")) if p.is_file()}
    found = {path: values for path, values in found.items() if values is not None}
    whole = [p for p, values in found.items() if p.stat().st_size == _size(values)]
    return whole or list(found)


def read(path: pathlib.Path) -> tuple[dict, files.Arrays]:
    """Return (config.json of a Llama, arrays under llama2.c's names) of a file.

    Raises:
        ValueError: there is none, it is not of this form, or it is cut short.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a checkpoint's directory")
    values = _header(path)
    if values is None:
        raise ValueError(
            f"{path} is no file of llama2.c: its header makes no model; of a "
            "checkpoint of another form give the directory"
        )
    if path.stat().st_size != _size(values):
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, and a model of its header "
            f"{_size(values)}; it is damaged or of another version; fetch it again"
        )
    numbers = np.memmap(path, "<f4", "r", offset=4 * len(_HEADER))
    arrays, start = {}, 0
    for name, shape in _shapes(values):
        size = math.prod(shape)
        arrays[name] = numbers[start : start + size].reshape(shape)
        start += size
    per_layer = {
        name.replace("{l}", str(i)): x[i]
        for name, x in arrays.items()
        if "{l}" in name
        for i in range(len(x))
    }
    whole = {name: x for name, x in arrays.items() if "{l}" not in name}
    return values, files.Arrays(str(path), per_layer | whole)


def _header(path: pathlib.Path) -> dict | None:
    with open(path, "rb") as file:
        raw = file.read(4 * len(_HEADER))
    if len(raw) < 4 * len(_HEADER):
        return None
    numbers = [int(x) for x in np.frombuffer(raw, "<i4")]
    values = dict(zip(_HEADER, numbers, strict=True))
    # A negative vocabulary says that the head has a table of its own.
    values["tie_word_embeddings"] = values["vocab_size"] > 0
    values["vocab_size"] = abs(values["vocab_size"])
    sizes = [values[key] for key in _HEADER]
    heads = values["num_attention_heads"]
    if min(sizes) < 1 or max(sizes) > 1 << 24 or values["hidden_size"] % heads:
        return None
    return values | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rms_norm_eps": 1e-5,
        "head_dim": values["hidden_size"] // heads,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _shapes(values: dict) -> list[tuple[str, tuple[int, ...]]]:
    d, f, layers, n, k, v, size = (values[key] for key in _HEADER)
    h = d // n
    found = [
        ("tok_embeddings", (v, d)),
        ("layers.{l}.attention_norm", (layers, d)),
        ("layers.{l}.wq", (layers, n * h, d)),
        ("layers.{l}.wk", (layers, k * h, d)),
        ("layers.{l}.wv", (layers, k * h, d)),
        ("layers.{l}.wo", (layers, d, n * h)),
        ("layers.{l}.ffn_norm", (layers, d)),
        ("layers.{l}.w1", (layers, f, d)),
        ("layers.{l}.w2", (layers, d, f)),
        ("layers.{l}.w3", (layers, f, d)),
        ("norm", (d,)),
        ("cosines", (size, h // 2)),
        ("sines", (size, h // 2)),
    ]
    return found if values["tie_word_embeddings"] else [*found, ("output", (v, d))]


def _size(values: dict) -> int:
    return 4 * (len(_HEADER) + sum(math.prod(s) for _, s in _shapes(values)))


def _tensors(cfg: TransformerConfig, kind: str, head: str) -> list[table.Tensor]:
    del cfg, kind, head
    layer = "decoder/layers_{l}"
    rows = [
        ("embed/tokens", "tok_embeddings", "V D"),
        (f"{layer}/attn_norm/scale", "attention_norm", "D"),
        (f"{layer}/attn/query", "wq", "(N H/2 2) D"),
        (f"{layer}/attn/key", "wk", "(K H/2 2) D"),
        (f"{layer}/attn/value", "wv", "(K H) D"),
        (f"{layer}/attn/out", "wo", "D (N H)"),
        (f"{layer}/mlp_norm/scale", "ffn_norm", "D"),
        (f"{layer}/mlp/gate", "w1", "F D"),
        (f"{layer}/mlp/down", "w2", "D F"),
        (f"{layer}/mlp/up", "w3", "F D"),
        ("decoder/norm/scale", "norm", "D"),
        ("top/table", "output", "V D"),
    ]
    deep = {ours: "layers.{l}." if "{l}" in ours else "" for ours, _, _ in rows}
    return [table.Tensor((o,), deep[o] + theirs, lay) for o, theirs, lay in rows]


FAMILY = table.Family(
    architecture="decoder",
    types={"llama": "Llama"},
    read=llama.read,
    write=llama.write,
    table=_tensors,
    ignored=("^cosines$", "^sines$"),
)
