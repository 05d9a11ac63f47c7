"""Lists of words, written again: recall by distance."""

import dataclasses

from lmtasks.data import sources
from lmtasks.data import toy_copy
from lmtasks.tasks import seq2seq

TASK = dataclasses.replace(
    seq2seq.TASK,
    source=sources.Source(make=toy_copy.toy_copy),
    samples=(
        {"source": "copy bee oak cat elm :", "target": "bee oak cat elm", "words": 4},
        {
            "source": "copy fern owl elm elm pig :",
            "target": "fern owl elm elm pig",
            "words": 5,
        },
        {"source": "copy rose :", "target": "rose", "words": 1},
    ),
)
