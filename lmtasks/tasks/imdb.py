"""IMDB: is a film review positive? (Maas et al., 2011)

TFDS imdb_reviews (a tenth of its train split is validation); or the corpus's own folder
aclImdb with train/pos, train/neg, test/pos and test/neg, one review a file; or files
with the columns text (or review) and label (or sentiment).
"""

import os
from collections.abc import Iterator

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base
from lmtasks.tasks import pairs

LABELS = ("negative", "positive")
_SHORT = {"neg": "negative", "pos": "positive"}


def example(record: base.Record) -> examples.Labelled:
    """Return the review, its line breaks as such, with "negative" or "positive"."""
    said = pairs.field(record, "label", "sentiment")
    label = labels.name(_SHORT.get(said, said), LABELS)
    text = pairs.field(record, "text", "review")
    return examples.Labelled(text.replace("<br />", "\n"), label)


def read(path: str) -> Iterator[readers.Row]:
    """Yield the one review of a file, its label the folder that it lies in."""
    folder = os.path.basename(os.path.dirname(path))
    for line, row in readers.document(path):
        bad = isinstance(row, readers.Bad)
        yield line, row if bad else {**row, "label": folder}


TASK = base.Task(
    source=sources.Source(
        tfds="imdb_reviews",
        splits={"train": "train[:90%]", "validation": "train[90%:]", "test": "test"},
        files={"*": "{split}/[np]*/*_*.txt"},
        read=read,
    ),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="Review: {text} Sentiment:",
    prompts={
        "question": "{text}\nIs this review positive or negative?",
        "statement": "{text} The review is",
    },
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "text": "I laughed for two hours.<br /><br />Go and see it.",
            "label": 1,
        },
        {"text": "The plot makes no sense and the sound is awful.", "label": 0},
        {"text": "A quiet, tender film about a bakery.", "label": "pos"},
        {"review": "I left after half an hour.", "sentiment": "negative"},
    ),
)
