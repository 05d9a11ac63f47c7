"""C4: English pages of the web, cleaned. (Raffel et al., 2020, arXiv:1910.10683)

TFDS c4/en, or a folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz:
records {"text"}.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import text

TASK = dataclasses.replace(
    text.TASK,
    source=sources.Source(
        tfds="c4/en",
        splits={"train": "train", "validation": "validation"},
        files={"*": "{split}.jsonl"},
    ),
)
