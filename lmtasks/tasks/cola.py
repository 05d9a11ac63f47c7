"""CoLA: is a sentence acceptable English? (Warstadt et al., 2019)

TFDS glue/cola (its test labels are hidden), or GLUE's own folder of train.tsv and
dev.tsv without header: source, label (1 = acceptable), the author's mark, sentence.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

LABELS = ("unacceptable", "acceptable")


def example(record: base.Record) -> examples.Labelled:
    """Return the sentence with "unacceptable" or "acceptable"."""
    return examples.Labelled(record["sentence"], labels.name(record["label"], LABELS))


TASK = base.Task(
    source=sources.Source(
        tfds="glue/cola",
        files={"train": "train.tsv", "validation": "dev.tsv"},
        fields={"label": 1, "sentence": 3},
    ),
    example=example,
    kind=examples.Labelled,
    metrics=(
        classification.mcc,
        classification.accuracy,
        classification.calibration,
    ),
    prompt="Sentence: {text} Grammar:",
    labels=LABELS,
    objective="classify",
    samples=(
        {"sentence": "The gardener watered the roses.", "label": 1},
        {"sentence": "The gardener watered the roses wilted.", "label": 0},
        {"sentence": "Who did you say left early?", "label": "1"},
        {"sentence": "Who did you the say left early?", "label": "0"},
    ),
)
