"""STS-B: how alike are two sentences, from 0 to 5? (Cer et al., 2017)

TFDS glue/stsb (its test scores are hidden), or GLUE's own folder of train.tsv and
dev.tsv, whose header has sentence1, sentence2 and score.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import pairs
from lmtasks.tasks import sts


def example(record: base.Record) -> examples.Labelled:
    """Return both sentences with their score, a number."""
    number = sts.score(pairs.field(record, "label", "score"))
    return examples.Labelled(record["sentence1"], number, record["sentence2"])


TASK = dataclasses.replace(
    sts.TASK,
    source=sources.Source(
        tfds="glue/stsb", files={"train": "train.tsv", "validation": "dev.tsv"}
    ),
    example=example,
    samples=(
        {
            "sentence1": "A man is riding a horse.",
            "sentence2": "Someone rides a horse.",
            "label": 4.4,
        },
        {
            "sentence1": "A man is riding a horse.",
            "sentence2": "A man is riding a camel.",
            "label": 2.2,
        },
        {
            "sentence1": "A man is riding a horse.",
            "sentence2": "The bank raised its rates.",
            "score": "0.000",
        },
    ),
)
