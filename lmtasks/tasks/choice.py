"""One's own multiple choice.

Records are {"context", "options", "answer"}. Options are a list, or the columns A, B,
C, ...; the answer is the right option's text, its letter, or its number from 0 (-1 =
unknown). A prompt that lists the options (`{options}`) is answered by their letters.
"""

import re

from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import sources
from lmtasks.metrics import choice
from lmtasks.tasks import base

# A capital letter that stands alone or is set off as in a list: not that of "A dog".
_LETTER = re.compile(r"\(?([A-Z])(?:[).:]|$)")


def example(record: base.Record) -> examples.Choice:
    """Return the context with its options and the index of the right one."""
    options = record.get("options")
    if options is None:
        options = [record[c] for c in letters.LETTERS if c in record]
    options = tuple(str(option) for option in options)
    if len(options) < 2:
        raise ValueError(f"{len(options)} options are no choice; give a list of them.")
    if not all(option.strip() for option in options):
        raise ValueError("an option is empty; every option has a text.")
    return examples.Choice(record["context"], options, _index(record, options))


def _index(record: base.Record, options: tuple[str, ...]) -> int:
    """Return the index of the answer; a text wins over a letter over a number."""
    answer = record["answer"]
    text = str(answer).strip()
    known = letters.LETTERS[: len(options)]
    if not isinstance(answer, int) and text in options:
        return options.index(text)
    if text and text in known:
        return known.index(text)
    if text in [str(i) for i in range(-1, len(options))]:
        return int(text)
    raise ValueError(
        f"the answer {answer!r} is none of the options {', '.join(options)}, nor a "
        f"letter up to {known[-1]}, nor a number up to {len(options) - 1}."
    )


def parse(text: str, example: examples.Choice, labels) -> base.Prediction:
    """Return the option a generated text begins with, the longest of several, or the
    one whose letter it is: "B", "B. hot", "(B)".
    """
    said = text.strip().casefold()
    named = [o for o in example.options if said.startswith(o.strip().casefold())]
    if named:
        return {"choice": example.options.index(max(named, key=len)), "text": text}
    letter = _LETTER.match(text.strip())
    place = letters.LETTERS.index(letter[1]) if letter else len(example.options)
    return {"choice": place if place < len(example.options) else None, "text": text}


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
