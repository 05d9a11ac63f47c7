"""CoNLL-2003: named entities in news. (Tjong Kim Sang and De Meulder, 2003)

TFDS conll2003, or a folder of train.conll, validation.conll and test.conll: the task's
eng.train, eng.testa and eng.testb, four columns apart by spaces, of which the first is
the word and the last the tag. Their IOB1 is read as IOB2, which TFDS has.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import tagging as schemes
from lmtasks.tasks import base
from lmtasks.tasks import tagging

TYPES = ("PER", "ORG", "LOC", "MISC")
LABELS = ("O", *(f"{mark}-{name}" for name in TYPES for mark in "BI"))


def example(record: base.Record) -> examples.Tagged:
    """Return the words with their tags' names, in IOB2."""
    if "ner" in record:  # as TFDS has it
        record = {"words": record["tokens"], "tags": record["ner"]}
    found = tagging.example(record)
    # An empty tag cannot be: every class of the numbers has a name.
    tags = [str(labels.name(tag, LABELS)) for tag in found.tags]
    return dataclasses.replace(found, tags=schemes.convert(tags, "IOB2"))


TASK = dataclasses.replace(
    tagging.TASK,
    source=sources.Source(
        tfds="conll2003",
        splits={"train": "train", "validation": "dev", "test": "test"},
        files={"*": "{split}.conll"},
    ),
    example=example,
    prompt="Text: {words} Entities:",
    labels=LABELS,
    samples=(
        {
            "words": ["NORDBANK", "shares", "fell", "in", "Bergen", "."],
            "tags": ["I-ORG", "O", "O", "O", "I-LOC", "O"],
        },
        {
            "tokens": ["Jana", "Keller", "won", "the", "Alpine", "Cup"],
            "ner": [1, 2, 0, 0, 7, 8],
        },
        {"words": ["It", "rained", "."], "tags": ["O", "O", "O"]},
    ),
)
