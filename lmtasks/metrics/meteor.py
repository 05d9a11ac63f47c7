"""METEOR: words of a text found again in the right one, and in how many pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nltk.translate import meteor_score

from lmtasks.data import examples
from lmtasks.metrics import inputs

_WORD = re.compile(r"\w+|[^\w\s]")


class _NoSynonyms:
    """Stands where the library would look synonyms up."""

    @staticmethod
    def synsets(word: str) -> list:
        """Return none."""
        return []


def meteor(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"meteor"}: the mean over texts, the best gold of each, in [0, 1].

    Words match exactly or by their Porter stem, in lower case; alpha .9, beta 3, gamma
    .5 (Banerjee and Lavie, 2005). Synonyms need a download and are left out; scores
    with them have another name, `meteor_wordnet`.
    """
    return {"meteor": _mean(predictions, scored, _NoSynonyms)}


def meteor_wordnet(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"meteor_wordnet"}: as `meteor`, synonyms of WordNet matching too.

    Raises:
        ValueError: NLTK's WordNet is not installed.
    """
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        raise ValueError(
            "meteor_wordnet needs NLTK's WordNet, which is not here; install it "
            "(python -m nltk.downloader wordnet) or use meteor."
        ) from None
    return {"meteor_wordnet": _mean(predictions, scored, wordnet)}


def _mean(predictions, scored, wordnet) -> float:
    inputs.check(predictions, scored)
    total = 0.0
    for said, example in zip(inputs.said_texts(predictions), scored, strict=True):
        golds = inputs.gold_texts(example) or ("",)
        total += max(one(said, gold, wordnet) for gold in golds)
    return total / len(scored)


def one(said: str, gold: str, wordnet=_NoSynonyms) -> float:
    """Return the score of one text beside one right one."""
    words = [_WORD.findall(text.lower()) for text in (gold, said)]
    return float(meteor_score.single_meteor_score(*words, wordnet=wordnet))
