"""A list of words, written again: recall against distance."""

import dataclasses

from lmtasks.data import sources
from lmtasks.data import toy_copy
from lmtasks.tasks import seq2seq

TASK = dataclasses.replace(
    seq2seq.TASK,
    source=sources.Source(make=toy_copy.toy_copy),
    samples=(
        {"source": "copy bee oak :", "target": "bee oak", "words": 2},
        {"source": "copy fern owl elm :", "target": "fern owl elm", "words": 3},
        {"source": "copy rose :", "target": "rose", "words": 1},
    ),
)
