"""BoolQ: does a passage answer a question by yes? (Clark et al., 2019)

TFDS bool_q, or the corpus's own folder of train.jsonl and dev.jsonl with question,
passage and answer (SuperGLUE's form has label for answer).
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base
from lmtasks.tasks import pairs

LABELS = ("no", "yes")
_SAID = {"false": "no", "true": "yes"}


def example(record: base.Record) -> examples.Labelled:
    """Return question and passage with "no" or "yes"."""
    said = pairs.field(record, "answer", "label")
    label = labels.name(_SAID.get(str(said).lower(), said), LABELS)
    return examples.Labelled(record["question"], label, record["passage"])


TASK = base.Task(
    source=sources.Source(
        tfds="bool_q",
        splits={"train": "train", "validation": "validation"},
        files={"train": "train.jsonl", "validation": "dev.jsonl"},
    ),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="{pair} Question: {text}? Answer:",
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "question": "is the old bridge open to cars",
            "passage": "The old bridge was closed to cars in 1988 and is now a path.",
            "answer": False,
        },
        {
            "question": "does the river reach the sea",
            "passage": "The river flows through three towns and ends in the sea.",
            "answer": True,
        },
        {
            "question": "is rye a grass",
            "passage": "Rye is a grass grown as a grain and a cover crop.",
            "label": "true",
        },
    ),
)
