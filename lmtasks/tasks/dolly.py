"""Dolly: instructions and answers of people at work. (Conover et al., 2023)

A folder of train.jsonl, validation.jsonl and test.jsonl: instruction, context (may be
empty), response. As published it is one file, databricks-dolly-15k.jsonl:
config.data.files.train.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import chat


def example(record: base.Record) -> examples.Turns:
    """Return the instruction with its context as the prompt, the response as reply."""
    return chat.example(
        {
            "instruction": record["instruction"],
            "input": record.get("context"),
            "output": record["response"],
        }
    )


TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(files={"*": "{split}.jsonl"}),
    example=example,
    samples=(
        {
            "instruction": "Who built the mill?",
            "context": "The mill was built by two brothers in 1790.",
            "response": "Two brothers.",
            "category": "closed_qa",
        },
        {"instruction": "Name a bird.", "context": "", "response": "A wren."},
        {"instruction": "Is ice heavy?", "context": "", "response": "Less than water."},
    ),
)
