"""How a tensor of a checkpoint holds one of our arrays, or several side by side.

A layout lists their dims in the letters of ours; brackets join letters to one dim.

    "(N H) D"          a projection stored [out, in]; ours is [D, N, H]
    "D (3 N H)"        GPT-2: query, key and value one after another
    "(N 3 H) D"        BLOOM, GPT-NeoX: the same head by head
    "((N+K+K) H) D"    Phi-3: parts of different sizes
    "(N H/2 2) D"      Meta's Llama: the two of a rotary pair stand together

A number counts arrays, in the order in which the table names them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

# Logical axis -> letter. Norms of all heads together have one axis for N * H.
LETTERS = {
    "embed": "D", "embed_in": "E", "embed_out": "O", "heads": "N", "kv_heads": "K",
    "head": "H", "mlp": "F", "vocab": "V", "positions": "P", "types": "Y",
    "buckets": "R", "classes": "C",
}  # fmt: skip
_DIM = re.compile(r"\(((?:\([^)]*\)|[^()])*)\)|(\S+)")
STRAIGHT = 16
_HALF, _TWO = "H/2", "H%2"


@dataclasses.dataclass(frozen=True)
class Window:
    """Some rows of a tensor, and what of ours they hold.

    Attributes:
        rows: of the tensor's first dim.
        dims: shape the rows are unfolded to.
        parts: (view of our array, index into the unfolded rows).
    """

    rows: slice
    dims: tuple[int, ...]
    parts: tuple[tuple[np.ndarray, tuple], ...]


def letters_of(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the letters of logical axes: ("embed", "heads", "head") -> D N H."""
    return tuple(LETTERS[axis] for axis in axes)


def parse(layout: str) -> list[list]:
    """Return their dims, each a list of letters, counts and tuples of letters.

    Example: "((N+K+K) H) D" -> [[("N", "K", "K"), "H"], ["D"]].
    """
    dims = []
    for joined, single in _DIM.findall(layout):
        parts = re.findall(r"\([^)]*\)|\S+", joined or single)
        dims.append([_part(part, parts) for part in parts])
    return dims


def _part(text: str, beside: Sequence[str]):
    if text.startswith("("):
        return tuple(text.strip("()").split("+"))
    if text.isdigit():
        return _TWO if _HALF in beside else int(text)
    return text


def shape_of(layout: str, arrays: Sequence[tuple[tuple[str, ...], tuple]]) -> tuple:
    """Return the shape of their tensor.

    Args:
        layout: of the tensor.
        arrays: (letters, shape) of ours, in the table's order.
    """
    sizes = _sizes(arrays)
    return tuple(math.prod(_size(p, sizes) for p in dim) for dim in parse(layout))


def _sizes(arrays) -> dict[str, int]:
    sizes = {}
    for letters, shape in arrays:
        sizes |= dict(zip(letters, shape, strict=True))
    if "H" in sizes:
        sizes |= {_HALF: sizes["H"] // 2, _TWO: 2}
    if "K" in sizes:  # a layout of keys alone may say N
        sizes.setdefault("N", sizes["K"])
    return sizes


def _size(part, sizes: dict[str, int]) -> int:
    if isinstance(part, int):
        return part
    return sum(sizes[p] for p in part) if isinstance(part, tuple) else sizes[part]


def windows(
    layout: str, arrays: Sequence[tuple[tuple[str, ...], np.ndarray]], most: int
) -> Iterator[Window]:
    """Yield their tensor as windows of at most about `most` elements.

    Copying each window's rows into its views, or the views into the rows, moves every
    element once.

    Args:
        layout: of the tensor.
        arrays: (letters, array) of ours, in the table's order.
        most: elements of a window that is transposed; at least one row is taken.
    """
    dims = parse(layout)
    sizes = _sizes([(letters, x.shape) for letters, x in arrays])
    first, rest = dims[0], dims[1:]
    views = [
        _view(letters, x, [*itertools.chain(*dims)], i)
        for i, (letters, x) in enumerate(arrays)
    ]
    if all(view.strides[-1] == view.itemsize for view in views):
        most *= STRAIGHT  # nothing is transposed: only the number of calls counts
    if isinstance(first[0], str):
        yield from _blocks(first, rest, sizes, views, start=0, most=most)
        return
    start = 0
    for i, view in enumerate(views):
        own = first[1:] if isinstance(first[0], int) else [first[0][i], *first[1:]]
        yield from _blocks(own, rest, sizes, [view], start=start, most=most)
        start += math.prod(_size(p, sizes) for p in own)


def _blocks(first, rest, sizes, views, *, start: int, most: int) -> Iterator[Window]:
    """Yield the windows of a first dim that begins with a letter, or is one row."""
    inside = [_size(p, sizes) for p in [*first[1:], *itertools.chain(*rest)]]
    parts = [*first[1:], *itertools.chain(*rest)]
    rows = math.prod(_size(p, sizes) for p in first[1:])
    count = _size(first[0], sizes) if first else 1
    if len(first) > 1 and isinstance(first[1], str) and math.prod(inside) > most:
        for i in range(count):
            own = [view[i] for view in views]
            at = start + i * rows
            yield from _blocks(first[1:], rest, sizes, own, start=at, most=most)
        return
    step = max(most // max(math.prod(inside), 1), 1)
    for i in range(0, count, step):
        n = min(step, count - i)
        lead = (n,) if first else ()
        own = tuple(
            (view[i : i + n] if first else view, index)
            for view, index in zip(views, _indices(parts, sizes, first), strict=False)
        )
        where = slice(start + i * rows, start + (i + n) * rows)
        yield Window(where, (*lead, *inside), own)


def _indices(parts, sizes, first) -> Iterator[tuple]:
    """Yield the index of each array into the unfolded rows."""
    lead = 1 if first else 0
    for k, part in enumerate(parts):
        before = (slice(None),) * (lead + k)
        if isinstance(part, int):
            yield from ((*before, i) for i in range(part))
            return
        if isinstance(part, tuple):
            ends = [0, *itertools.accumulate(sizes[p] for p in part)]
            yield from ((*before, slice(*pair)) for pair in itertools.pairwise(ends))
            return
    yield ()


def _view(letters, x: np.ndarray, parts: list, number: int) -> np.ndarray:
    """Return our array with its dims in the order of their layout."""
    names = list(letters)
    if _HALF in parts:
        at = names.index("H")
        x = x.reshape(*x.shape[:at], 2, x.shape[at] // 2, *x.shape[at + 1 :])
        names[at : at + 1] = [_TWO, _HALF]
    wanted = [p[number] if isinstance(p, tuple) else p for p in parts]
    wanted = [p for p in wanted if not isinstance(p, int)]
    wanted = ["K" if p == "N" and "N" not in names else p for p in wanted]
    return x.transpose([names.index(p) for p in wanted])
