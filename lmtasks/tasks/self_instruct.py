"""Self-Instruct: 175 tasks people wrote as seeds. (Wang et al., 2023)

A folder with seed_tasks.jsonl, or any file of lines with instruction and instances
(input, output): config.data.files.train. The first instance is taken.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import chat

TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(files={"train": "*seed_tasks.jsonl"}),
    samples=(
        {
            "instruction": "Turn the sentence into a question.",
            "instances": [{"input": "It rains.", "output": "Does it rain?"}],
        },
        {
            "instruction": "Name three trees.",
            "instances": [{"input": "", "output": "Oak, elm, birch."}],
        },
        {
            "instruction": "Say it in two words.",
            "instances": [{"input": "It is very cold.", "output": "Freezing cold."}],
        },
    ),
)
