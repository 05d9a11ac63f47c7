"""One of several texts: the likeliest, or the commonest answer."""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Sequence


def best_of(scores: Sequence[float]) -> int:
    """Return the index of the largest score; the first of equal ones."""
    return max(range(len(scores)), key=lambda i: (scores[i], -i))


def vote(
    texts: Sequence[str], answer: Callable[[str], Hashable], scores: Sequence[float]
) -> int:
    """Return the index of a text with the commonest answer (self-consistency).

    Texts without an answer (None) do not vote unless there are no others. Of equally
    common answers the one with the largest score wins, and of the texts that give it
    the best-scored one stands for it (Wang et al., 2023, arXiv:2203.11171).
    """
    answers = [answer(text) for text in texts]
    voting = [i for i, one in enumerate(answers) if one is not None]
    voting = voting or list(range(len(texts)))
    counts = collections.Counter(answers[i] for i in voting)
    return max(voting, key=lambda i: (counts[answers[i]], scores[i], -i))
