"""How often each of several data sets comes: rates, and the order that keeps them."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from lmtasks.data import features
from lmtasks.data import pipeline

# Positions in which every data set has exactly its share, none less than one.
CYCLE = 10_000


def rates_of(
    sizes: Sequence[int],
    *,
    given: Sequence[float] = (),
    temperature: float = 1.0,
    limit: int = 0,
) -> tuple[float, ...]:
    """Return the share of each data set; they sum to 1.

        sizes 900 100               ->  .9  .1
        with temperature 2          ->  .75 .25
        with a limit of 300         ->  .75 .25

    Args:
        sizes: rows of each.
        given: fixed shares, in any unit; () = by size.
        temperature: T of size^(1/T); 1 = proportional, more evens them out.
        limit: a size counts as so much at most, 0 = all (K of Raffel et al., 2020,
            arXiv:1910.10683, section 3.5.2).

    Raises:
        ValueError: not one positive share for each, or a temperature below 1.
    """
    if given and (len(given) != len(sizes) or min(given) <= 0):
        raise ValueError(
            f"mix.rates={tuple(given)!r} takes a positive share for each of the "
            f"{len(sizes)} tasks of mix.tasks"
        )
    if temperature < 1 or limit < 0:
        raise ValueError(
            f"mix.temperature={temperature} must be at least 1, and mix.limit={limit} "
            "at least 0"
        )
    weights = np.asarray(given or sizes, np.float64)
    if not given:
        weights = np.minimum(weights, limit or np.inf) ** (1 / temperature)
    return tuple((weights / weights.sum()).tolist())


@dataclasses.dataclass(frozen=True)
class Mixed:
    """Rows of several data sets, each in its own shuffled epochs, at their rates.

    A cycle of CYCLE positions holds each data set exactly as often as its rate says, in
    a shuffled order; which row comes at a position is arithmetic, nothing is stored.

    Attributes:
        sizes: rows of each data set; in all rows they stand one behind the other.
        rates: their shares. seed: of the orders.
    """

    sizes: tuple[int, ...]
    rates: tuple[float, ...]
    seed: int

    @functools.cached_property
    def quotas(self) -> tuple[int, ...]:
        """How often each comes in a cycle: the largest remainders are rounded up."""
        exact = np.asarray(self.rates) * CYCLE
        whole = np.maximum(np.floor(exact).astype(int), 1)
        rest = np.argsort(whole - exact, kind="stable")
        for i in itertools.cycle(rest):
            missing = CYCLE - int(whole.sum())
            if not missing:
                break
            largest = int(np.argmax(whole))
            whole[i if missing > 0 else largest] += np.sign(missing)
        return tuple(whole.tolist())

    def part(self, position: int) -> tuple[int, int]:
        """Return (data set, how often it came before) of a position."""
        cycle, at = divmod(position, CYCLE)
        parts, ranks = _cycle(self.quotas, self.seed, cycle)
        part = int(parts[at])
        return part, cycle * self.quotas[part] + int(ranks[at])

    def place(self, position: int) -> tuple[int, int]:
        """Return (epoch of the data set, row among all rows) of a position."""
        part, count = self.part(position)
        epoch, i = divmod(count, self.sizes[part])
        order = pipeline.Shuffled(self.sizes[part], self.seed + part)
        return epoch, sum(self.sizes[:part]) + order.row(epoch, i)

    def epochs(self, positions: int) -> list[float]:
        """Return how many epochs of each data set so many positions are."""
        pairs = zip(self.quotas, self.sizes, strict=True)
        return [positions * quota / CYCLE / size for quota, size in pairs]


@functools.lru_cache(maxsize=4)
def _cycle(quotas: tuple[int, ...], seed: int, cycle: int):
    """Return int64[CYCLE] twice: the data set of each position, and its rank there."""
    parts = np.repeat(np.arange(len(quotas)), quotas)
    parts = np.random.default_rng((seed, cycle)).permutation(parts)
    ranks = np.zeros(CYCLE, np.int64)
    for part in range(len(quotas)):
        there = np.flatnonzero(parts == part)
        ranks[there] = np.arange(len(there))
    return parts, ranks


class Joined:
    """The rows of several data sets, one behind the other; no row holds two of them."""

    def __init__(self, parts: Sequence, quotas: Sequence[int]):
        self.parts = list(parts)
        marks = [part.fingerprint for part in self.parts]
        self.fingerprint = features.fingerprint(marks, tuple(quotas))
        self.ends = list(itertools.accumulate(map(len, self.parts)))
        self.weighted = max(part.weighted for part in self.parts)
        self.widest = tuple(max(part.widest[k] for part in self.parts) for k in (0, 1))

    def __len__(self):
        return self.ends[-1]

    def _at(self, i: int):
        part = bisect.bisect_right(self.ends, i)
        return self.parts[part], i - (self.ends[part - 1] if part else 0)

    def row(self, epoch: int, i: int):
        """Return row i in an epoch of its data set."""
        part, i = self._at(i)
        return part.row(epoch, i)

    def size(self, i: int) -> tuple[int, int]:
        """Return (tokens, source tokens) of row i."""
        part, i = self._at(i)
        return part.size(i)

    def examples(self, epoch: int, i: int) -> list[tuple[int, int]]:
        """Return (data set, index of the example) of those in row i."""
        number = bisect.bisect_right(self.ends, i)
        part, i = self._at(i)
        return [(number, k) for k in part.examples(epoch, i)]
