"""Tiny checkpoint directories in every form of weight files, for the tests."""

import functools
import json
import struct

import numpy as np
import test_reference as parity
from reference import cases
from safetensors import numpy as safetensors

from lmtasks.hf import files
from lmtasks.training import masks

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]

write, read = parity.write, parity.read


@functools.cache
def usual(name):
    """Return {tensor: array} of a case."""
    return parity.fixture(name)[1]


def config_of(name):
    """Return config.json of a case."""
    return dict(parity.fixture(name)[0])


def flat(folder, **changes):
    """Return {path: array} of a checkpoint directory."""
    params = read(folder, **changes)[2]
    return {path: np.asarray(x) for path, x in masks.flat(params).items()}


def same(found, expected):
    """Assert that two {path: array} are equal bit for bit."""
    assert found.keys() == expected.keys()
    for path, x in expected.items():
        assert found[path].dtype == x.dtype, path
        assert found[path].tobytes() == x.tobytes(), path


def write_vocab(folder, size=cases.VOCAB):
    """Write a vocab.txt of `size` pieces."""
    words = [f"w{i}" for i in range(size - len(PIECES))]
    (folder / "vocab.txt").write_text("\n".join(PIECES + words) + "\n")


def shard(folder, state, parts=3):
    """Write tensors as several files with an index; return the index."""
    (folder / files.SINGLE).unlink(missing_ok=True)
    keys, weight_map = list(state), {}
    for i in range(parts):
        part = f"model-{i + 1:05d}-of-{parts:05d}.safetensors"
        own = {key: state[key] for key in keys[i::parts]}
        safetensors.save_file(own, folder / part)
        weight_map |= dict.fromkeys(own, part)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / files.INDEX).write_text(json.dumps(index))
    return index


_LAYER = {
    "attention_norm": "input_layernorm", "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj", "wv": "self_attn.v_proj", "wo": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm", "w1": "mlp.gate_proj",
    "w2": "mlp.down_proj", "w3": "mlp.up_proj",
}  # fmt: skip


def write_llama2c(path, config, state, *, tied):
    """Write a Llama's tensors as llama2.c's export.py does."""
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "vocab_size",
            "max_position_embeddings")  # fmt: skip
    sizes = [config[key] for key in keys]
    sizes[5] *= 1 if tied else -1
    d, _, layers, heads, _, _, length = sizes
    half = d // heads // 2

    def paired(x):  # halves of a head -> pairs that stand together
        return x.reshape(-1, 2, half, d).swapaxes(1, 2).reshape(x.shape)

    arrays = [state["model.embed_tokens.weight"]]
    for ours, theirs in _LAYER.items():
        stacked = [state[f"model.layers.{i}.{theirs}.weight"] for i in range(layers)]
        arrays += map(paired, stacked) if ours in ("wq", "wk") else stacked
    arrays += [state["model.norm.weight"], np.ones((2, length, half))]
    arrays += [] if tied else [state["lm_head.weight"]]
    numbers = b"".join(np.asarray(x, "<f4").tobytes() for x in arrays)
    path.write_bytes(struct.pack("<7i", *sizes) + numbers)
    return path
