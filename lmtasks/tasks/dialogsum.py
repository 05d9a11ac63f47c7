"""DialogSum: summaries of everyday conversations. (Chen et al., 2021)

A folder of train.jsonl, validation.jsonl and test.jsonl: dialogue, summary. (Its
authors call them dialogsum.train.jsonl, dialogsum.dev.jsonl and dialogsum.test.jsonl;
the test file has summary1 to summary3, of which all are accepted.)
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = seq2seq.summarize("conversation")


def example(record: base.Record) -> examples.Turns:
    """Return a conversation as the prompt, its summary as the reply."""
    keys = ("summary", "summary1", "summary2", "summary3")
    summaries = [record[key] for key in keys if record.get(key)]
    return seq2seq.asked(PROMPT, summaries, text=record["dialogue"])


TASK = dataclasses.replace(
    seq2seq.SUMMARIES,
    source=sources.Source(files={"*": "{split}.jsonl"}),
    example=example,
    prompt=PROMPT,
    samples=(
        {
            "dialogue": "#Person1#: Is the room free?\n#Person2#: From noon on.",
            "summary": "#Person2# tells #Person1# that the room is free from noon on.",
        },
        {
            "dialogue": "#Person1#: The soup is cold.\n#Person2#: I bring you another.",
            "summary": "#Person1# gets another soup.",
        },
        {
            "dialogue": "#Person1#: Two tickets, please.\n#Person2#: That is ten euros.",
            "summary1": "#Person1# buys two tickets for ten euros.",
            "summary2": "Two tickets cost #Person1# ten euros.",
        },
    ),
)
