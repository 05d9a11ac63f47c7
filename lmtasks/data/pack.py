"""Rows of fixed length: padded, packed by a plan, or cut from a token stream."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from lmtasks.data import features as feats
from lmtasks.types import BATCH_KEYS
from lmtasks.types import EMPTY
from lmtasks.types import Features

# How many unfilled bins first-fit looks at; older ones are nearly full.
OPEN_BINS = 1024


def plan(
    sizes: np.ndarray, capacity: Sequence[int], *, most: int = 1 << 30
) -> list[list[int]]:
    """Return bins of row indices whose sizes fit the capacity in every dimension.

    First-fit decreasing: largest first, each into the oldest open bin with room.

        sizes (tokens) 5 3 3 2, capacity 8  ->  [[0, 1], [2, 3]]

    Args:
        sizes: int64[n, k], k sizes of each row (tokens, source tokens, ...).
        capacity: k capacities of a bin.
        most: the largest number of rows in a bin.
    """
    capacity = np.asarray(capacity, np.int64)
    order = np.lexsort((np.arange(len(sizes)), -sizes.max(axis=1)))
    bins: list[list[int]] = []
    room = np.zeros((0, len(capacity)), np.int64)
    open_bins = np.zeros(0, np.int64)
    for i in order:
        size = sizes[i]
        fits = np.flatnonzero((room >= size).all(axis=1))
        if len(fits):
            k = fits[0]
            bins[open_bins[k]].append(int(i))
            room[k] -= size
            if len(bins[open_bins[k]]) >= most or room[k][0] == 0:
                room, open_bins = np.delete(room, k, 0), np.delete(open_bins, k)
            continue
        bins.append([int(i)])
        if most == 1:
            continue
        room = np.vstack([room, capacity - size])[-OPEN_BINS:]
        open_bins = np.append(open_bins, len(bins) - 1)[-OPEN_BINS:]
    return bins


def join(rows: Sequence[Features]) -> Features:
    """Return the rows side by side, each a segment of its own, numbered from 1.

    rows a b | x y z   ->   tokens    a b x y z
                            segments  1 1 2 2 2
                            positions 0 1 0 1 2
    """
    keys = rows[0].keys()
    out = {k: np.concatenate([row[k] for row in rows]) for k in keys}
    for prefix, key in (("", "tokens"), ("source_", "source")):
        if key in out:
            lengths = [len(row[key]) for row in rows]
            numbers = np.arange(1, len(rows) + 1, dtype=np.int32)
            out[f"{prefix}segments"] = np.repeat(numbers, lengths)
    return out


class PaddedRows:
    """One piece a row; `sizes` lets a batch choose the bucket it is padded to."""

    def __init__(self, pieces: feats.Pieces, varied: feats.Varied | None = None):
        self.pieces, self.varied = pieces, varied or feats.Varied(pieces)
        self.fingerprint = pieces.fingerprint
        self.weighted = int(pieces.weighted.max(initial=1))
        sizes = (pieces.tokens, pieces.sources)
        self.widest = tuple(int(size.max(initial=1)) for size in sizes)

    def __len__(self):
        return len(self.pieces)

    def row(self, epoch: int, i: int) -> Features:
        """Return row i of an epoch."""
        return self.varied(epoch, i)

    def size(self, i: int) -> tuple[int, int]:
        """Return (tokens, source tokens) of row i."""
        return int(self.pieces.tokens[i]), int(self.pieces.sources[i])

    def examples(self, epoch: int, i: int) -> list[int]:
        """Return the indices of the examples in row i."""
        return [self.pieces[i].example]


class PackedRows:
    """Several pieces a row, by a plan made once.

    `widest` is the most tokens and source tokens in any row: an encoder-decoder's
    short labels do not fill a target row before its source row is full.
    """

    def __init__(
        self,
        pieces: feats.Pieces,
        length: int,
        source_length: int,
        varied: feats.Varied | None = None,
    ):
        self.varied = varied or feats.Varied(pieces)
        sizes = np.stack([pieces.tokens, pieces.sources, pieces.weighted], axis=1)
        # Twice the mean bounds what is gathered before the head, and closes no bin
        # early: a quarter above it left SST-2's rows 93% full instead of 99%.
        density = pieces.weighted.sum() / max(pieces.tokens.sum(), 1)
        most = max(int(pieces.weighted.max(initial=1)), int(2 * density * length) + 1)
        self.bins = plan(sizes, (length, source_length, most))
        self.pieces = pieces
        loads = [sum(int(pieces.weighted[i]) for i in bin) for bin in self.bins]
        self.weighted = max(loads, default=1)
        self.length = length
        filled = [self.size(i) for i in range(len(self.bins))]
        self.widest = tuple(max((n[k] for n in filled), default=1) for k in (0, 1))
        self.fingerprint = feats.fingerprint(pieces.fingerprint, length, source_length)

    def __len__(self):
        return len(self.bins)

    def row(self, epoch: int, i: int) -> Features:
        """Return bin i of an epoch, joined."""
        return join([self.varied(epoch, k) for k in self.bins[i]])

    def size(self, i: int) -> tuple[int, int]:
        """Return (tokens, source tokens) of bin i."""
        return tuple(
            int(sum(sizes[k] for k in self.bins[i]))
            for sizes in (self.pieces.tokens, self.pieces.sources)
        )

    def examples(self, epoch: int, i: int) -> list[int]:
        """Return the indices of the examples in bin i."""
        return [self.pieces[k].example for k in self.bins[i]]

    @property
    def fill(self) -> float:
        """Return the fraction of slots, source slots included, that hold a token."""
        held = int(self.pieces.tokens.sum() + self.pieces.sources.sum())
        width = sum(self.widest) if self.widest[1] else self.length
        return held / max(len(self) * width, 1)


class StreamRows:
    """Rows of T cut from all documents one after another, kept apart by segments.

    Each epoch cuts at another offset, so that rows differ between epochs; what lies
    before the first row and after the last, T to 2T - 1 tokens together, is left out
    of that epoch.

        stream ^ a b c $ ^ d e $, T = 3, offset 3:
            tokens c $ ^ | targets $ ^ d | weights 1 0 1 | segments 1 1 2 | positions 0 1 0
    """

    def __init__(self, stream, begins, *, length: int, seed: int, key, numbers=None):
        self.stream, self.begins = stream, begins
        self.numbers = range(len(begins)) if numbers is None else numbers
        self.length, self.seed = length, seed
        self.weighted, self.widest = length, (length, 0)
        rows = (len(self.stream) - 1) // length - 1
        if rows < 1:
            raise ValueError(
                f"the training text has {len(self.stream)} tokens, too few for one row "
                f"of data.length={length}; bring more text or lower data.length"
            )
        self._rows = rows
        self.fingerprint = feats.fingerprint(key, length, seed, len(self.stream))

    def __len__(self):
        return self._rows

    def _offset(self, epoch):
        return _offset(self.seed, epoch, self.length)

    def row(self, epoch: int, i: int) -> Features:
        """Return row i of an epoch."""
        at = self._offset(epoch) + i * self.length
        ids = np.asarray(self.stream[at : at + self.length + 1], np.int32)
        here = np.arange(at, at + self.length)
        document = np.searchsorted(self.begins, here, side="right") - 1
        following = np.searchsorted(self.begins, here + 1, side="right") - 1
        return {
            "tokens": ids[:-1],
            "positions": (here - np.maximum(self.begins[document], at)).astype(
                np.int32
            ),
            "segments": (document - document[0] + 1).astype(np.int32),
            "targets": ids[1:],
            # A document's last token does not predict the next document's first.
            "weights": (document == following).astype(np.float32),
        }

    def size(self, i: int) -> tuple[int, int]:
        """Return (T, 0)."""
        return self.length, 0

    def examples(self, epoch: int, i: int) -> list[int]:
        """Return the indices of the documents in row i."""
        at = self._offset(epoch) + i * self.length
        ends = np.searchsorted(self.begins, [at, at + self.length - 1], side="right")
        return list(self.numbers[int(ends[0]) - 1 : int(ends[1])])


@functools.lru_cache(8)
def _offset(seed: int, epoch: int, length: int) -> int:
    return int(np.random.default_rng((seed, epoch)).integers(length))


def concatenate(documents, start: int | None):
    """Return (int32 stream, int64 first index of each document)."""
    head = np.zeros(0, np.int32) if start is None else np.asarray([start], np.int32)
    parts, begins, at = [], [], 0
    for ids in documents:
        parts += [head, ids]
        begins.append(at)
        at += len(head) + len(ids)
    stream = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    return stream, np.asarray(begins, np.int64)


def stack(
    rows: Sequence[Features], length: int, source_length: int, gathered: int
) -> dict[str, np.ndarray]:
    """Return rows stacked and padded: [B, T] and [B, S] arrays.

    Args:
        rows: ragged rows with the same keys.
        length: T. source_length: S.
        gathered: A, adds "at" with the positions of weight; 0 = leave it out.
    """
    out = {}
    for key in rows[0]:
        width = source_length if key.startswith("source") else length
        dtype = {"f": np.float32, "b": np.bool_}.get(BATCH_KEYS[key][0][0], np.int32)
        first = rows[0][key]
        if key == "targets":  # numbers or several labels a position are the objective's
            dtype = np.float32 if first.dtype.kind == "f" else dtype
        shape = (len(rows), width, *first.shape[1:])
        array = np.full(shape, EMPTY.get(key, 0), dtype)
        for i, row in enumerate(rows):
            array[i, : len(row[key])] = row[key]
        out[key] = array
    if gathered:
        at = np.full((len(rows), gathered), length, np.int32)
        for i, row in enumerate(rows):
            places = np.flatnonzero(row["weights"])
            at[i, : len(places)] = places
        out["at"] = at
    return out


@dataclasses.dataclass(frozen=True)
class Shape:
    """The static sizes batches are padded to.

    Attributes:
        buckets: ascending lengths for T. source_buckets: for S; () without source.
        gathered: A, 0 = no gathering.
    """

    buckets: tuple[int, ...]
    source_buckets: tuple[int, ...] = ()
    gathered: int = 0

    def of(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return the smallest (T, S) of the buckets that holds all sizes."""
        longest = [max(s[k] for s in sizes) for k in (0, 1)]
        pairs = zip((self.buckets, self.source_buckets or (0,)), longest, strict=True)
        return tuple(min([b for b in bs if b >= n], default=n) for bs, n in pairs)


def default_buckets(length: int) -> tuple[int, ...]:
    """Return 16, 32, 48, 64, 96, 128, ... up to the length: few shapes, little pad."""
    sizes = [s * f for f in (2**k for k in range(20)) for s in (16, 24)]
    return tuple(sorted({s for s in sizes if s < length} | {length}))
