"""A small world: is a thing in front, yes or no?"""

import dataclasses

from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.tasks import classification

TASK = dataclasses.replace(
    classification.TASK,
    source=sources.Source(make=toy.toy_labelled),
    prompt="{text}",
    labels=toy.LABELS,
    samples=(
        {
            "text": "the cat stands behind the oak . is the oak in front ?",
            "label": "yes",
        },
        {
            "text": "the oak stands behind the cat . is the oak in front ?",
            "label": "no",
        },
        {
            "text": "the old hen stands behind the fern . is the hen in front ?",
            "label": "no",
        },
        {
            "text": "the fern stands behind the old hen . is the hen in front ?",
            "label": "yes",
        },
    ),
)
