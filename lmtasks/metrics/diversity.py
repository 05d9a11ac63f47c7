"""How varied texts are: distinct n-grams and repetition."""

from __future__ import annotations

from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs


def diversity(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"distinct1", "distinct2", "repetition4"} of all texts, in [0, 1]."""
    inputs.check(predictions, scored)
    said = inputs.said_texts(predictions)
    return {
        "distinct1": distinct(said, 1),
        "distinct2": distinct(said, 2),
        "repetition4": repetition(said, 4),
    }


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def distinct(texts: Sequence[str], n: int) -> float:
    """Return the different n-grams of words over all of them, in [0, 1].

    Over all texts together (Li et al., 2016, arXiv:1510.03055); 0 without any n-gram.
    """
    every = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(every)) / len(every) if every else 0.0


def repetition(texts: Sequence[str], n: int = 4) -> float:
    """Return the share of n-grams of words that stood in the same text before.

    The mean over texts long enough for an n-gram (seq-rep-n, Welleck et al., 2020,
    arXiv:1908.04319); 0 where none is.
    """
    grams = [_ngrams(text, n) for text in texts]
    shares = [1 - len(set(one)) / len(one) for one in grams if one]
    return sum(shares) / len(shares) if shares else 0.0
