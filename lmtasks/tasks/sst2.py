"""SST-2: is a sentence of a film review positive? (Socher et al., 2013)

TFDS glue/sst2 (its test labels are hidden), or a folder of train.tsv, validation.tsv
and test.tsv without header: sentence, label (1 = positive).
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

LABELS = ("negative", "positive")


def example(record: base.Record) -> examples.Labelled:
    """Return the sentence with "negative" or "positive"."""
    return examples.Labelled(record["sentence"], labels.name(record["label"], LABELS))


TASK = base.Task(
    source=sources.Source(
        tfds="glue/sst2",
        files={"*": "{split}.tsv"},
        fields={"sentence": 0, "label": 1},
    ),
    example=example,
    kind=examples.Labelled,
    metrics=(*classification.METRICS, classification.mcc),
    prompt="Review: {text} Sentiment:",
    prompts={
        "question": "{text}\nIs this review positive or negative?",
        "statement": "{text} The review is",
    },
    labels=LABELS,
    objective="classify",
    samples=(
        {"sentence": "a warm and funny film from start to end", "label": 1},
        {"sentence": "two hours that feel like ten", "label": 0},
        {"sentence": "the cast is a delight", "label": "1"},
        {"sentence": "dull , loud and much too long", "label": "0"},
    ),
)
