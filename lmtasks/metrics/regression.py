"""Correlation and error of predicted numbers, the "label" of a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn import metrics

from lmtasks.data import examples
from lmtasks.metrics import inputs


def correlation(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"pearson", "spearman", "unparsed"}, the first two from -1 to 1.

    A prediction without a number takes the gold extreme that is farther from its
    gold value, so that it counts as wrong as an answer in range can be. Where all
    gold or all predicted numbers are equal there is no correlation: 0.
    """
    gold, said, unparsed = numbers(predictions, scored)
    values = {"pearson": 0.0, "spearman": 0.0, "unparsed": float(unparsed)}
    if np.ptp(gold) > 0 and np.ptp(said) > 0:
        values["pearson"] = float(stats.pearsonr(gold, said).statistic)
        values["spearman"] = float(stats.spearmanr(gold, said).statistic)
    return values


def error(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"mse", "mae"} in the units of the gold numbers, unparsed as above."""
    gold, said, _ = numbers(predictions, scored)
    return {
        "mse": float(metrics.mean_squared_error(gold, said)),
        "mae": float(metrics.mean_absolute_error(gold, said)),
    }


def numbers(predictions, scored) -> tuple[np.ndarray, np.ndarray, int]:
    """Return gold and predicted float64[N] and how many were not numbers."""
    pairs = list(inputs.labels(predictions, scored))
    gold = np.array([_gold(i, label) for i, (label, _) in enumerate(pairs)])
    said = np.array([_number(label) for _, label in pairs])
    missing = np.isnan(said)
    low, high = gold.min(), gold.max()
    farthest = np.where(gold - low > high - gold, low, high)
    return gold, np.where(missing, farthest, said), int(missing.sum())


def _number(label) -> float:
    """Return the number, nan for what is none (or is infinite)."""
    try:
        value = float(label)
    except (TypeError, ValueError):
        return np.nan
    return value if np.isfinite(value) else np.nan


def _gold(i: int, label) -> float:
    """Return the gold number, or say which example has none."""
    value = _number(label)
    if np.isnan(value):
        raise ValueError(
            f"example {i} has label {label!r}, which is not a number; correlation and "
            "error are for regression, use accuracy for classes."
        )
    return value


# What a task with numbers for labels is scored by.
METRICS = (correlation, error)
