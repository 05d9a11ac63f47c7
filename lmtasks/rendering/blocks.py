"""The parts in which an input and its answer are shown; text and HTML draw them."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Iterable

# Marks beside the types of entities, none of which begins with a space.
ANSWER, MASK = " answer", " mask"


@dataclasses.dataclass(frozen=True)
class Passage:
    """A text in pieces (text, mark): "", ANSWER, MASK or the type of an entity."""

    name: str
    pieces: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Words:
    """Words with a tag each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Bars:
    """Rows (share in [0, 1], the number as shown, text, whether it is the answer)."""

    name: str
    rows: tuple[tuple[float, str, str, bool], ...]
    more: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Fact:
    """A value with its name; `wrong` where it says why there is no answer."""

    name: str
    value: str
    wrong: bool = False


Block = Passage | Words | Bars | Table | Fact
View = tuple[Block, ...]


def shades(views: Iterable[View]) -> dict[str, int]:
    """Return {mark: number from 0} of all marked pieces, in alphabetical order."""
    marks = {
        mark
        for view in views
        for block in view
        if isinstance(block, Passage)
        for _, mark in block.pieces
    }
    return {mark: i for i, mark in enumerate(sorted(marks - {""}))}


def cleaned(text: str) -> str:
    """Return the text with what would steer a terminal, or is no text, written out."""
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"
        else c
        for c in text
    )  # fmt: skip


def passage(name: str, *pieces: tuple[str, str]) -> Passage:
    """Return a passage of the pieces that hold any text."""
    kept = tuple((cleaned(text), mark) for text, mark in pieces if text)
    return Passage(name, kept)


def fact(name: str, value, *, wrong: bool = False) -> Fact:
    """Return a fact of a number or a text."""
    return Fact(name, cleaned(number(value)), wrong)


def number(value) -> str:
    """Return a value as text, floats with three digits."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def share(value: float) -> float:
    """Return the value inside [0, 1], 0 for what is no number."""
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
