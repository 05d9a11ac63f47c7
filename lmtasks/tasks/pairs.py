"""One's own pairs of texts with a class.

For inference, paraphrase, similarity or answer selection. Records are {"text", "pair",
"label"}; the columns are named by config.data.fields, labels are what the training
split holds, or numbers (config.classify.kind=regression).
"""

import typing

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base
from lmtasks.tasks import classification as single


def example(record: base.Record) -> examples.Labelled:
    """Return the two texts with their class."""
    label = labels.each(record["label"])
    return examples.Labelled(record["text"], label, record["pair"])


def field(record: base.Record, *names: str) -> typing.Any:
    """Return the field that a record has under one of several names."""
    return record[next((name for name in names if name in record), names[0])]


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="First: {text} Second: {pair} Relation:",
    parse=single.parse,
    objective="classify",
    samples=(
        {"text": "the cat sleeps", "pair": "a cat is asleep", "label": "same"},
        {"text": "the cat sleeps", "pair": "the dog barks", "label": "other"},
        {"text": "it rains hard", "pair": "there is heavy rain", "label": "same"},
        {"text": "it rains hard", "pair": "he reads a book", "label": "other"},
    ),
)
