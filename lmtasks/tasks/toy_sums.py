"""Small stories about numbers, answered at once."""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import toy_sums
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return the story as the prompt, the number as the reply."""
    said = f"The answer is {record['answer']}."
    return seq2seq.asked(seq2seq.QUESTION, [said], question=record["question"])


TASK = dataclasses.replace(
    seq2seq.SOLUTIONS,
    source=sources.Source(make=toy_sums.toy_sums),
    example=example,
    samples=(
        {
            "question": "ann has 4 pens . she finds 9 and loses 5 . how many has she ?",
            "steps": "4 + 9 = 13 . 13 - 5 = 8 .",
            "answer": "8",
        },
        {
            "question": "liv has 20 eggs . she sells 7 and breaks 1 . how many has she ?",
            "steps": "20 - 7 = 13 . 13 - 1 = 12 .",
            "answer": "12",
        },
        {
            "question": "una has 1 hats . she buys 2 and makes 30 . how many has she ?",
            "steps": "1 + 2 = 3 . 3 + 30 = 33 .",
            "answer": "33",
        },
    ),
)
