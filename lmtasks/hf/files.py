"""The weight files of a checkpoint directory, read a few rows at a time."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import safetensors

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8,
    "BOOL": np.bool_,
}  # fmt: skip
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MSGPACK = "flax_model.msgpack"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class Weights(typing.Protocol):
    """Named arrays that need not fit into memory together."""

    where: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype]

    def rows(self, name: str, rows: slice) -> np.ndarray:
        """Return some rows of an array."""


@dataclasses.dataclass(frozen=True)
class SafeTensors:
    """One or several safetensors files.

    Attributes:
        where: how a message names them.
        files: name of a tensor -> its file.
        shapes, dtypes: of the tensors.
    """

    where: str
    files: Mapping[str, pathlib.Path]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype]

    def rows(self, name: str, rows: slice) -> np.ndarray:
        """Return some rows of a tensor.

        The file is opened for each call: what a map of it has read stays in memory
        until it is closed.
        """
        rows = slice(*rows.indices(self.shapes[name][0])[:2])
        with _open(self.files[name]) as file:
            return file.get_slice(name)[rows]


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

    def rows(self, name: str, rows: slice) -> np.ndarray:
        """Return some rows of an array."""
        return self.arrays[name][rows]


def find(folder: pathlib.Path) -> Weights:
    """Return the weights of a checkpoint directory.

    Raises:
        ValueError: there are none, a file is missing or damaged, or they are pickled.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder)
    if (folder / SINGLE).is_file():
        return _joined(folder / SINGLE, [folder / SINGLE])
    if (folder / MSGPACK).is_file():
        return Arrays(str(folder / MSGPACK), _flax(folder / MSGPACK))
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        return _joined(others[0], others)
    if len(others) > 1:
        raise ValueError(
            f"{folder} has {len(others)} safetensors files but no {INDEX}, which says "
            "what belongs together; download it, or keep the one file that is meant"
        )
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLED)
    if pickled:
        raise ValueError(
            f"{folder / pickled[0]} is pickled: loading it could run any code. Convert "
            'it where you trust it: python -c "import transformers as t; '
            f"t.{_class_of(folder)}.from_pretrained('{folder}')"
            f".save_pretrained('{folder}-safe')\""
        )
    raise ValueError(
        f"{folder} has no weights; a checkpoint directory holds {SINGLE}, or {INDEX} "
        f"and its parts, or {MSGPACK}"
    )


def _class_of(folder: pathlib.Path) -> str:
    try:
        return json.loads((folder / "config.json").read_text())["architectures"][0]
    except (OSError, ValueError, LookupError, TypeError):
        return "AutoModel"


def _open(path: pathlib.Path):
    """Return the opened file; a damaged one raises ValueError."""
    try:
        return safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or cut short ({error}); fetch it again"
        ) from None


def _joined(where: pathlib.Path, paths: list[pathlib.Path]) -> SafeTensors:
    files, shapes, dtypes = {}, {}, {}
    for path in paths:
        with _open(path) as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                kind = part.get_dtype()
                if kind not in _DTYPES:
                    raise ValueError(
                        f"{path}: {name} is of type {kind}, which is not read; known: "
                        f"{', '.join(_DTYPES)}"
                    )
                files[name], dtypes[name] = path, np.dtype(_DTYPES[kind])
                shapes[name] = tuple(part.get_shape())
    return SafeTensors(str(where), files, shapes, dtypes)


def _sharded(folder: pathlib.Path) -> SafeTensors:
    index = folder / INDEX
    try:
        chosen = json.loads(index.read_text())["weight_map"]
        paths = [folder / name for name in sorted(set(chosen.values()))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error!r}); fetch it again") from None
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of {len(paths)} weight files that {INDEX} "
            f"names: {', '.join(missing)}; fetch them"
        )
    found = _joined(index, paths)
    absent = sorted(name for name, part in chosen.items()
                    if found.files.get(name) != folder / part)  # fmt: skip
    if absent:
        raise ValueError(
            f"{index} places {absent[0]} in {chosen[absent[0]]}, which does not hold it "
            f"({len(absent)} such tensors); fetch both again"
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

    def visit(node, parts):
        if isinstance(node, dict):
            for key, value in node.items():
                visit(value, (*parts, str(key)))
            return
        if not isinstance(node, np.ndarray) or node.dtype.kind not in "fiubV":
            raise ValueError(
                f"{path}: {'/'.join(parts)} is no array of numbers but "
                f"{type(node).__name__}; only arrays are read"
            )
        *inside, last = parts
        if last == "kernel":
            node = node.T
        if last in ("kernel", "embedding", "scale"):
            last = "weight"
        out[".".join((*inside, last))] = node

    visit(tree, ())
    return out
