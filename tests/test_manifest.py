"""A sealed folder is whole, or something is said to be wrong with it."""

import pathlib
import random
import shutil

import jax
import jax.numpy as jnp
import pytest

from lmtasks.training import checkpoint
from lmtasks.training import manifest


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def whole(tmp_path):
    """A checkpoint, with all the files that orbax writes."""
    tree = {"w": jnp.arange(600.0).reshape(20, 30), "rng": jax.random.key(0)}
    with checkpoint.Checkpoints(tmp_path / "saved") as checkpoints:
        checkpoints.save(2, tree, {"position": 2})
    return tmp_path / "saved" / "2"


def test_every_flipped_bit_is_noticed(whole):
    chance = random.Random(0)
    assert manifest.damage(whole) == ""
    for path in _files(whole):
        good = path.read_bytes()
        bits = {0, 8 * len(good) - 1}
        bits |= {chance.randrange(8 * len(good)) for _ in range(20)}
        if path.name == manifest.NAME:
            bits |= {8 * i + chance.randrange(8) for i in range(len(good))}
        for bit in bits:
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bad)
            assert manifest.damage(whole), f"{path.name}, bit {bit}"
        path.write_bytes(good)
    assert manifest.damage(whole) == ""


@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
def test_a_half_written_copy_is_never_valid(whole, tmp_path, order):
    files = _files(whole)
    if order == "reversed":
        files.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(files)
    half = tmp_path / "half" / "9"
    for path in files:
        half.mkdir(parents=True, exist_ok=True)
        assert manifest.damage(half), f"before {path.name}"
        copy = half / path.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes()[:-1])
        assert manifest.damage(half), f"within {path.name}"
        shutil.copy(path, copy)
    assert manifest.damage(half) == ""


def test_names_and_sizes_alone_are_quick_to_compare(whole):
    path = whole / "meta.json"
    path.write_bytes(path.read_bytes().replace(b"2", b"3"))
    assert manifest.damage(whole) == "meta.json does not match its checksum"
    assert manifest.damage(whole, contents=False) == ""
    path.write_bytes(b"2")
    assert "meta.json has 1 bytes, not" in manifest.damage(whole, contents=False)
