"""AESLC: write the subject line of an e-mail. (Zhang and Tetreault, 2019)

TFDS aeslc, or a folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz:
email_body, subject_line. The human subject lines ann0, ann1, ... of the held-out splits
are accepted as well.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

_MORE = ("ann0", "ann1", "ann2")


def example(record: base.Record) -> examples.Turns:
    """Return the mail as the prompt, its subject line as the reply."""
    prompt = f"Email: {record['email_body']} Subject:"
    more = [record[key] for key in _MORE if record.get(key)]
    return seq2seq.turns(prompt, record["subject_line"], *more)


TASK = base.Task(
    source=sources.Source(tfds="aeslc", files={"*": "{split}.jsonl"}),
    example=example,
    kind=examples.Turns,
    metrics=(generation.rouge,),
    prompt="",
    decode={"method": "beam", "beams": 4},
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
