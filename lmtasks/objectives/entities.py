"""Scores of subwords as tags of words, and tags as entities with their characters.

The ways are those of transformers' pipeline("ner"): `none` and `simple` read every
piece by itself, the others let a word be one: by its first piece, by the mean of its
pieces' probabilities, or by the piece that is surest.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from lmtasks.data import align
from lmtasks.metrics import tagging

AGGREGATIONS = ("none", "simple", "first", "average", "max")


@dataclasses.dataclass(frozen=True)
class Mark:
    """A tag with its probability, and the characters it is said of."""

    tag: str
    score: float
    start: int
    end: int


def best(scores: np.ndarray, labels: Sequence[str]) -> tuple[str, float]:
    """Return the likeliest label of probabilities [C], and its probability."""
    place = int(np.argmax(scores))
    return labels[place], float(scores[place])


def of_word(pieces: np.ndarray, labels: Sequence[str], how: str) -> tuple[str, float]:
    """Return (tag, probability) of a word from its pieces' probabilities [n, C]."""
    if how == "average":
        return best(pieces.mean(axis=0), labels)
    if how == "max":
        return best(pieces[int(np.argmax(pieces.max(axis=1)))], labels)
    return best(pieces[0], labels)


def of_words(
    scores: Sequence[np.ndarray | None], labels: Sequence[str], how: str
) -> tuple[list[str], list[float], int]:
    """Return tags and probabilities of words, and how many words have no piece.

    Those are "O", or the commonest of the other words' tags where there is no O, with
    a probability of 0.

    Args:
        scores: of each word float32[n, C], None where the tokenizer has no piece.
        labels: C names. how: one of AGGREGATIONS.
    """
    said = [None if s is None else of_word(s, labels, how) for s in scores]
    counts = collections.Counter(one[0] for one in said if one is not None)
    usual = counts.most_common(1)[0][0] if counts else labels[0]
    filler = ("O" if "O" in labels else usual, 0.0)
    said = [filler if one is None else one for one in said]
    return [tag for tag, _ in said], [p for _, p in said], len(said) - counts.total()


def grouped(marks: Sequence[Mark], text: str) -> list[dict]:
    """Return the entities of marks in succession; their score is the mean."""
    found = []
    for kind, first, end in tagging.chunks([mark.tag for mark in marks]):
        entity = align.entity(text, kind, marks[first].start, marks[end - 1].end)
        score = np.mean([mark.score for mark in marks[first:end]])
        found.append(entity | {"score": float(score)})
    return found


def single(marks: Sequence[Mark], text: str) -> list[dict]:
    """Return each mark that is part of an entity by itself, with its "tag"."""
    return [
        align.entity(text, kind, mark.start, mark.end)
        | {"score": mark.score, "tag": mark.tag}
        for mark in marks
        for kind, _, _ in tagging.chunks([mark.tag])
    ]
