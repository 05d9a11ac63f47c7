"""QQP: do two questions ask the same? (Quora, 2017; Wang et al., 2019)

TFDS glue/qqp (its test labels are hidden), or GLUE's own folder of train.tsv and
dev.tsv with the header id, qid1, qid2, question1, question2, is_duplicate.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base
from lmtasks.tasks import pairs

LABELS = ("not_duplicate", "duplicate")


def example(record: base.Record) -> examples.Labelled:
    """Return both questions with "not_duplicate" or "duplicate"."""
    label = labels.name(pairs.field(record, "label", "is_duplicate"), LABELS)
    return examples.Labelled(record["question1"], label, record["question2"])


def f1(predictions, scored) -> dict[str, float]:
    """Return {"f1"} of the duplicates."""
    return classification.f1_of("duplicate", predictions, scored)


TASK = base.Task(
    source=sources.Source(
        tfds="glue/qqp",
        files={"train": "train.tsv", "validation": "dev.tsv"},
    ),
    example=example,
    kind=examples.Labelled,
    metrics=(classification.accuracy, f1, classification.calibration),
    prompt="First: {text} Second: {pair} The second question is a:",
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "question1": "How do I learn to swim?",
            "question2": "What is the best way to learn swimming?",
            "label": 1,
        },
        {
            "question1": "How do I learn to swim?",
            "question2": "How deep is a swimming pool?",
            "label": 0,
        },
        {
            "question1": "Why is bread sour?",
            "question2": "What makes bread taste sour?",
            "is_duplicate": "1",
        },
        {
            "question1": "Why is bread sour?",
            "question2": "Where can I buy bread?",
            "is_duplicate": "0",
        },
    ),
)
