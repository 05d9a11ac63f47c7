"""What every metric checks first, and the texts an example accepts as right."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.data import examples

# A json-ready dict; its keys are listed in lmtasks/tasks/base.py.
Prediction = Mapping[str, typing.Any]


def check(
    predictions: Sequence[Prediction], scored: Sequence[examples.Example]
) -> None:
    """Refuse an empty split and lists that do not belong together.

    Raises:
        ValueError: nothing to score, or not one prediction per example.
    """
    if len(scored) == 0:
        raise ValueError(
            "there are no examples to score; give a split that has records."
        )
    if len(predictions) != len(scored):
        raise ValueError(
            f"{len(predictions)} predictions for {len(scored)} examples; give one "
            "prediction per example, in the same order."
        )


def has_gold(example: examples.Example) -> bool:
    """Return whether the example carries what a prediction is compared with.

    The metrics refuse examples without; leave those out, and count them, before.
    """
    if isinstance(example, examples.Turns):
        last = example.turns[-1:]
        return bool(example.references) or any(t.role == "assistant" for t in last)
    if isinstance(example, examples.Choice):
        return example.answer >= 0
    if isinstance(example, examples.Tagged):
        return bool(example.tags)
    return getattr(example, "label", ()) is not None


def labels(
    predictions: Sequence[Prediction], scored: Sequence[examples.Example]
) -> Iterator[tuple[typing.Any, typing.Any]]:
    """Yield (right label, predicted label or None) per example.

    Raises:
        ValueError: an example is not Labelled or has no label.
    """
    check(predictions, scored)
    for i, (prediction, example) in enumerate(zip(predictions, scored)):
        label = getattr(example, "label", None)
        if label is None:
            raise ValueError(
                f"example {i} has no label to compare with; score only records that "
                "carry one, or use `lmtasks predict`."
            )
        yield label, prediction.get("label")


def gold_texts(example: examples.Example) -> tuple[str, ...]:
    """Return the accepted answers; () = none, which is a Span without an answer.

    Turns: the last turn when it is the assistant's, then the references.

    Raises:
        ValueError: the example is of another kind, or Turns without any answer.
    """
    if isinstance(example, examples.Span):
        return tuple(text for text, _ in example.answers)
    if isinstance(example, examples.Turns):
        last = example.turns[-1:]
        said = tuple(turn.text for turn in last if turn.role == "assistant")
        if said or example.references:
            return said + example.references
    raise ValueError(
        f"a {type(example).__name__} without an answer text cannot be scored as "
        "generated text; give Turns that end in an assistant turn or have "
        "references, or a Span."
    )


def said_texts(predictions: Sequence[Prediction]) -> list[str]:
    """Return the predicted texts, "" where a prediction has none."""
    return [prediction.get("text") or "" for prediction in predictions]
