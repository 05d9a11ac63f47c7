"""The forms of weight files: all give the same parameters, or are refused."""

import json
import struct

import checkpoints
import ml_dtypes
import numpy as np
import pytest
import test_reference as parity
from flax import serialization
from safetensors import numpy as safetensors

from lmtasks.hf import files
from lmtasks.hf import reading
from lmtasks.hf import settings


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{path: array} of two cases, read from one float32 file each."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        n: checkpoints.flat(checkpoints.write(n, folder / n)) for n in ("bert", "gpt2")
    }


# Types of numbers.


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float64])
def test_numbers_of_other_types_become_float32(dtype, tmp_path):
    stored = {key: x.astype(dtype) for key, x in checkpoints.usual("gpt2").items()}
    folder = checkpoints.write("gpt2", tmp_path / "stored", stored)
    assert reading.open_checkpoint(folder).dtype == np.dtype(dtype).name
    rounded = {key: x.astype(np.float32) for key, x in stored.items()}
    checkpoints.same(
        checkpoints.flat(folder),
        checkpoints.flat(checkpoints.write("gpt2", tmp_path / "rounded", rounded)),
    )


def raw_file(path, kind, size):
    """Write a safetensors file of one tensor of 4 numbers of any type."""
    end = [0, 4 * size]
    header = json.dumps({"x": {"dtype": kind, "shape": [4], "data_offsets": end}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4 * size))


@pytest.mark.parametrize(("kind", "size"), [("F8_E4M3", 1), ("F8_E5M2", 1), ("U64", 8)])
def test_types_that_are_not_read_are_named(kind, size, tmp_path):
    raw_file(tmp_path / files.SINGLE, kind, size)
    with pytest.raises(ValueError, match=f"x is of type {kind}, .*BF16"):
        files.find(tmp_path)


def test_a_type_that_nobody_knows_is_damage(tmp_path):
    raw_file(tmp_path / files.SINGLE, "Q3", 1)
    with pytest.raises(ValueError, match="is damaged or cut short"):
        files.find(tmp_path)


def test_whole_numbers_are_no_weights(tmp_path):
    name = "transformer.h.1.mlp.c_fc.weight"
    changed = checkpoints.usual("gpt2") | {
        name: checkpoints.usual("gpt2")[name].astype(np.int8)
    }
    folder = checkpoints.write("gpt2", tmp_path, changed)
    with pytest.raises(ValueError, match=f"{name} holds int8, not floating"):
        checkpoints.read(folder)


# Several files, and other names.


def test_parts_with_an_index_equal_one_file(whole, tmp_path):
    folder = checkpoints.write("gpt2", tmp_path)
    checkpoints.shard(folder, checkpoints.usual("gpt2"))
    checkpoints.same(checkpoints.flat(folder), whole["gpt2"])


def test_one_file_of_another_name_is_taken_and_two_are_not(whole, tmp_path):
    folder = checkpoints.write("gpt2", tmp_path)
    (folder / files.SINGLE).rename(folder / "weights.safetensors")
    checkpoints.same(checkpoints.flat(folder), whole["gpt2"])
    safetensors.save_file({"x": np.zeros(1)}, folder / "more.safetensors")
    with pytest.raises(ValueError, match="has 2 safetensors files but no model.saf"):
        files.find(folder)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "bart"])
def test_a_bare_body_has_no_prefix(name, tmp_path):
    prefix = reading.open_checkpoint(
        checkpoints.write(name, tmp_path / "whole")
    ).family.prefix
    bare = {
        key.removeprefix(prefix): x
        for key, x in checkpoints.usual(name).items()
        if key.startswith(prefix)
    }
    folder = checkpoints.write(name, tmp_path / "bare", bare)
    checkpoints.same(
        checkpoints.flat(folder, head="none"),
        checkpoints.flat(tmp_path / "whole", head="none"),
    )


def test_old_names_of_norms_are_understood(whole, tmp_path):
    def old(key):
        ends = ("LayerNorm.weight", "gamma"), ("LayerNorm.bias", "beta")
        for new, end in ends:
            if key.endswith(new):
                return key[: -len(new)] + f"LayerNorm.{end}"
        return key

    state = {old(key): x for key, x in checkpoints.usual("bert").items()}
    assert sum(key.endswith(("gamma", "beta")) for key in state) == 12
    checkpoints.same(
        checkpoints.flat(checkpoints.write("bert", tmp_path, state)), whole["bert"]
    )


def test_a_tensor_under_an_old_and_a_new_name_is_not_expected(tmp_path):
    new = "bert.embeddings.LayerNorm.weight"
    old = "bert.embeddings.LayerNorm.gamma"
    state = checkpoints.usual("bert") | {
        old: np.zeros_like(checkpoints.usual("bert")[new])
    }
    folder = checkpoints.write("bert", tmp_path, state)
    with pytest.raises(ValueError, match=rf"missing \(0\): none; .*\(1\): {old}"):
        checkpoints.read(folder)


# Flax files.


def flax_tree(state):
    """Return tensors as a Flax module names and lays them out."""
    tree = {}
    for key, x in state.items():
        *inside, last = key.split(".")
        if last == "weight" and ("embeddings" in key or inside[-1] in ("wte", "wpe")):
            last = "embedding" if x.ndim == 2 else "scale"
        elif last == "weight":
            last, x = ("kernel", x.T) if x.ndim == 2 else ("scale", x)
        node = tree
        for part in inside:
            node = node.setdefault(part, {})
        node[last] = x
    return tree


def write_flax(name, folder, tree):
    """Write a case as a checkpoint directory with a Flax file."""
    checkpoints.write(name, folder, {})
    (folder / files.SINGLE).unlink()
    (folder / files.MSGPACK).write_bytes(serialization.msgpack_serialize(tree))
    return folder


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_flax_file_gives_the_same_parameters(name, whole, tmp_path):
    folder = write_flax(name, tmp_path, flax_tree(checkpoints.usual(name)))
    checkpoints.same(checkpoints.flat(folder), whole[name])


@pytest.mark.parametrize(
    ("value", "kind"),
    [("os.system", "str"), (b"code", "bytes"), (1j * np.ones(2), "complex128"),
     (None, "NoneType"), (3, "int")],
)  # fmt: skip
def test_a_flax_file_holds_arrays_of_numbers_only(value, kind, tmp_path):
    folder = write_flax("gpt2", tmp_path, {"transformer": {"x": value}})
    with pytest.raises(ValueError, match=f"transformer/x is no array .* but {kind};"):
        files.find(folder)


def test_a_damaged_flax_file_is_refused(tmp_path):
    folder = write_flax("gpt2", tmp_path, flax_tree(checkpoints.usual("gpt2")))
    path = folder / files.MSGPACK
    for content in (path.read_bytes()[:-100], b"", b"\xc1", b"\x91" * 5000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"flax_model\.msgpack is damaged"):
            files.find(folder)
    path.write_bytes(serialization.msgpack_serialize("text"))
    with pytest.raises(ValueError, match="the file is no array of numbers but str"):
        files.find(folder)


# llama2.c.


def twins(tmp_path, *, tied):
    """Return (a llama2.c file, the same Llama as a directory)."""
    config = checkpoints.config_of("llama")
    config = config | {"rms_norm_eps": 1e-5, "tie_word_embeddings": tied}
    state = dict(checkpoints.usual("llama"))
    if tied:
        del state["lm_head.weight"]
    folder = checkpoints.write("llama", tmp_path / "hf", state)
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "c").mkdir()
    return checkpoints.write_llama2c(
        tmp_path / "c" / "m.bin", config, state, tied=tied
    ), folder


@pytest.mark.parametrize("tied", [True, False])
def test_a_file_of_llama2c_is_its_llama(tied, tmp_path):
    path, folder = twins(tmp_path, tied=tied)
    checkpoints.same(checkpoints.flat(path), checkpoints.flat(folder))
    checkpoints.same(
        checkpoints.flat(path.parent), checkpoints.flat(folder)
    )  # the only one of a folder
    own, theirs = (reading.open_checkpoint(p).cfg for p in (path, folder))
    assert settings.canonical(own, "lm") == settings.canonical(theirs, "lm")


def test_a_file_of_llama2c_gives_the_logits_of_its_llama(tmp_path):
    outputs = []
    for place in twins(tmp_path, tied=False):
        _, model, params = checkpoints.read(place)
        rows = parity.batch_of("llama", model)
        outputs.append(np.asarray(parity.apply(model)(params, rows)))
    np.testing.assert_array_equal(*outputs)
