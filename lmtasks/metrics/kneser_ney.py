"""An n-gram model of tokens: the yardstick of every perplexity.

Interpolated Kneser-Ney smoothing with three discounts an order (Kneser and Ney, 1995;
Chen and Goodman, 1998), over the same ids that a neural model reads and predicts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Level:
    """Counts of one order k; contexts and n-grams are numbered by sorted keys.

    Attributes:
        contexts: int64[c], keys of contexts: number of the one a token shorter, times
            V + 1, plus the token on its left.
        grams: int64[g], keys of n-grams: number of the context, times V + 1, plus w.
        counts: float64[g], how often, or below the highest order after how many
            different tokens.
        totals: float64[c], sums of counts. held: float64[c], sums of discounts.
        discounts: of a count of 1, 2 and more.
    """

    contexts: np.ndarray
    grams: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    held: np.ndarray
    discounts: np.ndarray


class KneserNey:
    """A model of the tokens after the first of each text.

    Args:
        texts: of int[T]; the first token is what the others follow, never predicted.
        vocab: V; a token that no text has still gets a share of 1 / V.
        order: tokens of the longest n-gram, the predicted one included.

    Raises:
        ValueError: no text has a second token, or the order is below 1.
    """

    def __init__(self, texts: Iterable[np.ndarray], vocab: int, order: int = 5):
        if order < 1:
            raise ValueError(f"an n-gram has at least 1 token, not {order}")
        self.vocab, self.order, self._base = vocab, order, vocab + 1
        windows = [self._windows(text) for text in texts]
        seen = np.concatenate([np.zeros((0, order), np.int64), *windows])
        if not len(seen):
            raise ValueError("a Kneser-Ney model needs a text of at least two tokens")
        self.levels = self._levels(seen)

    def _windows(self, text) -> np.ndarray:
        """Return int64[T - 1, order]: each token and those before it, nearest first; V
        stands before a text.
        """
        text = np.asarray(text, np.int64)
        padded = np.concatenate([np.full(self.order, self.vocab), text])
        ends = np.arange(self.order + 1, len(padded))
        return padded[ends[:, None] - np.arange(self.order)]

    def _levels(self, seen) -> list[Level]:
        keys, numbers = [np.zeros(1, np.int64)], [np.zeros(len(seen), np.int64)]
        for k in range(1, self.order):
            own = numbers[-1] * self._base + seen[:, k]
            found, number = np.unique(own, return_inverse=True)
            keys.append(found)
            numbers.append(number)
        grams = numbers[-1] * self._base + seen[:, 0]
        grams, counts = np.unique(grams, return_counts=True)
        levels = [self._level(keys[-1], grams, counts)]
        for k in range(self.order - 2, -1, -1):
            # Each longer n-gram is one token before the same without its first.
            shorter = keys[k + 1][grams // self._base] // self._base
            grams = shorter * self._base + grams % self._base
            grams, counts = np.unique(grams, return_counts=True)
            levels.insert(0, self._level(keys[k], grams, counts))
        return levels

    def _level(self, contexts, grams, counts) -> Level:
        discounts = _discounts(counts)
        of, taken = grams // self._base, discounts[np.minimum(counts, 3) - 1]
        sums = lambda x: np.bincount(of, x, minlength=len(contexts))
        counts = counts.astype(np.float64)
        return Level(contexts, grams, counts, sums(counts), sums(taken), discounts)

    def nats(self, text: np.ndarray) -> np.ndarray:
        """Return float64[T - 1], -ln p of each token of int[T] after the first."""
        seen = self._windows(text)
        p = np.full(len(seen), 1 / self.vocab)
        number = np.zeros(len(seen), np.int64)
        for k, level in enumerate(self.levels):
            if k:
                number = self._find(level.contexts, number, seen[:, k])
            at = np.maximum(number, 0)
            gram = self._find(level.grams, number, seen[:, 0])
            count = np.where(gram >= 0, level.counts[gram], 0)
            # Of a count of 0 there is nothing to take.
            taken = np.append(0, level.discounts)[np.minimum(count, 3).astype(int)]
            mixed = (count - taken + level.held[at] * p) / level.totals[at]
            p = np.where(number >= 0, mixed, p)
        return -np.log(p)

    def _find(self, keys, number, token) -> np.ndarray:
        """Return where (number, token) stands in keys; -1 where it does not."""
        own = number * self._base + token
        at = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
        return np.where((number >= 0) & (keys[at] == own), at, -1)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Return what is taken off a count of 1, of 2 and of more (Chen and Goodman, 1998,
    equation 26); .5, 1 and 1.5 where too few texts tell.
    """
    n1, n2, n3, n4 = (np.count_nonzero(counts == i) for i in (1, 2, 3, 4))
    usual = np.array([0.5, 1.0, 1.5])
    if not (n1 and n2 and n3 and n4):
        return usual
    y = n1 / (n1 + 2 * n2)
    found = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    inside = (found > 0) & (found <= np.array([1, 2, 3]))
    return found if inside.all() else usual
