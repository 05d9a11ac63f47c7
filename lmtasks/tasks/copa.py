"""COPA: which is the likelier cause or effect? (Roemmele et al., 2011)

TFDS super_glue/copa, whose builder needs TensorFlow (a prepared folder does not), or a
folder of SuperGLUE's train.jsonl, val.jsonl and test.jsonl: premise, choice1, choice2,
question (cause or effect), label (hidden in test). As in lm-evaluation-harness the
premise goes on with because or therefore, and an option begins with a small letter.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice

_CONNECTORS = {"cause": "because", "effect": "therefore"}


def example(record: base.Record) -> examples.Choice:
    """Return the premise up to the connector with its two continuations."""
    question = record["question"]
    if question not in _CONNECTORS:
        raise ValueError(f"the question {question!r} is neither cause nor effect")
    premise = record["premise"].strip().removesuffix(".")
    options = [_small(record[key]) for key in ("choice1", "choice2")]
    answer = letters.place(record.get("label"), options)
    context = f"{premise} {_CONNECTORS[question]}"
    return choice.example({"context": context, "options": options, "answer": answer})


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(
        tfds="super_glue/copa",
        files={"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"},
    ),
    example=example,
    samples=(
        {
            "premise": "The street was wet.",
            "choice1": "It had rained.",
            "choice2": "It had a name.",
            "question": "cause",
            "idx": 0,
            "label": 0,
        },
        {
            "premise": "The lamp broke.",
            "choice1": "The door closed.",
            "choice2": "The room was dark.",
            "question": "effect",
            "idx": 1,
            "label": 1,
        },
        {
            "premise": "Her bag was heavy.",
            "choice1": "She had packed books.",
            "choice2": "She had eaten soup.",
            "question": "cause",
            "idx": 2,
            "label": 0,
        },
    ),
)
