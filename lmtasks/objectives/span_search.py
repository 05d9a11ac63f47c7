"""The best spans of start and end scores, exactly, in numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Found:
    """A part of a text: its characters from start to end, and its score."""

    start: int
    end: int
    score: float


def best_spans(
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    longest: int,
    count: int,
    allowed: np.ndarray | None = None,
) -> list[tuple[float, int, int]]:
    """Return up to `count` (score, first, last), best first.

    The score is starts[first] + ends[last], with last >= first; of equal ones the
    earlier, then the shorter comes first.

        starts 1 9 2, ends 8 0 3   ->   (12, 1, 2), not (17, 1, 0)

    Args:
        starts, ends: float[n].
        longest: most tokens of a span.
        allowed: bool[n], where a span may begin and end; None = anywhere.
    """
    n = len(starts)
    if n == 0:
        return []
    longest = min(longest, n)
    allowed = np.ones(n, bool) if allowed is None else allowed
    a = np.where(allowed, np.asarray(starts, np.float64), -np.inf)
    b = np.full(n + longest - 1, -np.inf)
    b[:n] = np.where(allowed, np.asarray(ends, np.float64), -np.inf)
    # [n, longest]: row i holds the ends i, i + 1, ... of spans that begin at i.
    pairs = np.lib.stride_tricks.sliding_window_view(b, longest)
    scores = (a[:, None] + pairs).reshape(-1)
    if count < scores.size:
        # All that equal the last one kept, so that ties do not depend on the sort.
        kept = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    else:
        kept = np.arange(scores.size)
    kept = kept[np.isfinite(scores[kept])]
    kept = kept[np.lexsort((kept, -scores[kept]))][:count]
    places = (divmod(int(i), longest) for i in kept)
    return [
        (float(scores[i]), first, first + more)
        for i, (first, more) in zip(kept, places, strict=True)
    ]


def merged(found: Iterable[Found], count: int) -> list[Found]:
    """Return the `count` best, each part of the text once with its best score."""
    best: dict[tuple[int, int], Found] = {}
    for one in found:
        known = best.get((one.start, one.end))
        if known is None or one.score > known.score:
            best[one.start, one.end] = one
    ranked = sorted(best.values(), key=lambda one: (-one.score, one.start, one.end))
    return ranked[:count]
