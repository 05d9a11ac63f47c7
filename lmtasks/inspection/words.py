"""Words in the table of token embeddings: what lies near, and a picture of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib import figure
from sklearn import preprocessing

from lmtasks.tokenizers import base as tokenizers
from lmtasks.types import Params


@dataclasses.dataclass(frozen=True)
class Word:
    """A word, its ids as it stands inside a sentence, and the mean of their rows."""

    text: str
    ids: tuple[int, ...]
    vector: np.ndarray


def table_of(params: Params) -> np.ndarray:
    """Return the table of token embeddings, float[V, D], of a model's parameters."""
    return np.asarray(params["embed"]["tokens"])


def find(text: str, tokenizer: tokenizers.Tokenizer, table: np.ndarray) -> Word:
    """Return a word with its vector, float64[D].

    Where the tokenizer keeps the space before a word (" king" is one piece of GPT-2),
    the word is read with it, unless it is fewer pieces without.

    Args:
        text: the word. tokenizer: of the run.
        table: float[V, D], the token embeddings.

    Raises:
        ValueError: a word without any piece.
    """
    alone = tokenizer.encode(text)
    spaced = tokenizer.encode(f" {text}", continues=True)
    ids = spaced if len(spaced) <= len(alone) else alone
    if not text.strip() or not ids:
        raise ValueError(f"--words: {text!r} has no pieces; give words of the text")
    return Word(text, tuple(ids), np.asarray(table[np.array(ids)], np.float64).mean(0))


def nearest(
    word: Word, tokenizer: tokenizers.Tokenizer, table: np.ndarray, count: int = 10
) -> list[tuple[str, float]]:
    """Return the (piece, cosine) nearest to a word, best first.

    Left out are the word's own pieces, special tokens, and rows that no piece has.
    """
    rows = preprocessing.normalize(np.asarray(table[: tokenizer.size], np.float64))
    cosines = rows @ preprocessing.normalize(word.vector[None])[0]
    cosines[[i for i in {*word.ids, *tokenizer.special_ids} if i < len(rows)]] = -np.inf
    best = np.argsort(-cosines, kind="stable")[:count]
    return [
        (tokenizer.piece(int(i)), float(cosines[i]))
        for i in best
        if np.isfinite(cosines[i])
    ]


def plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (points [N, 2], the two fractions of the variance they explain).

    The two directions along which the vectors float[N, D] differ most (principal
    components, by singular values). The first coordinate that is not 0 of a direction
    is made positive, so that a picture is the same every time.

    Raises:
        ValueError: fewer than 3 vectors, which always fit a plane.
    """
    if len(vectors) < 3:
        raise ValueError(
            f"a picture needs at least 3 words, got {len(vectors)}; name more in "
            "--words"
        )
    centred = vectors - vectors.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    for direction in directions[:2]:
        first = direction[np.argmax(np.abs(direction) > 1e-9)]
        direction *= -1 if first < 0 else 1
    points = centred @ directions[:2].T
    if points.shape[1] < 2:  # an embedding of one dim
        points = np.pad(points, ((0, 0), (0, 1)))
        sizes = np.pad(sizes, (0, 1))
    variance = sizes**2
    return points, variance[:2] / max(variance.sum(), 1e-12)


def draw(words: Sequence[Word]) -> tuple[figure.Figure, np.ndarray]:
    """Return (a picture of the words in their plane, the variance it explains)."""
    points, explained = plane(np.stack([word.vector for word in words]))
    picture = figure.Figure(figsize=(7, 6), layout="constrained")
    panel = picture.subplots()
    panel.scatter(points[:, 0], points[:, 1], s=18, color="#0072B2", zorder=3)
    # Words of like height are written on different sides of their points.
    for place, i in enumerate(np.argsort(points[:, 1], kind="stable")):
        step, align = (-5, "right") if place % 2 else (5, "left")
        panel.annotate(
            words[i].text,
            points[i],
            xytext=(step, 0),
            textcoords="offset points",
            ha=align,
            va="center",
        )
    first, second = (f"{100 * share:.0f}% of the variance" for share in explained)
    panel.set_xlabel(first)
    panel.set_ylabel(second)
    panel.set_aspect("equal", adjustable="datalim")
    panel.margins(0.12)
    panel.grid(color="#dddddd", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    return picture, explained
