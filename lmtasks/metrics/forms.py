"""Scores as functions of sums over examples, so that any resample has its score.

Most metrics are means of one number an example; BLEU, F1 of entities, macro F1 or
correlations are not, but each is a function of sums of a few numbers an example. The
numbers of all examples, [n, k], times how often a resample holds each of them give the
score of thousands of resamples by one matrix product.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Sums:
    """One score, taken apart.

    Attributes:
        form: a name of FORMS.
        rows: for each example its numbers; of the forms of LABELS [right, said], names
            of classes, said None where the answer named none.
    """

    form: str
    rows: Sequence[Sequence]


def score(form: str, totals: np.ndarray) -> np.ndarray:
    """Return float64[...], the score of each row of sums float64[..., k]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return FORMS[form](totals)


def arrays(parts: Sequence[Sums]) -> list[np.ndarray]:
    """Return float64[n, k] of each of the same score on several systems."""
    if parts[0].form not in LABELS:
        return [np.asarray(part.rows, np.float64) for part in parts]
    names = sorted({name for p in parts for row in p.rows for name in row} - {None})
    code = {name: i for i, name in enumerate(names)} | {None: len(names)}
    return [_one_hot(part.rows, code) for part in parts]


def _one_hot(rows, code: dict) -> np.ndarray:
    """Return [n, 3 K]: whether class c is right and said, right, said."""
    gold, said = (np.array([code[row[i]] for row in rows]) for i in (0, 1))
    classes = np.arange(len(code))
    gold, said = gold[:, None] == classes, said[:, None] == classes
    return np.concatenate([gold & said, gold, said], axis=1).astype(np.float64)


def _ratio(t):
    return np.where(t[..., 1] > 0, t[..., 0] / t[..., 1], 0.0)


def _perplexity(t):
    return np.exp(np.minimum(_ratio(t), 700))


def _f1(t):
    both = t[..., 1] + t[..., 2]
    return np.where(both > 0, 2 * t[..., 0] / both, 0.0)


def _split(t):
    """Return (hits, right, said) [..., K] of the known classes and of none, apart."""
    hits, gold, said = np.split(t, 3, axis=-1)
    return hits[..., :-1], gold[..., :-1], said[..., :-1], said[..., -1]


def _each_f1(t):
    hits, gold, said, _ = _split(t)
    there = gold + said > 0
    return np.where(there, 2 * hits / (gold + said), 0.0), there, gold


def _f1_macro(t):
    each, there, _ = _each_f1(t)
    return each.sum(-1) / np.maximum(there.sum(-1), 1)


def _f1_weighted(t):
    each, _, gold = _each_f1(t)
    return (each * gold).sum(-1) / np.maximum(gold.sum(-1), 1)


def _f1_micro(t):
    hits, gold, said, _ = _split(t)
    both = (gold + said).sum(-1)
    return np.where(both > 0, 2 * hits.sum(-1) / both, 0.0)


def _matthews(t):
    """Gorodkin, 2004: the correlation of two assignments to K classes."""
    hits, gold, said, none = _split(t)
    n = gold.sum(-1)
    top = hits.sum(-1) * n - (gold * said).sum(-1)
    spread_said = n**2 - (said**2).sum(-1) - none**2
    bottom = np.sqrt(spread_said * (n**2 - (gold**2).sum(-1)))
    return np.where(bottom > 0, top / bottom, 0.0)


def _bleu(t):
    """Post, 2018, with sacrebleu's exponential smoothing."""
    length, right = t[..., 0], t[..., 1]
    correct, total = t[..., 2:6], t[..., 6:10]
    none = correct == 0
    smooth = 2.0 ** np.cumsum(none & (total > 0), axis=-1)
    precision = np.where(none, 1 / smooth, correct) / total
    # sacrebleu takes the log of 0 for -9999999999: an order without any makes 0.
    logs = np.where(total > 0, np.log(precision), -1e10).mean(-1)
    brevity = np.where(length < right, np.exp(1 - right / length), 1.0)
    return np.where(correct.any(-1), 100 * brevity * np.exp(logs), 0.0)


def _chrf(t):
    """Popovic, 2015: beta 2, the mean over the orders that both sides have."""
    said, gold, match = t[..., 0::3], t[..., 1::3], t[..., 2::3]
    there = (said > 0) & (gold > 0)
    count = np.maximum(there.sum(-1), 1)
    precision = np.where(there, match / said, 0.0).sum(-1) / count
    recall = np.where(there, match / gold, 0.0).sum(-1) / count
    bottom = 4 * precision + recall
    return np.where(bottom > 0, 100 * 5 * precision * recall / bottom, 0.0)


def _ter(t):
    edits, length = t[..., 0], t[..., 1]
    return 100 * np.where(length > 0, edits / length, (edits > 0).astype(float))


def _pearson(t):
    n, x, y, xx, yy, xy = np.moveaxis(t, -1, 0)
    spread = (n * xx - x**2) * (n * yy - y**2)
    return np.where(spread > 1e-12, (n * xy - x * y) / np.sqrt(spread), 0.0)


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ratio": _ratio,
    "perplexity": _perplexity,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "f1_micro": _f1_micro,
    "f1_weighted": _f1_weighted,
    "mcc": _matthews,
    "bleu": _bleu,
    "chrf": _chrf,
    "ter": _ter,
    "pearson": _pearson,
}
# Forms whose rows are (right, said) names of classes.
LABELS = ("f1_macro", "f1_micro", "f1_weighted", "mcc")
# Scores of which less is better.
LESS = (
    "loss",
    "perplexity",
    "ngram_perplexity",
    "ter",
    "mse",
    "mae",
    "brier",
    "bits_per_byte",
)
