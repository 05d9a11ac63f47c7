"""One's own texts with a class.

Records are {"text", "label"}. The columns are named by config.data.fields.text and
.label; labels are what the training split holds, unless config.data.labels lists them.
A list of labels is multi-label.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Labelled:
    """Return the text with its class, or classes."""
    return examples.Labelled(record["text"], labels.each(record["label"]))


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Labelled,
    metrics=(
        classification.accuracy,
        classification.precision_recall_f1,
        classification.calibration,
    ),
    prompt="Text: {text} Class:",
    objective="classify",
    samples=(
        {"text": "the parcel never came", "label": "delivery"},
        {"text": "my card was charged twice", "label": "payment"},
        {"text": "when will my order arrive", "label": "delivery"},
        {"text": "the refund is still missing", "label": "payment"},
    ),
)
