"""Safetensors files, read a few rows at a time."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import safetensors

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8,
    "BOOL": np.bool_,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SafeTensors:
    """One or several safetensors files.

    Attributes:
        where: how a message names them.
        files: name of a tensor -> its file. starts: -> its first byte there.
        shapes, dtypes: of the tensors.
    """

    where: str
    files: Mapping[str, pathlib.Path]
    starts: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype]

    def rows(
        self, name: str, rows: slice, buffer: np.ndarray | None = None
    ) -> np.ndarray:
        """Return some rows of a tensor; in `buffer`, bytes that are used again, if it
        is large enough.

        They are read, not mapped: the library's map of a file faults in page by page
        at a fifth of the speed, and what it has read stays in memory with it.
        """
        shape, dtype = self.shapes[name], self.dtypes[name]
        first, last, _ = rows.indices(shape[0])
        row, count = math.prod(shape[1:]) * dtype.itemsize, max(last - first, 0)
        if buffer is None or buffer.nbytes < count * row:
            buffer = np.empty(count * row, np.uint8)
        out = buffer[: count * row].view(dtype).reshape(count, *shape[1:])
        with open(self.files[name], "rb", buffering=0) as file:
            file.seek(self.starts[name] + first * row)
            got = file.readinto(out.reshape(-1).view(np.uint8)) if out.size else 0
        if got != out.nbytes:
            raise ValueError(
                f"{self.files[name]} ended while {name} was read; fetch it again"
            )
        return out

    def place(self, name: str) -> tuple:
        """Return where a tensor is, in the order in which files are read fastest."""
        return self.files[name], self.starts[name]

    def expect(self) -> None:
        """Have the system read the files ahead, while what is there is worked on."""
        for path in sorted(set(self.files.values())):
            with open(path, "rb") as file:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def joined(where: pathlib.Path, paths: list[pathlib.Path]) -> SafeTensors:
    """Return the tensors of files; the library checks each file's header and size.

    Raises:
        ValueError: a file is damaged, a pickle, or holds numbers of another type.
    """
    files, starts, shapes, dtypes = {}, {}, {}, {}
    for path in paths:
        _check(path)
        for name, about in _header(path).items():
            kind = about["dtype"]
            if kind not in _DTYPES:
                raise ValueError(
                    f"{path}: {name} is of type {kind}, which is not read; known: "
                    f"{', '.join(_DTYPES)}"
                )
            files[name], dtypes[name] = path, np.dtype(_DTYPES[kind])
            shapes[name], starts[name] = tuple(about["shape"]), about["start"]
    return SafeTensors(str(where), files, starts, shapes, dtypes)


def _check(path: pathlib.Path) -> None:
    """Raise ValueError unless the library opens the file."""
    try:
        with safetensors.safe_open(path, framework="np"):
            return
    except safetensors.SafetensorError as error:
        if _pickled(path):
            raise ValueError(
                f"{path} is a pickle by another name: loading it could run any code; "
                "fetch the safetensors file"
            ) from None
        raise ValueError(
            f"{path} is damaged or cut short ({error}); fetch it again"
        ) from None


def _header(path: pathlib.Path) -> dict[str, dict]:
    """Return {name: {dtype, shape, start}} of a file that is whole.

    The form: eight bytes with the header's length, a json header whose offsets count
    from its end, the numbers.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        found = json.loads(file.read(size))
    found.pop("__metadata__", None)
    return {
        name: {**about, "start": 8 + size + about["data_offsets"][0]}
        for name, about in found.items()
    }


def _pickled(path: pathlib.Path) -> bool:
    """Return whether a file begins as torch.save or pickle begins one."""
    with open(path, "rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] <= b"\x05")
