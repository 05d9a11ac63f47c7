"""Accuracy of multiple choice; fractions in [0, 1] and the count "unparsed"."""

from __future__ import annotations

from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs


def accuracy(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"accuracy", "unparsed"}, and "acc_norm" where predictions carry it.

    `choice` is the index of the predicted option, `choice_norm` the one with scores
    divided by its length; its accuracy is "acc_norm". None, or no choice at all, is
    wrong; a choice of None is counted as "unparsed".

    Raises:
        ValueError: an example is not a Choice or its answer is unknown (-1).
    """
    inputs.check(predictions, scored)
    gold = [_answer(i, example) for i, example in enumerate(scored)]
    said = [prediction.get("choice") for prediction in predictions]
    values = {
        "accuracy": _share(said, gold),
        "unparsed": float(said.count(None)),
    }
    if any("choice_norm" in prediction for prediction in predictions):
        normed = [prediction.get("choice_norm") for prediction in predictions]
        values["acc_norm"] = _share(normed, gold)
    return values


def _share(said: list, gold: list[int]) -> float:
    """Return the fraction of equal entries."""
    return sum(a == b for a, b in zip(said, gold)) / len(gold)


def _answer(i: int, example: examples.Example) -> int:
    """Return the index of the right option, or say which example has none."""
    answer = getattr(example, "answer", -1)
    if answer < 0:
        raise ValueError(
            f"example {i} has no known right option (answer={answer}); score only "
            "records that carry one, or use `lmtasks predict`."
        )
    return answer
