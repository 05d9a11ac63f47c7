"""SAMSum: summaries of chats between friends. (Gliwa et al., 2019)

TFDS samsum, or a folder of train.jsonl, validation.jsonl and test.jsonl: dialogue,
summary.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = seq2seq.summarize("conversation")


def example(record: base.Record) -> examples.Turns:
    """Return a chat as the prompt, its summary as the reply."""
    return seq2seq.asked(PROMPT, [record["summary"]], text=record["dialogue"])


TASK = dataclasses.replace(
    seq2seq.SUMMARIES,
    source=sources.Source(tfds="samsum", files={"*": "{split}.jsonl"}),
    example=example,
    prompt=PROMPT,
    samples=(
        {
            "dialogue": "Ada: Lunch at one?\nBen: Make it two, I am still in Oslo.",
            "summary": "Ada and Ben have lunch at two.",
        },
        {
            "dialogue": "Mia: The lift is broken.\nTom: Again? I call the caretaker.",
            "summary": "The lift is broken and Tom calls the caretaker.",
        },
        {
            "dialogue": "Eva: Who has the key?\nJon: It hangs by the door.",
            "summary": "The key hangs by the door.",
        },
    ),
)
