"""Accuracy, precision, recall, F1, MCC and calibration of class predictions.

Every value is a fraction in [0, 1] except MCC (-1 to 1), Brier (0 to 2) and the count
"unparsed". Labels are names; an example whose label is a tuple of names is
multi-label. A prediction whose label is None is wrong: it costs recall and is
counted as "unparsed", but it is no class of its own in the averages.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence

import numpy as np
from sklearn import metrics
from sklearn import preprocessing

from lmtasks.data import examples
from lmtasks.metrics import inputs

# The class of what named no label; no real label can hold a null character.
_UNPARSED = "\0"


def accuracy(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"accuracy", "unparsed"}; multi-label counts the exact set of names."""
    pairs = list(inputs.labels(predictions, scored))
    gold, said, _ = _arrays(pairs)
    return {
        "accuracy": float(metrics.accuracy_score(gold, said)),
        "unparsed": float(sum(label is None for _, label in pairs)),
    }


def precision_recall_f1(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return precision, recall and F1, each as `_macro`, `_micro` and `_weighted`.

    The classes are those that occur in the gold or the predicted labels; a class
    with nothing to divide by counts as 0.
    """
    gold, said, names = _arrays(list(inputs.labels(predictions, scored)))
    values = {}
    for average in ("macro", "micro", "weighted"):
        found = metrics.precision_recall_fscore_support(
            gold, said, labels=names, average=average, zero_division=0.0
        )
        for name, value in zip(("precision", "recall", "f1"), found):
            values[f"{name}_{average}"] = float(value)
    return values


def f1_of(
    label: str,
    predictions: Sequence[inputs.Prediction],
    scored: Sequence[examples.Example],
) -> dict[str, float]:
    """Return {"f1"} of one class, as GLUE scores MRPC and QQP; 0 where it is absent."""
    gold, said, _ = _arrays(list(inputs.labels(predictions, scored)))
    value = metrics.f1_score(
        [one == label for one in gold], [one == label for one in said], zero_division=0
    )
    return {"f1": float(value)}


def mcc(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"mcc"}, Matthews' correlation (Matthews, 1975); 0 for one class only.

    Raises:
        ValueError: the examples are multi-label.
    """
    pairs = list(inputs.labels(predictions, scored))
    if _several(pairs):
        raise ValueError(
            "mcc needs one label per example and these have several; use accuracy or "
            "precision_recall_f1."
        )
    gold, said, _ = _arrays(pairs)
    if len({*gold, *said}) == 1:
        return {"mcc": 0.0}
    return {"mcc": float(metrics.matthews_corrcoef(gold, said))}


def calibration(
    predictions: Sequence[inputs.Prediction],
    scored: Sequence[examples.Example],
    bins: int = 15,
) -> dict[str, float]:
    """Return {"ece", "brier"} over the predictions with "scores", {} if there are none.

    Scores are label -> probability. ECE: mean distance of confidence and accuracy over
    `bins` equal widths, weighted by size (Guo et al., 2017, arXiv:1706.04599). Brier:
    mean over examples of the squared error summed over classes (Brier, 1950). Several
    labels per example: {}.
    """
    pairs = list(inputs.labels(predictions, scored))
    if _several(pairs):
        return {}
    confidence, right, brier = [], [], []
    for prediction, (label, _) in zip(predictions, pairs, strict=True):
        scores = prediction.get("scores")
        if not scores:
            continue
        best = max(scores, key=scores.get)
        confidence.append(scores[best])
        right.append(best == label)
        errors = (scores.get(name, 0.0) - (name == label) for name in {*scores, label})
        brier.append(sum(error**2 for error in errors))
    if not brier:
        return {}
    ece = _calibration_error(np.array(confidence), np.array(right, float), bins)
    return {"ece": ece, "brier": float(np.mean(brier))}


def _calibration_error(confidence, right, bins: int) -> float:
    """Return the sum over bins of |sum of (confidence - right)| / examples."""
    # Bins are (low, high], so that a confidence of 1 is in the last one.
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _arrays(pairs) -> tuple[typing.Any, typing.Any, typing.Any]:
    """Return (gold, said, classes) as scikit-learn wants them."""
    if not _several(pairs):
        gold = [label for label, _ in pairs]
        said = [_UNPARSED if label is None else label for _, label in pairs]
        return gold, said, sorted({*gold, *said} - {_UNPARSED})
    sets = [(_set(label), _set(said)) for label, said in pairs]
    # At least one column: where nothing has a label, all are right.
    names = sorted(frozenset().union(*(a | b for a, b in sets))) or [_UNPARSED]
    coder = preprocessing.MultiLabelBinarizer(classes=names)
    gold, said = (coder.fit_transform([pair[i] for pair in sets]) for i in (0, 1))
    if len(names) == 1:  # scikit-learn takes one column for two classes
        return gold[:, 0], said[:, 0], [1]
    return gold, said, None


def _several(pairs) -> bool:
    """Return whether the examples are multi-label; some may have one name only."""
    return any(isinstance(label, (tuple, list)) for pair in pairs for label in pair)


def _set(label) -> frozenset[str]:
    """Return the names of a label: none, one, or several."""
    return frozenset((label,) if isinstance(label, str) else label or ())


# What a task with one class for a text is scored by.
METRICS = (accuracy, precision_recall_f1, calibration)
