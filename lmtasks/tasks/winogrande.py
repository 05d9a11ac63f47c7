"""WinoGrande: which of two names fills the blank? (Sakaguchi et al., 2020)

TFDS winogrande (train_xl), or a folder of train_xl.jsonl, dev.jsonl and test.jsonl as
published: sentence with one "_", option1, option2, answer "1" or "2" (hidden in test).

The context is what stands before the blank, each option its name with the rest of the
sentence. A decoder scores name and rest; lm-evaluation-harness scores the rest alone
after either name, so that its accuracy differs where one name is the likelier word.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice


def example(record: base.Record) -> examples.Choice:
    """Return the beginning of the sentence with its two ends."""
    before, blank, rest = record["sentence"].partition("_")
    if not blank or not before.strip():
        raise ValueError(
            f"the sentence {record['sentence']!r} has no blank _ behind its first words"
        )
    names = (record["option1"], record["option2"])
    options = [f"{name.strip()}{rest.rstrip()}" for name in names]
    answer = _published(record)
    if "label" in record:
        answer = letters.place(record["label"], options)
    given = {"context": before.strip(), "options": options, "answer": answer}
    return choice.example(given)


def _published(record: base.Record) -> int:
    """Return the index of answer "1" or "2", -1 where it is hidden."""
    answer = str(record.get("answer", "")).strip()
    if answer not in ("", "1", "2"):
        raise ValueError(f"the answer {answer!r} is neither 1 nor 2")
    return int(answer) - 1 if answer else -1


TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(
        tfds="winogrande",
        splits={"train": "train_xl", "validation": "validation", "test": "test"},
        files={
            "train": "train_xl.jsonl",
            "validation": "dev.jsonl",
            "test": "test.jsonl",
        },
    ),
    example=example,
    samples=(
        {
            "qID": "a-1",
            "sentence": "Mia lent Lea her coat because _ was cold.",
            "option1": "Mia",
            "option2": "Lea",
            "answer": "2",
        },
        {
            "qID": "a-2",
            "sentence": "Mia lent Lea her coat because _ was warm.",
            "option1": "Mia",
            "option2": "Lea",
            "answer": "1",
        },
        {
            "sentence": "The cup did not fit in the box, as the _ was too small.",
            "option1": "cup",
            "option2": "box",
            "label": 1,
        },
    ),
)
