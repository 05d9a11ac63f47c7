"""WNUT-17: rare entities in posts on the web. (Derczynski et al., 2017)

A folder of train.conll, validation.conll and test.conll: word TAB tag, in IOB2. The
data is at leondz/emerging_entities_17; its wnut17train.conll,
emerging.dev.conll and emerging.test.annotated are read under these names, or named by
config.data.files with config.data.format=conll.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import tagging

TYPES = ("corporation", "creative-work", "group", "location", "person", "product")

TASK = dataclasses.replace(
    tagging.TASK,
    source=sources.Source(files={"*": "{split}.conll"}),
    prompt="Text: {words} Entities:",
    labels=("O", *(f"{mark}-{name}" for name in TYPES for mark in "BI")),
    samples=(
        {
            "words": ["off", "to", "Lake", "Vesna", "with", "Tomas", "!"],
            "tags": ["O", "O", "B-location", "I-location", "O", "B-person", "O"],
        },
        {
            "words": ["the", "Brightphone", "is", "sold", "out"],
            "tags": ["O", "B-product", "O", "O", "O"],
        },
        {"words": ["so", "tired", "today"], "tags": ["O", "O", "O"]},
    ),
)
