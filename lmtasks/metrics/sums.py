"""Metrics taken apart into numbers of each example whose sums decide them."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from lmtasks.data import examples
from lmtasks.metrics import classification
from lmtasks.metrics import forms
from lmtasks.metrics import generation
from lmtasks.metrics import inputs
from lmtasks.metrics import regression
from lmtasks.metrics import retrieval
from lmtasks.metrics import tagging

# What is counted and no score: where none is, the mean over examples is 0 as well.
_COUNTS = ("unparsed", "candidates")
# A metric: (predictions, examples) -> {name: value}.
Metric = Callable[[Sequence, Sequence], dict[str, float]]


def of(
    metrics: Sequence[Metric],
    predictions: Sequence[inputs.Prediction],
    scored: Sequence[examples.Example],
) -> dict[str, forms.Sums]:
    """Return {name: Sums} of every score of the metrics that sums decide.

    A metric this module does not know is asked about every example alone: what turns
    out to be the mean of those answers is kept. The rest (counts, rank correlations)
    has no value an example.
    """
    found: dict[str, forms.Sums] = {}
    for metric in metrics:
        take_apart = _KNOWN.get(getattr(metric, "func", metric), _one_by_one)
        found |= take_apart(metric, predictions, scored)
    return {name: parts for name, parts in found.items() if name not in _COUNTS}


def _one_by_one(metric: Metric, predictions, scored) -> dict[str, forms.Sums]:
    """Return the scores that are means over the examples that have them."""
    try:
        whole = metric(predictions, scored)
        each = [metric([p], [e]) for p, e in zip(predictions, scored, strict=True)]
    except ValueError:  # it scores no example alone
        return {}
    found = {}
    for name, value in whole.items():
        rows = [(one[name], 1.0) if name in one else (0.0, 0.0) for one in each]
        mean = forms.score("ratio", np.sum(rows, axis=0))
        if math.isclose(float(mean), value, rel_tol=1e-9, abs_tol=1e-12):
            found[name] = forms.Sums("ratio", rows)
    return found


def _labels(predictions, scored) -> list[tuple] | None:
    """Return (right, said) of each example; None where one has several labels."""
    pairs = list(inputs.labels(predictions, scored))
    several = any(isinstance(x, (tuple, list)) for pair in pairs for x in pair)
    return None if several else pairs


def _accuracy(metric, predictions, scored) -> dict[str, forms.Sums]:
    pairs = _labels(predictions, scored)
    if pairs is None:
        return _one_by_one(metric, predictions, scored)
    rows = [(float(gold == said), 1.0) for gold, said in pairs]
    return {"accuracy": forms.Sums("ratio", rows)}


def _class_f1(metric, predictions, scored) -> dict[str, forms.Sums]:
    pairs = _labels(predictions, scored)
    kinds = ("f1_macro", "f1_micro", "f1_weighted")
    return {} if pairs is None else {name: forms.Sums(name, pairs) for name in kinds}


def _f1_of(metric, predictions, scored) -> dict[str, forms.Sums]:
    """Return the F1 of the one class that the partial names."""
    one = metric.args[0] if metric.args else metric.keywords["label"]
    rows = [
        (float(gold == said == one), float(said == one), float(gold == one))
        for gold, said in inputs.labels(predictions, scored)
    ]
    return {"f1": forms.Sums("f1", rows)}


def _mcc(metric, predictions, scored) -> dict[str, forms.Sums]:
    pairs = _labels(predictions, scored)
    return {} if pairs is None else {"mcc": forms.Sums("mcc", pairs)}


def _corpus(name: str) -> Callable:
    def parts(metric, predictions, scored):
        return {
            name: forms.Sums(name, generation.statistics(name, predictions, scored))
        }

    return parts


def _rouge(metric, predictions, scored) -> dict[str, forms.Sums]:
    found = generation.rouge_of_each(predictions, scored)
    return {
        name: forms.Sums("ratio", [(x, 1.0) for x in xs]) for name, xs in found.items()
    }


def _entities(metric, predictions, scored) -> dict[str, forms.Sums]:
    found = {}
    for name, rows in tagging.entity_counts(predictions, scored).items():
        found[f"{name}_f1"] = forms.Sums("f1", rows)
        found[f"{name}_precision"] = forms.Sums("ratio", [(a, b) for a, b, _ in rows])
        found[f"{name}_recall"] = forms.Sums("ratio", [(a, c) for a, _, c in rows])
    return found


def _token_accuracy(metric, predictions, scored) -> dict[str, forms.Sums]:
    gold, said = tagging.sequences(predictions, scored, missing="")
    rows = [
        (float(sum(a == b for a, b in zip(*pair, strict=True))), float(len(pair[0])))
        for pair in zip(gold, said, strict=True)
    ]
    return {"token_accuracy": forms.Sums("ratio", rows)}


def _correlation(metric, predictions, scored) -> dict[str, forms.Sums]:
    gold, said, _ = regression.numbers(predictions, scored)
    return {"pearson": forms.Sums("pearson", _products(gold, said).tolist())}


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return float64[n, 6], whose sums give the correlation of two variables."""
    return np.stack([np.ones_like(x), x, y, x**2, y**2, x * y], axis=1)


def _similarity(metric, predictions, scored) -> dict[str, forms.Sums]:
    rated, gold, said = retrieval.rated_of(predictions, scored)
    if not rated:
        return {}
    rows = np.zeros((len(scored), 6))  # a pair without a score counts nothing
    rows[rated] = _products(gold, said)
    return {"pearson": forms.Sums("pearson", rows.tolist())}


def _retrieval(metric, predictions, scored) -> dict[str, forms.Sums]:
    """Return means over the queries; what they look among stays the whole split."""
    ranks = retrieval.ranks_of(predictions, scored)
    asked = ~np.isnan(ranks)
    if not asked.any():
        return {}
    values = {f"recall@{k}": ranks <= k for k in retrieval.KS} | {"mrr": 1 / ranks}
    return {
        name: forms.Sums(
            "ratio", np.stack([np.where(asked, x, 0.0), asked], axis=1).tolist()
        )
        for name, x in values.items()
    }


# metric -> how it is taken apart; by its function where it is a partial.
_KNOWN: dict = {
    classification.accuracy: _accuracy,
    classification.precision_recall_f1: _class_f1,
    classification.f1_of: _f1_of,
    classification.mcc: _mcc,
    generation.bleu: _corpus("bleu"),
    generation.chrf: _corpus("chrf"),
    generation.ter: _corpus("ter"),
    generation.rouge: _rouge,
    tagging.entities: _entities,
    tagging.token_accuracy: _token_accuracy,
    regression.correlation: _correlation,
    retrieval.retrieval: _retrieval,
    retrieval.similarity: _similarity,
}
