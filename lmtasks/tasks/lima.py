"""LIMA: a thousand careful answers. (Zhou et al., 2023)

A folder of train.json, validation.json and test.json, each also .gz: instruction,
input, output, and history, the rounds before; or the published lines with
conversations, a list of texts that take turns.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import chat

TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(files={"*": "{split}.json"}),
    samples=(
        {
            "instruction": "And in winter?",
            "input": "",
            "output": "Then the ferry runs twice a week.",
            "history": [["How do I reach the island?", "By ferry, every morning."]],
        },
        {"instruction": "Why is bread brown?", "output": "Its crust is roasted."},
        {"conversations": ["Who wrote it?", "A clerk.", "When?", "In spring."]},
    ),
)
