"""STS: how alike are two sentences, from 0 to 5? (Agirre et al., 2012-2015)

A folder of train_*.tsv, validation_*.tsv and test_*.tsv without header: score,
sentence, sentence. On a decoder or an encoder-decoder the number is written.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import regression
from lmtasks.tasks import base
from lmtasks.tasks import classification


def example(record: base.Record) -> examples.Labelled:
    """Return both sentences with their score, a number."""
    return examples.Labelled(record["text"], score(record["label"]), record["pair"])


def score(value) -> float | None:
    """Return a score as a number of at most three decimals, which is what was given
    before it was stored as float32; None for GLUE's hidden -1.
    """
    number = round(float(value), 3)
    return None if number < 0 else number


TASK = base.Task(
    source=sources.Source(
        files={"*": "{split}_*.tsv"}, fields={"label": 0, "text": 1, "pair": 2}
    ),
    example=example,
    kind=examples.Labelled,
    metrics=regression.METRICS,
    prompt="First: {text} Second: {pair} Similarity from 0 to 5:",
    parse=classification.parse,
    objective="classify",
    samples=(
        {
            "label": "5.000",
            "text": "A plane is taking off.",
            "pair": "An air plane is taking off.",
        },
        {
            "label": "2.750",
            "text": "A man plays a small flute.",
            "pair": "A man plays a guitar.",
        },
        {
            "label": "0.400",
            "text": "A woman slices an onion.",
            "pair": "Two dogs run along the beach.",
        },
    ),
)
