"""QNLI: does a sentence answer a question? (Rajpurkar et al., 2016)

TFDS glue/qnli (its test labels are hidden), or GLUE's own folder of train.tsv and
dev.tsv with the header index, question, sentence, label.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

LABELS = ("entailment", "not_entailment")


def example(record: base.Record) -> examples.Labelled:
    """Return question and sentence; "entailment" says that it holds the answer."""
    label = labels.name(record["label"], LABELS)
    return examples.Labelled(record["question"], label, record["sentence"])


TASK = base.Task(
    source=sources.Source(
        tfds="glue/qnli", files={"train": "train.tsv", "validation": "dev.tsv"}
    ),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="Question: {text} Sentence: {pair} Relation:",
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "question": "When was the lighthouse built?",
            "sentence": "The lighthouse was built in 1874 of granite.",
            "label": 0,
        },
        {
            "question": "When was the lighthouse built?",
            "sentence": "The lighthouse stands on the northern cape.",
            "label": 1,
        },
        {
            "question": "Who keeps the lamp?",
            "sentence": "The lamp is kept by a family of fishers.",
            "label": "entailment",
        },
    ),
)
