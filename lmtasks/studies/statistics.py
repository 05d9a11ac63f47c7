"""Whether one system is better than another on the same examples.

A system is one array float64[n, k] a seed: the numbers of its n examples whose sums
give a score (`metrics.sums`). Its score is the mean over its seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
from scipy import stats

from lmtasks.metrics import forms

# sacrebleu's, so that its paired bootstrap draws the same resamples.
SEED = 12345
RESAMPLES = 10_000
# Draws held in memory at a time, and kept.
_AT_ONCE = 4_000_000
_KEPT = 20_000_000
# Two-sided 5% and a power of 80%.
_DETECTED = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
# Of a score, below which two are the same.
_ROUNDING = 1e-12

System = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Paired:
    """What is known of score(b) - score(a).

    Attributes:
        a, b: the scores. difference: b - a.
        low, high: its 95% interval: the bootstrap's over examples, with what the seeds
            scatter where there are several.
        p: two-sided, by approximate randomization over examples: whether these models
            differ.
        p_bootstrap: the same question by the paired bootstrap.
        p_exact: McNemar's, of scores that are right or wrong with one seed; else None.
        p_seeds: whether the recipes differ: a t-test over seeds, paired where both
            have the same; None with fewer than two.
        smallest: the difference that this test set shows in four of five tries.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_bootstrap: float
    p_exact: float | None
    p_seeds: float | None
    smallest: float


def resamples(n: int, count: int, seed: int = SEED) -> Iterable[np.ndarray]:
    """Return blocks int64[., n] of `count` rows in all: how often a resample of n
    examples holds each. What is small is kept for the next score.
    """
    return _kept(n, count, seed) if n * count <= _KEPT else _drawn(n, count, seed)


@functools.lru_cache(maxsize=2)
def _kept(n: int, count: int, seed: int) -> tuple[np.ndarray, ...]:
    # As products read them: a float32 holds counts exactly.
    return tuple(block.astype(np.float32) for block in _drawn(n, count, seed))


def _drawn(n: int, count: int, seed: int) -> Iterator[np.ndarray]:
    rng, left = np.random.default_rng(seed), count
    while left:
        rows = min(left, max(_AT_ONCE // n, 1))
        drawn = rng.choice(n, size=(rows, n), replace=True)
        drawn += n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        left -= rows


def bootstrap(
    systems: Sequence[np.ndarray], form: str, count: int, seed: int = SEED
) -> np.ndarray:
    """Return float64[systems, count], the score of each on the same resamples."""
    n, sizes = len(systems[0]), [x.shape[1] for x in systems]
    side_by_side = _narrow(np.concatenate(systems, axis=1))
    blocks = []
    for counts in resamples(n, count, seed):
        totals = counts.astype(side_by_side.dtype) @ side_by_side
        totals = totals.astype(np.float64)
        parts = np.split(totals, np.cumsum(sizes)[:-1], axis=1)
        blocks.append([forms.score(form, part) for part in parts])
    return np.concatenate(blocks, axis=1)


def _narrow(x: np.ndarray) -> np.ndarray:
    """Return float32 where it holds every sum exactly: counts that stay below 2^24."""
    # A resample may hold the largest example n times.
    most = len(x) * np.abs(x).max(initial=0)
    whole = most < 2**24 and np.array_equal(x, np.round(x))
    return x.astype(np.float32) if whole else x


def randomized(
    a: np.ndarray, b: np.ndarray, form: str, count: int, seed: int = SEED
) -> np.ndarray:
    """Return float64[2, count]: the scores of two systems that took examples from
    either by chance (Riezler and Maxwell, 2005).

    Args:
        a, b: [n, seeds, k] of each; an example is exchanged with all its seeds.
    """
    n = len(a)
    flat = [x.reshape(n, -1) for x in (a, b)]
    both, change = (flat[0] + flat[1]).sum(0), _narrow(flat[0] - flat[1])
    base, blocks = flat[1].sum(0), []
    for taken in _exchanges(n, count, seed):
        first = base + (taken.astype(change.dtype) @ change).astype(np.float64)
        shaped = [x.reshape(len(x), *a.shape[1:]) for x in (first, both - first)]
        blocks.append([forms.score(form, x).mean(-1) for x in shaped])
    return np.concatenate(blocks, axis=1)


def _exchanges(n: int, count: int, seed: int) -> Iterable[np.ndarray]:
    """Return blocks of `count` rows in all: which of n examples are exchanged."""
    if n * count <= _KEPT:
        return _kept_exchanges(n, count, seed)
    return _drawn_exchanges(n, count, seed)


@functools.lru_cache(maxsize=2)
def _kept_exchanges(n: int, count: int, seed: int) -> tuple[np.ndarray, ...]:
    drawn = _drawn_exchanges(n, count, seed)
    return tuple(block.astype(np.float32) for block in drawn)


def _drawn_exchanges(n: int, count: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while count:
        rows = min(count, max(_AT_ONCE // n, 1))
        yield rng.integers(2, size=(rows, n), dtype=bool)
        count -= rows


def p_value(chance: np.ndarray, seen: float) -> float:
    """Return how often chance goes beyond what is seen; never 0.

    Rounding does not count: what is equal but for 1e-9 of it is equal.
    """
    beyond = np.sum(chance > abs(seen) + 1e-9 * max(abs(seen), 1e-3))
    return float((beyond + 1) / (len(chance) + 1))


def compare(
    a: System,
    b: System,
    form: str,
    *,
    count: int = RESAMPLES,
    seed: int = SEED,
    paired_seeds: bool = False,
) -> Paired:
    """Return what two systems' numbers on the same examples say.

    Args:
        a, b: [n, k] for each seed of each.
        form: of the score.
        count: resamples. seed: of their draws.
        paired_seeds: the seeds of both are the same, in the same order.
    """
    each = [[float(forms.score(form, x.sum(0))) for x in side] for side in (a, b)]
    mean_a, mean_b = (float(np.mean(side)) for side in each)
    difference = mean_b - mean_a
    drawn = bootstrap([*a, *b], form, count, seed)
    scores = [drawn[: len(a)], drawn[len(a) :]]
    changes = scores[1].mean(0) - scores[0].mean(0)
    absolute = np.abs(changes)
    low, high = _interval(each, scores, paired_seeds)
    return Paired(
        mean_a,
        mean_b,
        difference,
        low,
        high,
        _chance(a, b, form, difference, count, seed),
        p_value(absolute - absolute.mean(), difference),
        _exact(a, b, form),
        _between_seeds(*each, paired_seeds),
        float(_DETECTED * changes.std(ddof=1)),
    )


def _chance(a, b, form, difference, count, seed) -> float:
    """Return the p-value of approximate randomization."""
    size = math.lcm(len(a), len(b))  # unequal numbers of seeds: each as often
    shaped = [
        np.stack([side[i % len(side)] for i in range(size)], axis=1) for side in (a, b)
    ]
    first, second = randomized(*shaped, form, count, seed)
    # "As far as seen" is what counts against a difference, and chance reaches it often
    # where scores are counts.
    far = np.abs(first - second) >= abs(difference) - 1e-9 * max(abs(difference), 1e-3)
    return float((far.sum() + 1) / (count + 1))


def _interval(each, drawn, paired: bool) -> tuple[float, float]:
    """Return the 95% interval of the difference of means.

    Of one seed a side, percentiles over resampled examples. Of more, half its width is
    the root of two squares (Graybill and Wang, 1980): that of an interval over examples,
    and that of a t-interval over seeds without the variance that the first holds
    already; and at least that of the t-interval alone. Resampling three seeds would
    leave a third of their variance out.

    Args:
        each: the scores of the seeds of a and of b.
        drawn: float64[seeds, count] of each, on resampled examples.
        paired: both have the same seeds.
    """
    changes = drawn[1].mean(0) - drawn[0].mean(0)
    if max(map(len, each)) == 1:
        low, high = np.percentile(changes, (2.5, 97.5))
        return float(low), float(high)
    middle = np.mean(each[1]) - np.mean(each[0])
    if paired:
        each, drawn = [np.subtract(each[1], each[0])], [drawn[1] - drawn[0]]
    seeds = owns = unsure = 0.0
    for scores, resampled in zip(each, drawn, strict=True):
        n = len(scores)
        if n > 1:
            own = float(np.var(scores, ddof=1)) / n
            alone = resampled.var(axis=1, ddof=1).mean()
            both = (alone - resampled.mean(0).var(ddof=1)) / (n - 1)
            seeds += own - max(float(both), 0.0)
            owns, unsure = owns + own, unsure + own**2 / (n - 1)
    # Welch's degrees of freedom; where all seeds say the same there is nothing to add.
    t = float(stats.t.ppf(0.975, owns**2 / unsure)) if unsure else 0.0
    over_examples = float(stats.norm.ppf(0.975) * changes.std(ddof=1))
    both = math.hypot(over_examples, t * math.sqrt(max(seeds, 0.0)))
    half = max(both, t * math.sqrt(owns))
    return float(middle - half), float(middle + half)


def _between_seeds(a: list[float], b: list[float], paired: bool) -> float | None:
    """Return the p-value of a t-test over seeds (Welch's, where they differ)."""
    if min(len(a), len(b)) < 2:
        return None
    spread = np.ptp(np.subtract(b, a)) if paired else max(np.ptp(a), np.ptp(b))
    if spread < _ROUNDING:  # every seed says the same
        return float(abs(np.mean(a) - np.mean(b)) < _ROUNDING)
    if paired:
        return float(stats.ttest_rel(a, b).pvalue)
    # From moments: of seeds that say the same on one side scipy would warn.
    moments = [f(x) for x in (a, b) for f in (np.mean, _deviation, len)]
    return float(stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def _deviation(x: list[float]) -> float:
    return float(np.std(x, ddof=1))


def _exact(a: System, b: System, form: str) -> float | None:
    """Return McNemar's exact p-value where an answer is right or wrong."""
    if form != "ratio" or len(a) != 1 or len(b) != 1:
        return None
    right = [side[0][:, 0] for side in (a, b)]
    if not all(np.isin(x, (0, 1)).all() and (s[0][:, 1] == 1).all()
               for x, s in zip(right, (a, b), strict=True)):  # fmt: skip
        return None
    only = [int(np.sum(right[i] > right[1 - i])) for i in (0, 1)]
    return mcnemar(*only)


def mcnemar(b: int, c: int) -> float:
    """Return the exact two-sided p-value of b and c examples that only one system has
    right (McNemar, 1947).

    >>> round(mcnemar(5, 15), 7)
    0.0413895
    """
    return float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are (Holm, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values)
    steps = [values[i] * (len(values) - rank) for rank, i in enumerate(order)]
    out = np.empty(len(values))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if steps else []
    return [float(x) for x in out]
