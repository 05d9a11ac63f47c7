"""Exact match and F1 of answers to questions, as SQuAD v1 and v2 define them.

All values are 0-100 as in the official scripts (Rajpurkar et al., 2016,
arXiv:1606.05250 and 2018, arXiv:1806.03822). Gold answers come from a Span, or from
Turns (last assistant turn and references); "" or a missing "text" is "no answer".
"""

from __future__ import annotations

import collections
import itertools
import math
import re
import string
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Return lower case text without punctuation, articles and spare spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(said: str, gold: str) -> float:
    """Return 1.0 if both texts are equal after `normalize`."""
    return float(normalize(said) == normalize(gold))


def f1(said: str, gold: str) -> float:
    """Return the F1 of the two bags of words after `normalize`.

    Two texts without words agree (1.0, the rule of v2); one without gives 0.0.
    """
    a, b = normalize(said).split(), normalize(gold).split()
    if not a or not b:
        return float(a == b)
    common = sum((collections.Counter(a) & collections.Counter(b)).values())
    # 2PR / (P + R) with P = common / len(a) and R = common / len(b).
    return 2 * common / (len(a) + len(b))


def squad_v1(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"exact_match", "f1"}, the best over the golds of each question, 0-100.

    Raises:
        ValueError: a question has no gold answer.
    """
    inputs.check(predictions, scored)
    golds = [inputs.gold_texts(example) for example in scored]
    if () in golds:
        raise ValueError(
            f"example {golds.index(())} has no answer; SQuAD v1 scores answerable "
            "questions only, use squad_v2."
        )
    return _means(_best(inputs.said_texts(predictions), golds))


def squad_v2(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"exact_match", "f1"} with "no answer" as an answer, 0-100.

    Where both sorts of questions occur, also the values over each:
    "has_answer_exact_match", "has_answer_f1", "no_answer_exact_match" and
    "no_answer_f1", and what `best_thresholds` gives.
    """
    inputs.check(predictions, scored)
    golds = _golds(scored)
    found = _best(inputs.said_texts(predictions), [gold or ("",) for gold in golds])
    values = _means(found)
    parts = {
        "has_answer": [pair for pair, gold in zip(found, golds) if gold],
        "no_answer": [pair for pair, gold in zip(found, golds) if not gold],
    }
    if all(parts.values()):
        for part, pairs in parts.items():
            values |= {f"{part}_{k}": v for k, v in _means(pairs).items()}
        values |= best_thresholds(predictions, scored)
    return values


def best_thresholds(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return what the best threshold of "no answer" would score, and which it is.

    {"best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"}, the names of the
    official script for SQuAD v2, where the predictions carry "null_score",
    "span_score" and "n_best" (the objective span); else {}. To use one:
    `--config.span.no_answer=VALUE`. It lies midway between two questions' margins, so
    that rounding it changes nothing. It is chosen on these very questions: choose on
    validation, report on test.
    """
    inputs.check(predictions, scored)
    if not any("null_score" in prediction for prediction in predictions):
        return {}
    margins = [_margin(prediction) for prediction in predictions]
    spans = [_span_text(prediction) for prediction in predictions]
    golds = _golds(scored)
    answered = _best(spans, [gold or ("",) for gold in golds])
    values = {}
    for name, column in (("best_exact", 0), ("best_f1", 1)):
        gains = [
            (margin, pair[column] - float(not gold))
            for margin, pair, gold in zip(margins, answered, golds, strict=True)
            if margin < math.inf
        ]
        gain, threshold = _best_cut(gains)
        total = gain + sum(not gold for gold in golds)
        values[name] = 100.0 * total / len(golds)
        values[f"{name}_thresh"] = threshold
    return values


def _golds(scored: Sequence[examples.Example]) -> list[tuple[str, ...]]:
    """Return the golds that have a word; as in the official script others are none."""
    return [
        tuple(text for text in inputs.gold_texts(example) if normalize(text))
        for example in scored
    ]


def _margin(prediction: inputs.Prediction) -> float:
    """Return by how much "no answer" leads the best span; inf where there is none."""
    best = prediction.get("span_score")
    return math.inf if best is None else prediction["null_score"] - best


def _span_text(prediction: inputs.Prediction) -> str:
    """Return the best span, whatever the prediction says."""
    texts = (one["text"] for one in prediction.get("n_best", ()))
    return next(filter(None, texts), "")


def _best_cut(gains: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return (largest sum, threshold) of the gains with a margin up to a threshold.

        gains (1, +1) (2, -1) (3, +1) (4, +1)   ->   (2, 5): all of them

    Of equal sums the lowest threshold, which gives the fewest answers.
    """
    if not gains:
        return 0.0, 0.0
    levels = [
        (margin, sum(gain for _, gain in group))
        for margin, group in itertools.groupby(sorted(gains), key=lambda pair: pair[0])
    ]
    margins = [margin for margin, _ in levels]
    above = [(a + b) / 2 for a, b in itertools.pairwise(margins)] + [margins[-1] + 1]
    best, threshold, total = 0.0, margins[0] - 1, 0.0
    for (_, gain), cut in zip(levels, above, strict=True):
        total += gain
        if total > best:
            best, threshold = total, cut
    return best, threshold


def _best(said: list[str], golds: list[tuple[str, ...]]) -> list[tuple[float, float]]:
    """Return (exact, f1) per question, each the maximum over its golds."""
    return [
        (max(exact(text, g) for g in gold), max(f1(text, g) for g in gold))
        for text, gold in zip(said, golds)
    ]


def _means(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Return the two means in percent."""
    exact_sum, f1_sum = (sum(column) for column in zip(*pairs))
    return {
        "exact_match": 100.0 * exact_sum / len(pairs),
        "f1": 100.0 * f1_sum / len(pairs),
    }
