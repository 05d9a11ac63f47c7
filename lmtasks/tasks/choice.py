"""One's own multiple choice.

Records are {"context", "options", "answer"}. Options are a list, or the columns A, B,
C, ...; the answer is the right option's text, its letter, or its number from 0 (-1 =
unknown).
"""

import string

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import choice
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Choice:
    """Return the context with its options and the index of the right one."""
    options = record.get("options")
    if options is None:
        options = [record[c] for c in string.ascii_uppercase if c in record]
    options = tuple(str(option) for option in options)
    if len(options) < 2:
        raise ValueError(f"{len(options)} options are no choice; give a list of them.")
    return examples.Choice(record["context"], options, _index(record, options))


def _index(record: base.Record, options: tuple[str, ...]) -> int:
    """Return the index of the answer; a text wins over a letter over a number."""
    answer = record["answer"]
    text = str(answer).strip()
    letters = string.ascii_uppercase[: len(options)]
    if not isinstance(answer, int) and text in options:
        return options.index(text)
    if text and text in letters:
        return letters.index(text)
    if text in [str(i) for i in range(-1, len(options))]:
        return int(text)
    raise ValueError(
        f"the answer {answer!r} is none of the options {', '.join(options)}, nor a "
        f"letter up to {letters[-1]}, nor a number up to {len(options) - 1}."
    )


def parse(text: str, example: examples.Example, labels) -> base.Prediction:
    """Return the option a generated text begins with, the longest of several."""
    said = text.strip().casefold()
    named = [o for o in example.options if said.startswith(o.strip().casefold())]
    best = example.options.index(max(named, key=len)) if named else None
    return {"choice": best, "text": text}


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Choice,
    metrics=(choice.accuracy,),
    prompt="{context}",
    parse=parse,
    samples=(
        {"context": "Ice is", "options": ["cold", "hot"], "answer": 0},
        {"context": "Fire is", "options": ["cold", "hot"], "answer": "hot"},
        {"context": "Snow is", "A": "black", "B": "white", "C": "red", "answer": "B"},
        {"context": "Tar is", "options": ["black", "white"], "answer": 0},
    ),
)
