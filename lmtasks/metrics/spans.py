"""Exact match and F1 of answers to questions, as SQuAD v1 and v2 define them.

All values are 0-100 as in the official scripts (Rajpurkar et al., 2016,
arXiv:1606.05250 and 2018, arXiv:1806.03822). Gold answers come from a Span, or from
Turns (last assistant turn and references); "" or a missing "text" is "no answer".
"""

from __future__ import annotations

import collections
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
    "no_answer_f1".
    """
    inputs.check(predictions, scored)
    # As the official script: a gold that normalizes to nothing is no answer.
    golds = [
        tuple(text for text in inputs.gold_texts(example) if normalize(text))
        for example in scored
    ]
    found = _best(inputs.said_texts(predictions), [gold or ("",) for gold in golds])
    values = _means(found)
    parts = {
        "has_answer": [pair for pair, gold in zip(found, golds) if gold],
        "no_answer": [pair for pair, gold in zip(found, golds) if not gold],
    }
    if all(parts.values()):
        for part, pairs in parts.items():
            values |= {f"{part}_{k}": v for k, v in _means(pairs).items()}
    return values


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
