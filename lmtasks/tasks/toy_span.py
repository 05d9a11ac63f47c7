"""A small world and a question: what is in front?"""

import dataclasses

from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.metrics import spans
from lmtasks.tasks import extractive_qa

TASK = dataclasses.replace(
    extractive_qa.TASK,
    source=sources.Source(make=toy.toy_span),
    metrics=(spans.squad_v1,),
    prompt="{context} {question}",
    samples=(
        {
            "question": "what is in front ?",
            "context": "the cat stands behind the tall oak .",
            "answers": [("tall oak", 26)],
        },
        {
            "question": "what is at the back ?",
            "context": "the cat stands behind the tall oak .",
            "answers": [("cat", 4)],
        },
        {
            "question": "what is in front ?",
            "context": "the red hen stands before the pine .",
            "answers": [("red hen", 4)],
        },
    ),
)
