"""One's own texts with a class.

Records are {"text", "label"}. The columns are named by config.data.fields.text and
.label; labels are what the training split holds, unless config.data.labels lists them.
A list of labels is multi-label (config.classify.kind=multi), a number one to predict
(config.classify.kind=regression).
"""

import re

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)")


def example(record: base.Record) -> examples.Labelled:
    """Return the text with its class, or classes."""
    return examples.Labelled(record["text"], labels.each(record["label"]))


def parse(text: str, example: examples.Example, names) -> base.Prediction:
    """Return what a generated text says: without class names the first number in it;
    else its label, or all labels where it lists several, apart by commas.
    """
    if not names:
        found = _NUMBER.search(text)
        return {"label": float(found[0]) if found else None, "text": text}
    one = base.label_or_text(text, example, names)
    known = {name.casefold(): name for name in names}
    parts = [part.strip().casefold() for part in text.split(",")]
    several = [known[part] for part in parts if part in known]
    if isinstance(example.label, tuple):
        return {"label": several, "text": text}
    whole = text.strip().casefold() in known
    if len(several) > 1 and len(several) == len(parts) and not whole:
        return {"label": several, "text": text}
    return one


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="Text: {text} Class:",
    parse=parse,
    objective="classify",
    samples=(
        {"text": "the parcel never came", "label": "delivery"},
        {"text": "my card was charged twice", "label": "payment"},
        {"text": "when will my order arrive", "label": "delivery"},
        {"text": "the refund is still missing", "label": "payment"},
    ),
)
