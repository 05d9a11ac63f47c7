"""A mixture of data sets, worded for T0. (Sanh et al., 2022)

A folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz: prompt,
completion. A literal <|endoftext|> behind a completion is left out.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import chat

TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(files={"*": "{split}.jsonl"}),
    samples=(
        {
            "prompt": "Is it wet or dry? The rain fell.",
            "completion": "It is wet<|endoftext|>",
        },
        {
            "prompt": "Which is a fruit: elm, plum?",
            "completion": "The plum<|endoftext|>",
        },
        {"prompt": "Who sings? The cook sings.", "completion": "the cook<|endoftext|>"},
    ),
)
