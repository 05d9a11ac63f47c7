"""Batches by position: the same global arrays for any number of hosts."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator

import grain
import numpy as np

from lmtasks.data import features as feats
from lmtasks.data import pack


class Rows(typing.Protocol):
    """Says which rows of a global batch a process reads."""

    def block(self, batch_size: int, key: str = "") -> slice | np.ndarray:
        """Return the rows; raise ValueError, naming `key`, where they do not divide."""
        ...


@dataclasses.dataclass(frozen=True)
class Host:
    """Which contiguous block of each global batch this process reads."""

    index: int = 0
    count: int = 1

    def block(self, batch_size: int, key: str = "train.batch_size") -> slice:
        """Return this process's rows of a global batch; `key` names its config key."""
        if batch_size % self.count:
            raise ValueError(
                f"{key}={batch_size} is not divisible by {self.count} "
                f"processes; use a multiple of {self.count}"
            )
        size = batch_size // self.count
        return slice(self.index * size, (self.index + 1) * size)


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Every row once an epoch, in an order that is arithmetic: nothing is stored."""

    count: int
    seed: int

    def place(self, position: int) -> tuple[int, int]:
        """Return (epoch, row) of a position among all that are ever read."""
        epoch, i = divmod(position, self.count)
        return epoch, self.row(epoch, i)

    def row(self, epoch: int, i: int) -> int:
        """Return the row at place i of an epoch."""
        if self.count == 1:
            return 0
        return grain.experimental.index_shuffle(
            i, max_index=self.count - 1, seed=_seed_of(self.seed, epoch), rounds=4
        )


@functools.lru_cache(8)
def _seed_of(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


class Grouped:
    """Every row once an epoch, shuffled so that batches hold rows of like length.

    Windows of 64 batches of a permutation are sorted by length, cut into batches, and
    the batches shuffled: little padding, still random company.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def place(self, position: int) -> tuple[int, int]:
        """Return (epoch, row) of a position among all that are ever read."""
        epoch, i = divmod(position, len(self.lengths))
        return epoch, self.row(epoch, i)

    def row(self, epoch: int, i: int) -> int:
        """Return the row at place i of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._permutation(epoch)
        return int(self._order[i])

    def _permutation(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.lengths))
        # The epoch before may have left a batch unfinished: that comes first.
        begun = -epoch * len(order) % self.batch_size
        out, window = [order[:begun]], 64 * self.batch_size
        for at in range(begun, len(order), window):
            part = order[at : at + window]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            groups = np.split(part, range(self.batch_size, len(part), self.batch_size))
            whole = [g for g in groups if len(g) == self.batch_size]
            out += [whole[i] for i in rng.permutation(len(whole))]
            out += [g for g in groups if len(g) < self.batch_size]
        return np.concatenate(out)


@dataclasses.dataclass(frozen=True)
class TrainData:
    """Endless shuffled batches; batch k is a pure function of (seed, k).

    Position p = k * batch_size + j reads the row `order.place(p)`, so resuming needs
    nothing but the step.

    Attributes:
        rows: padded, packed or streamed rows, or those of several data sets.
        order: which row comes when.
        batch_size: global rows a step. shape: static sizes.
        host: which rows this process reads: a block, or those of its devices.
    """

    rows: pack.PaddedRows | pack.PackedRows | pack.StreamRows
    order: Shuffled | Grouped
    batch_size: int
    shape: pack.Shape
    host: Rows = Host()

    def places(self, step: int) -> list[tuple[int, int]]:
        """Return (epoch, row) of each row of the global batch of a step."""
        first = step * self.batch_size
        positions = range(first, first + self.batch_size)
        return [self.order.place(position) for position in positions]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Return this process's block of the batch of a step."""
        places = self.places(step)
        length, source = self.shape.of([self.rows.size(i) for _, i in places])
        mine = np.arange(self.batch_size)[self.host.block(self.batch_size)]
        rows = [self.rows.row(*places[j]) for j in mine]
        return pack.stack(rows, length, source, self.shape.gathered)

    def example_ids(self, step: int) -> list[int]:
        """Return the indices of all examples in the global batch of a step."""
        return [k for place in self.places(step) for k in self.rows.examples(*place)]

    def batches(self, start: int, stop: int, *, threads: int = 2) -> Iterator[dict]:
        """Return the batches of steps start .. stop - 1, read ahead in threads."""
        steps = grain.MapDataset.range(start, stop).map(lambda k: self.batch(int(k)))
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=8)
        return iter(steps.to_iter_dataset(options))


def eval_batches(
    pieces: feats.Pieces,
    batch_size: int,
    shape: pack.Shape,
    host: Rows = Host(),
    only: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Return batches that hold every row once, sorted by length, never packed.

    The last batch is filled up with rows of `valid` 0; every host makes the same
    number of batches. Adds `valid`, `example` and `piece` [B]. `only`, int[n], are the
    rows that are meant, in rising order; None = all.
    """
    order = np.lexsort((np.arange(len(pieces)), pieces.tokens, pieces.sources))
    if only is not None:
        order = order[np.isin(order, only)]
    for at in range(0, len(order), batch_size):
        part = order[at : at + batch_size]
        missing = batch_size - len(part)
        chosen = np.concatenate([part, np.repeat(part[:1], missing)])
        sizes = [(int(pieces.tokens[i]), int(pieces.sources[i])) for i in part]
        length, source = shape.of(sizes)
        local = np.arange(batch_size)[host.block(batch_size, "eval.batch_size")]
        rows = [pieces[int(chosen[j])] for j in local]
        batch = pack.stack([r.features for r in rows], length, source, shape.gathered)
        batch["valid"] = (local < len(part)).astype(np.float32)
        batch["example"] = np.asarray([r.example for r in rows], np.int32)
        batch["piece"] = np.asarray([r.piece for r in rows], np.int32)
        yield batch
