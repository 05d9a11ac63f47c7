"""AESLC: write the subject line of an e-mail. (Zhang and Tetreault, 2019)

TFDS aeslc, or a folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz:
email_body, subject_line. The human subject lines ann0, ann1, ... of the held-out splits
are accepted as well.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

_MORE = ("ann0", "ann1", "ann2")
PROMPT = "Email: {text} Subject:"


def example(record: base.Record) -> examples.Turns:
    """Return the mail as the prompt, its subject line as the reply."""
    more = [record[key] for key in _MORE if record.get(key)]
    subjects = (record["subject_line"], *more)
    return seq2seq.asked(PROMPT, subjects, text=record["email_body"])


TASK = dataclasses.replace(
    seq2seq.SUMMARIES,
    source=sources.Source(tfds="aeslc", files={"*": "{split}.jsonl"}),
    example=example,
    prompt=PROMPT,
    samples=(
        {
            "email_body": "Could you send me the figures for May before noon?",
            "subject_line": "Figures for May",
            "ann0": "May figures before noon",
        },
        {
            "email_body": "The lift is out of order. Please take the stairs.",
            "subject_line": "Lift out of order",
        },
        {
            "email_body": "Lunch on Friday is moved to the garden.",
            "subject_line": "Friday lunch",
        },
    ),
)
