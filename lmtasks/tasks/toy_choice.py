"""A small world with two sentences: which is true?"""

import dataclasses

from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.tasks import choice

_CAT_OR_OAK = ["the cat is in front .", "the oak is in front ."]

TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(make=toy.toy_choice),
    samples=(
        {
            "context": "the cat stands behind the oak .",
            "options": _CAT_OR_OAK,
            "answer": 1,
        },
        {
            "context": "the oak stands behind the cat .",
            "options": _CAT_OR_OAK,
            "answer": 0,
        },
        {
            "context": "the tall rose stands behind the bee .",
            "options": ["the rose is in front .", "the bee is in front ."],
            "answer": 1,
        },
    ),
)
