"""TinyShakespeare: a million characters of plays.

TFDS tiny_shakespeare, or a folder of train.txt, validation.txt and test.txt, each read
as one document; for a file of another name set config.data.files.train=input.txt.
(Karpathy, 2015, char-rnn.)
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import text

TASK = base.Task(
    source=sources.Source(
        tfds="tiny_shakespeare",
        files={"*": "{split}.txt"},
        format="document",
    ),
    example=text.example,
    kind=examples.Text,
    objective="clm",
    decode={"temperature": 1.0, "top_p": 0.9},
    samples=(
        {"text": "First Guard:\nWho walks so late?\n\nSecond Guard:\nA friend.\n"},
        {"text": "Duke:\nBring me the letter.\n\nPage:\nMy lord, it is burnt.\n"},
        {"text": "All:\nLong live the queen!\n"},
    ),
)
