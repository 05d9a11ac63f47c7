"""PIQA: which of two ways reaches a goal? (Bisk et al., 2020)

TFDS piqa (without its test split), or a folder as published: train.jsonl with
train-labels.lst, valid.jsonl with valid-labels.lst, and tests.jsonl without labels.
Files with the label among the columns are read too.
"""

import dataclasses
from collections.abc import Iterator

from lmtasks.data import examples
from lmtasks.data import json_readers
from lmtasks.data import letters
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice


def example(record: base.Record) -> examples.Choice:
    """Return the goal with its two solutions; no label is an unknown answer."""
    options = [record["sol1"], record["sol2"]]
    answer = letters.place(record.get("label"), options)
    given = {"context": record["goal"], "options": options, "answer": answer}
    return choice.example(given)


def read(path: str, labels: str = "") -> Iterator[readers.Row]:
    """Yield the rows of a file with the labels of another, line by line."""
    rows = json_readers.jsonl(path)
    if not labels:
        yield from rows
        return
    said = [line for _, line in readers.lines(labels)]
    count = 0
    for count, (number, row) in enumerate(rows, 1):
        label = said[count - 1] if count <= len(said) else ""
        if isinstance(row, readers.Bad) or isinstance(label, readers.Bad):
            yield number, row if isinstance(row, readers.Bad) else label
        elif not label.strip():
            yield number, readers.Bad("the file of labels has no line for it")
        else:
            yield number, row | {"label": label.strip()}
    if count < len([line for line in said if line]):
        raise ValueError(
            f"{labels} has {len(said)} labels for the {count} records of {path}; they "
            "do not belong together."
        )


TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(
        tfds="piqa",
        splits={"train": "train", "validation": "validation"},
        files={
            "train": "train.jsonl+train-labels.lst",
            "validation": "valid.jsonl+valid-labels.lst",
            "test": "tests.jsonl",
        },
        read=read,
    ),
    example=example,
    prompt="Question: {context}\nAnswer:",
    prompts={"letters": "Question: {context}\n{options}\nAnswer:"},
    samples=(
        {
            "id": "a",
            "goal": "To open a jar with a tight lid,",
            "sol1": "warm the lid under the tap and twist.",
            "sol2": "cool the glass in snow and shout.",
            "label": 0,
        },
        {
            "id": "b",
            "goal": "How do I find a ring under the sofa?",
            "sol1": "Close your eyes and wait.",
            "sol2": "Shine a torch along the floor.",
            "label": "1",
        },
        {
            "id": "c",
            "goal": "To keep a door open,",
            "sol1": "push a wedge under it.",
            "sol2": "push a sheet of paper under it.",
            "label": 0,
        },
    ),
)
