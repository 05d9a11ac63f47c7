"""The weight files of a checkpoint directory, read a few rows at a time."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import typing
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from lmtasks.hf import safe

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MSGPACK = "flax_model.msgpack"
_END = ".safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class Weights(typing.Protocol):
    """Named arrays that need not fit into memory together."""

    where: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype]

    def rows(
        self, name: str, rows: slice, buffer: np.ndarray | None = None
    ) -> np.ndarray:
        """Return some rows of an array, in `buffer` where that is of use."""

    def place(self, name: str) -> tuple:
        """Return where an array is, in the order in which all are read fastest."""

    def expect(self) -> None:
        """Prepare for all of them to be read."""


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Arrays in memory under a checkpoint's names."""

    where: str
    arrays: Mapping[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: x.shape for name, x in self.arrays.items()}

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        return {name: x.dtype for name, x in self.arrays.items()}

    def rows(
        self, name: str, rows: slice, buffer: np.ndarray | None = None
    ) -> np.ndarray:
        """Return some rows of an array."""
        del buffer
        return self.arrays[name][rows]

    def place(self, name: str) -> tuple:
        """Return the name: in memory every order is as fast."""
        return (name,)

    def expect(self) -> None:
        """Do nothing."""


def find(folder: pathlib.Path) -> Weights:
    """Return the weights of a checkpoint directory.

    Raises:
        ValueError: there are none, a file is missing or damaged, or they are pickled.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder)
    if (folder / SINGLE).is_file():
        return safe.joined(folder / SINGLE, [folder / SINGLE])
    if (folder / MSGPACK).is_file():
        return Arrays(str(folder / MSGPACK), _flax(folder / MSGPACK))
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        return safe.joined(others[0], others)
    if len(others) > 1:
        raise ValueError(
            f"{folder} has {len(others)} safetensors files but no {INDEX}, which says "
            "what belongs together; download it, or keep the one file that is meant"
        )
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLED)
    if pickled:
        raise ValueError(
            f"{folder / pickled[0]} is pickled, so that loading it could run any code; "
            f"convert it where you trust it, {_conversion(folder)}, and copy the "
            "tokenizer's files there"
        )
    raise ValueError(
        f"{folder} has no weights; a checkpoint directory holds {SINGLE}, or {INDEX} "
        f"and its parts, or {MSGPACK}"
    )


def _conversion(folder: pathlib.Path) -> str:
    """Return the command that writes the folder's weights anew."""
    try:
        cls = json.loads((folder / "config.json").read_text())["architectures"][0]
    except (OSError, ValueError, LookupError, TypeError):
        cls = ""
    # The name goes into a command: one that is more than a name is not repeated.
    cls = cls if isinstance(cls, str) and cls.isidentifier() else "AutoModel"
    old, new = json.dumps(str(folder)), json.dumps(f"{folder}-safe")
    code = f"import transformers as t; t.{cls}.from_pretrained({old})"
    return f"python -c {shlex.quote(f'{code}.save_pretrained({new})')}"


def _weight_map(index: pathlib.Path) -> dict[str, str]:
    """Return {name of a tensor: name of its file} of an index."""
    try:
        chosen = json.loads(index.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{index} is not valid json ({error}); fetch it again"
        ) from None
    chosen = chosen.get("weight_map") if isinstance(chosen, dict) else None
    if not isinstance(chosen, dict) or not chosen:
        raise ValueError(
            f"{index} has no 'weight_map' that says which file holds a tensor; fetch "
            "it again"
        )
    for part in chosen.values():
        name = pathlib.PurePath(part) if isinstance(part, str) else None
        if name is None or name.name != part or name.suffix != _END:
            raise ValueError(
                f"{index} names {part!r}, which is no safetensors file of its folder; "
                "fetch it again"
            )
    return chosen


def _sharded(folder: pathlib.Path) -> safe.SafeTensors:
    index = folder / INDEX
    chosen = _weight_map(index)
    paths = [folder / name for name in sorted(set(chosen.values()))]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of {len(paths)} weight files that {INDEX} "
            f"names: {', '.join(missing)}; fetch them"
        )
    found = safe.joined(index, paths)
    absent = sorted(name for name, part in chosen.items()
                    if found.files.get(name) != folder / part)  # fmt: skip
    if absent:
        raise ValueError(
            f"{index} places {absent[0]} in {chosen[absent[0]]}, which does not hold "
            f"it ({len(absent)} such tensors); fetch both again"
        )
    return found


def _flax(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of a Flax file under the names of its torch twin.

    A kernel is the transpose of a weight; an embedding or a scale is one by name.
    Nothing but arrays is accepted.
    """
    from flax import serialization

    try:
        tree = serialization.msgpack_restore(path.read_bytes())
    except Exception as error:  # noqa: BLE001
        raise ValueError(
            f"{path} is damaged ({error!r:.120}); fetch it again"
        ) from None
    out: dict[str, np.ndarray] = {}
    left = [((), tree)]
    while left:
        parts, node = left.pop()
        if isinstance(node, dict):
            left += [((*parts, str(key)), value) for key, value in node.items()]
        else:
            name, x = _torch(path, parts, node)
            out[name] = x
    return out


def _torch(path: pathlib.Path, parts: tuple, node) -> tuple[str, np.ndarray]:
    """Return the name and the array of the torch twin."""
    inside, last = parts[:-1], "".join(parts[-1:])
    numbers = isinstance(node, np.ndarray) and (
        node.dtype.kind in "fiub" or node.dtype == ml_dtypes.bfloat16
    )
    if not numbers:
        kind = node.dtype if isinstance(node, np.ndarray) else type(node).__name__
        raise ValueError(
            f"{path}: {'/'.join(parts) or 'the file'} is no array of numbers but "
            f"{kind}; only arrays are read: fetch the file again"
        )
    if last == "kernel":
        node = node.T
    if last in ("kernel", "embedding", "scale"):
        last = "weight"
    return ".".join((*inside, last)), node
