"""Scores of records written as JSON: slots, whole records, and whether they parse."""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs
from lmtasks.metrics import spans


def parse(text: str) -> dict | None:
    """Return the object a text is, None where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def slots(record: dict) -> collections.Counter:
    """Return the (key, value) pairs of a record; each of a list is one.

    Values are compared as SQuAD normalizes text: case, articles and punctuation aside.

    >>> sorted(slots({"city": ["San Jose", "Rome"], "stars": 4}))
    [('city', 'rome'), ('city', 'san jose'), ('stars', '4')]
    """
    found: collections.Counter = collections.Counter()
    for key, value in record.items():
        for one in value if isinstance(value, list) else [value]:
            text = one if isinstance(one, str) else json.dumps(one, sort_keys=True)
            found[key, spans.normalize(text)] += 1
    return found


def scores(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return "slot_precision", "slot_recall", "slot_f1" over all slots of all records,
    "exact_record" and "valid_json", fractions in [0, 1].

    A text that is no object has no slots. Precision of nothing written is 0, as is
    recall of nothing to find; a record without slots that is written so is exact.
    """
    inputs.check(predictions, scored)
    said = [parse(text) for text in inputs.said_texts(predictions)]
    right = written = wanted = exact = 0
    for record, example in zip(said, scored, strict=True):
        gold = slots(parse(inputs.gold_texts(example)[0]) or {})
        mine = slots(record or {})
        right += (mine & gold).total()
        written += mine.total()
        wanted += gold.total()
        exact += record is not None and mine == gold
    return {
        "slot_precision": right / written if written else 0.0,
        "slot_recall": right / wanted if wanted else 0.0,
        "slot_f1": 2 * right / (written + wanted) if written + wanted else 0.0,
        "exact_record": exact / len(scored),
        "valid_json": sum(one is not None for one in said) / len(scored),
    }
