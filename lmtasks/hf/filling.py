"""From the tensors of a checkpoint to our arrays, a few rows at a time."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Mapping
from concurrent import futures

import jax
import ml_dtypes
import numpy as np

from lmtasks.hf import files
from lmtasks.hf import layout
from lmtasks.hf import names
from lmtasks.hf import table

# Bytes of one read: small beside a large tensor, large beside a call.
_SLAB = 1 << 24
# Elements of one copy: rows that stay in the cache while they are transposed.
_WINDOW = 1 << 15
_THREADS = 2
_SHOWN = 3

Parameters = Mapping[str, names.Parameter]


def fill(
    found: names.Match,
    weights: files.Weights,
    parameters: Parameters,
    targets: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, jax.Array]:
    """Return {path: array} of all that is there, each made where it belongs."""

    def one(pair):
        return _read(*pair, weights, parameters, targets)

    out = {}
    weights.expect()
    ordered = sorted(found.there, key=lambda pair: weights.place(pair[1]))
    with futures.ThreadPoolExecutor(_THREADS) as pool:
        for arrays in pool.map(one, ordered):
            out |= arrays
    return out


def without_other_classes(
    found: names.Match, parameters: Parameters, weights: files.Weights
) -> names.Match:
    """Return the match without class heads for another number of classes."""
    there, fresh = [], list(found.fresh)
    for tensor, name in found.there:
        theirs, wanted = weights.shapes[name], _shape(tensor, parameters)
        if tensor.ours[0].startswith("top/out") and theirs[:1] != wanted[:1]:
            fresh += tensor.ours
        else:
            there.append((tensor, name))
    return dataclasses.replace(found, there=there, fresh=sorted(fresh))


def _shape(tensor: table.Tensor, parameters: Parameters) -> tuple[int, ...]:
    ours = [(parameters[p].letters, parameters[p].shape) for p in tensor.ours]
    return layout.shape_of(tensor.layout, ours)


def check(found: names.Match, parameters: Parameters, weights: files.Weights) -> None:
    """Raise ValueError for a tensor of another shape, one that holds no floating-point
    numbers, or a tied copy that differs.
    """
    _check_shapes(found, parameters, weights)
    _check_types(found, weights)
    _check_copies(found, weights)


def _check_shapes(found: names.Match, parameters, weights: files.Weights):
    wrong = [
        f"{name} is {list(weights.shapes[name])}, not {list(shape)}"
        for tensor, name in found.there
        if weights.shapes[name] != (shape := _shape(tensor, parameters))
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ValueError(
            f"{weights.where} does not fit its config.json: "
            f"{'; '.join(wrong[:_SHOWN])}{more}; take both from one checkpoint"
        )


def _check_types(found: names.Match, weights: files.Weights):
    for _, name in found.there:
        kind = weights.dtypes[name]
        if kind.kind != "f" and kind != ml_dtypes.bfloat16:
            raise ValueError(
                f"{weights.where}: {name} holds {kind}, not floating-point numbers; "
                "quantised checkpoints are not read: take the one it was made of"
            )


def _check_copies(found: names.Match, weights: files.Weights):
    for copy, first in found.copies:
        rows = weights.shapes[first][0] if weights.shapes[first] else 0
        same = weights.shapes[copy] == weights.shapes[first]
        step = max(_SLAB // max(_row_bytes(first, weights), 1), 1)
        for i in range(0, rows if same else 0, step):
            part = slice(i, i + step)
            same = same and np.array_equal(
                weights.rows(copy, part), weights.rows(first, part)
            )
        if not same:
            raise ValueError(
                f"{weights.where}: {copy} should be the same numbers as {first}, which "
                "config.json ties to it, and is not; set tie_word_embeddings to false "
                "there if the two were trained apart"
            )


def _row_bytes(name: str, weights: files.Weights) -> int:
    return math.prod(weights.shapes[name][1:]) * weights.dtypes[name].itemsize


def _read(tensor, name, weights, parameters, targets) -> dict[str, jax.Array]:
    """Return {path: array} of one tensor."""
    ours = [
        (parameters[path].letters, aligned(parameters[path].shape, targets[path].dtype))
        for path in tensor.ours
    ]
    row = max(_row_bytes(name, weights), 1)
    slab, start = weights.rows(name, slice(0, 0)), 0
    for window in layout.windows(tensor.layout, ours, _WINDOW):
        first, last = window.rows.start, window.rows.stop
        if last > start + len(slab) or first < start:
            start = first
            wanted = slice(first, max(last, first + _SLAB // row))
            slab = weights.rows(name, wanted, _buffer())
        part = slab[first - start : last - start].reshape(window.dims)
        for view, index in window.parts:
            view[...] = part[index]
    return {
        path: place(x, targets[path])
        for path, (_, x) in zip(tensor.ours, ours, strict=True)
    }


_THREAD = threading.local()


def _buffer() -> np.ndarray:
    """Return this thread's bytes for a read: new memory for each would cost as much as
    the read itself.
    """
    if not hasattr(_THREAD, "bytes"):
        _THREAD.bytes = np.empty(_SLAB, np.uint8)
    return _THREAD.bytes


def aligned(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Return an empty array that a CPU device takes over without a copy."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + size].view(dtype).reshape(shape)


def place(x: np.ndarray, target: jax.ShapeDtypeStruct) -> jax.Array:
    """Return the array on its devices, each with its part."""
    if target.sharding is None or len(target.sharding.device_set) == 1:
        return jax.device_put(x, target.sharding)
    return jax.make_array_from_callback(x.shape, target.sharding, lambda i: x[i])
