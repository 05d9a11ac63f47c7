"""The stories of toy_sums, answered step by step."""

import dataclasses

from lmtasks.data import examples
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq
from lmtasks.tasks import toy_sums


def example(record: base.Record) -> examples.Turns:
    """Return the story as the prompt, the chain of sums and the number as the reply."""
    said = f"{record['steps']} The answer is {record['answer']}."
    return seq2seq.asked(seq2seq.QUESTION, [said], question=record["question"])


TASK = dataclasses.replace(toy_sums.TASK, example=example)
