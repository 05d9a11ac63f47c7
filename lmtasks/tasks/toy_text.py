"""A small world as text: who is in front?"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.tasks import base
from lmtasks.tasks import text

TASK = base.Task(
    source=sources.Source(make=toy.toy_text),
    example=text.example,
    kind=examples.Text,
    objective="clm",
    samples=(
        {
            "text": "the cat stands behind the tall oak . "
            "so the oak is in front and the cat is at the back ."
        },
        {
            "text": "the rose stands before the old owl . "
            "so the rose is in front and the owl is at the back ."
        },
        {
            "text": "the red fox stands before the elm . "
            "so the fox is in front and the elm is at the back ."
        },
    ),
)
