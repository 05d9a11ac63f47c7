"""AG News: which of four topics is an article about? (Zhang et al., 2015)

TFDS ag_news_subset (a twentieth of its train split is validation), or a folder of
train.csv, validation.csv and test.csv without header: class 1-4, title, description.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

LABELS = ("World", "Sports", "Business", "Sci/Tech")


def example(record: base.Record) -> examples.Labelled:
    """Return title and description with the topic's name."""
    # TFDS counts classes from 0, as numbers; the files from 1, as text.
    first = 1 if isinstance(record["label"], str) else 0
    label = labels.name(record["label"], LABELS, first=first)
    return examples.Labelled(f"{record['title']} {record['description']}", label)


TASK = base.Task(
    source=sources.Source(
        tfds="ag_news_subset",
        splits={"train": "train[:95%]", "validation": "train[95%:]", "test": "test"},
        files={"*": "{split}.csv"},
        fields={"label": 0, "title": 1, "description": 2},
    ),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="Article: {text} Topic:",
    prompts={
        "question": "{text}\nIs this World, Sports, Business or Sci/Tech?",
        "statement": "{text} This is news about",
    },
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "title": "Ministers meet on the border",
            "description": "Two neighbouring states began talks about a ceasefire.",
            "label": 0,
        },
        {
            "title": "Late goal decides the derby",
            "description": "A header in the last minute sent the visitors home.",
            "label": "2",
        },
        {
            "title": "Shares of the bakery chain rise",
            "description": "Profits grew by a tenth in the third quarter.",
            "label": 2,
        },
        {
            "title": "A telescope for the far side",
            "description": "Engineers tested the mirror of a lunar observatory.",
            "label": "4",
        },
    ),
)
