"""MRPC: do two sentences say the same? (Dolan and Brockett, 2005)

TFDS glue/mrpc, or GLUE's own folder of train.tsv, dev.tsv and test.tsv with the header
Quality, #1 ID, #2 ID, #1 String, #2 String.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base
from lmtasks.tasks import pairs

LABELS = ("not_equivalent", "equivalent")


def example(record: base.Record) -> examples.Labelled:
    """Return both sentences with "not_equivalent" or "equivalent"."""
    label = labels.name(pairs.field(record, "label", "Quality"), LABELS)
    first = pairs.field(record, "sentence1", "#1 String")
    return examples.Labelled(
        first, label, pairs.field(record, "sentence2", "#2 String")
    )


def f1(predictions, scored) -> dict[str, float]:
    """Return {"f1"} of the equivalent pairs."""
    return classification.f1_of("equivalent", predictions, scored)


TASK = base.Task(
    source=sources.Source(
        tfds="glue/mrpc",
        files={"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
    ),
    example=example,
    kind=examples.Labelled,
    metrics=(classification.accuracy, f1, classification.calibration),
    prompt="First: {text} Second: {pair} Meaning:",
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "sentence1": "The council approved the new tram line on Monday.",
            "sentence2": "On Monday the new tram line was approved by the council.",
            "label": 1,
        },
        {
            "sentence1": "The company sold 40,000 bicycles last year.",
            "sentence2": "The company hopes to sell 40,000 bicycles next year.",
            "label": 0,
        },
        {
            "#1 String": "Rain kept most visitors away from the fair.",
            "#2 String": "Most visitors stayed away from the fair because of rain.",
            "Quality": "1",
        },
        {
            "#1 String": "The museum opens at nine.",
            "#2 String": "The museum, which burned in 1990, was rebuilt.",
            "Quality": "0",
        },
    ),
)
