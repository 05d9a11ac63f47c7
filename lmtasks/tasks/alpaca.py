"""Alpaca: instructions with answers a model wrote. (Taori et al., 2023)

A folder of train.json, validation.json and test.json: instruction, input (may be
empty), output. As published it is one file, alpaca_data.json:
config.data.files.train.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import chat

TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(files={"*": "{split}.json"}),
    samples=(
        {"instruction": "Name a colour.", "input": "", "output": "Green, perhaps."},
        {
            "instruction": "Add the numbers.",
            "input": "2 and 3",
            "output": "They make 5.",
        },
        {"instruction": "Greet a guest.", "input": "", "output": "Good evening!"},
    ),
)
