"""Names, of a person or a place by the words beside."""

import dataclasses

from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.tasks import tagging

TASK = dataclasses.replace(
    tagging.TASK,
    source=sources.Source(make=toy.toy_tagged),
    prompt="{words}",
    labels=toy.TAGS,
    samples=(
        {"words": "paris met jordan in austin .", "tags": "B-PER O B-PER O B-LOC O"},
        {"words": "in jordan we saw paris .", "tags": "O B-LOC O O B-PER O"},
        {
            "words": "sydney smith came here from port madison .",
            "tags": "B-PER I-PER O O O B-LOC I-LOC O",
        },
    ),
)
