"""Options that a prompt lists under letters, so that a letter is the answer."""

from __future__ import annotations

import string
from collections.abc import Sequence

from lmtasks.data import examples

LETTERS = string.ascii_uppercase
FIELD = "{options}"


def listed(options: Sequence[str]) -> str:
    """Return one line an option, each under its letter.

    >>> listed(["cold", "hot"])
    'A. cold\\nB. hot'
    """
    if len(options) > len(LETTERS):
        raise ValueError(
            f"{len(options)} options have no letters each; list at most "
            f"{len(LETTERS)}, or take {FIELD} out of the prompt"
        )
    lines = zip(LETTERS, options, strict=False)
    return "\n".join(f"{letter}. {option}" for letter, option in lines)


def answers(example: examples.Choice, prompt: str) -> tuple[str, ...]:
    """Return what may answer a prompt: the options' letters where it lists the options
    (`{options}`), else the options.
    """
    if FIELD in prompt:
        return tuple(LETTERS[: len(example.options)])
    return example.options


def place(answer, options: Sequence[str]) -> int:
    """Return the index of the option that a letter or a number from 0 names, -1 where
    the answer is hidden (None, "" or -1).

    >>> place("B", ["cold", "hot"]), place("0", ["1", "0"]), place("", ["a", "b"])
    (1, 0, -1)
    """
    text = "" if answer is None else str(answer).strip()
    names = [*LETTERS[: len(options)], *map(str, range(len(options)))]
    if text in ("", "-1"):
        return -1
    if text not in names:
        raise ValueError(
            f"the answer {answer!r} of {len(options)} options is neither a letter up to "
            f"{LETTERS[len(options) - 1]} nor a number up to {len(options) - 1}"
        )
    return names.index(text) % len(options)
