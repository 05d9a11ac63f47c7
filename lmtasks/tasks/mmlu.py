"""MMLU: exam questions of 57 subjects. (Hendrycks et al., 2021)

Not in TFDS: the published folder, which holds auxiliary_train/*.csv, dev/*.csv,
val/*.csv and test/*.csv without header (question, four options, letter; the subject is
the file's name), or files with question, choices, answer (number from 0) and subject.
Prompt and scored letters are those of lm-evaluation-harness without examples.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice

_COLUMNS = ("question", "A", "B", "C", "D", "answer")
_ABOUT = "The following are multiple choice questions (with answers) about"
# auxiliary_train holds other exams, whose files name no subject.
_SUBJECT = re.compile(r"(.+)_(?:dev|val|test)\.csv")


def example(record: base.Record) -> examples.Choice:
    """Return the question, introduced by its subject, with its options."""
    question = record["question"].strip()
    subject = str(record.get("subject") or "").replace("_", " ")
    if subject:
        question = f"{_ABOUT} {subject}.\n\n{question}"
    options = record.get("choices") or [record[letter] for letter in "ABCD"]
    answer = letters.place(record["answer"], options)
    given = {"context": question, "options": options, "answer": answer}
    return choice.example(given)


def read(path: str) -> Iterator[readers.Row]:
    """Yield the rows of a published file; a header is passed over."""
    name = pathlib.Path(path).name.removesuffix(".gz")
    found = _SUBJECT.fullmatch(name)
    about = {"subject": found[1]} if found else {}
    for number, row in readers.csv_table(path, header=False):
        if isinstance(row, readers.Bad):
            yield number, row
        elif len(row) != len(_COLUMNS):
            yield number, readers.Bad(f"{len(row)} columns instead of {len(_COLUMNS)}")
        elif tuple(row.values()) != _COLUMNS:
            yield number, dict(zip(_COLUMNS, row.values(), strict=True)) | about


TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(
        splits={split: split for split in ("train", "validation", "test", "dev")},
        files={
            "train": "auxiliary_train/*.csv",
            "validation": "val/*.csv",
            "test": "test/*.csv",
            "dev": "dev/*.csv",
        },
        read=read,
    ),
    example=example,
    prompt="{context}\n{options}\nAnswer:",
    samples=(
        {
            "question": "Which planet is the largest?",
            "subject": "astronomy",
            "choices": ["Mars", "Venus", "Jupiter", "Earth"],
            "answer": 2,
        },
        {
            "question": "What is 7 times 8?",
            "A": "54",
            "B": "56",
            "C": "64",
            "D": "48",
            "answer": "B",
            "subject": "elementary_mathematics",
        },
        {
            "question": "A contract signed by a child is usually",
            "choices": ["voidable", "a crime", "a will", "a tax"],
            "answer": 0,
        },
    ),
)
