"""One's own source and target texts.

For translation, summaries, questions with written answers. Records are {"source",
"target"}. Two files that correspond line by line are parallel text:
config.data.files.train=train.en+train.de. `references` may list further accepted
targets. The source is the prompt as it stands.
"""

import dataclasses
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import answers
from lmtasks.metrics import generation
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Turns:
    """Return the source as the user's turn, the target as the assistant's."""
    return turns(record["source"], record["target"], *record.get("references", ()))


def turns(prompt: str, reply: str, *references: str) -> examples.Turns:
    """Return one question with its reply; also used by other tasks."""
    said = (examples.Turn("user", prompt), examples.Turn("assistant", reply))
    return examples.Turns(said, tuple(references))


def asked(prompt: str, replies: Sequence[str], **fields: str) -> examples.Turns:
    """Return the fields in a prompt, with the reply; further ones are accepted too."""
    found = turns(prompt.format(**fields), *replies)
    return dataclasses.replace(found, fields=fields)


def summarize(what: str) -> str:
    """Return the prompt of a summary of what is called so."""
    return f"Summarize the following {what}: {{text}} Summary:"


# Prompts that several tasks share.
QUESTION = "Question: {question} Answer:"
QUESTIONS = {"bare": "{question}", "letters": "Q: {question}\nA:"}
STEPS = QUESTIONS | {
    "steps": "Question: {question} Let's think step by step. Answer:",
}

TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Turns,
    metrics=(
        generation.exact_match,
        generation.token_f1,
        generation.bleu,
        generation.chrf,
    ),
    prompt="",
    samples=(
        {"source": "reverse: a b c d", "target": "d c b a"},
        {"source": "reverse: w x y z", "target": "z y x w"},
        {
            "source": "write it out: 2 + 3 = 5",
            "target": "two plus three is five",
            "references": ["two and three makes five"],
        },
    ),
)
# What the tasks of problems with a number as their answer have in common.
SOLUTIONS = dataclasses.replace(
    TASK,
    metrics=(answers.accuracy,),
    prompt=QUESTION,
    prompts=STEPS,
    parse=answers.parse,
)
# What the tasks of summaries have in common.
SUMMARIES = dataclasses.replace(
    TASK,
    metrics=(generation.rouge,),
    prompt=summarize("text"),
    prompts={"t5": "summarize: {text}", "tldr": "{text}\nTL;DR:"},
    decode={"method": "beam", "beams": 4},
)
