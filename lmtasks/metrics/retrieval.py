"""How well vectors find the text that belongs to another, among those of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn import preprocessing

from lmtasks.data import examples
from lmtasks.metrics import inputs

KS = (1, 5, 10)
# Similarities computed at a time: queries, each against all candidates.
BLOCK = 1024


def retrieval(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"recall@1", "recall@5", "recall@10", "mrr", "candidates", "unparsed"}.

    The first text of each pair without a score, and of each whose score is 1, looks by
    cosine for its second among the different second texts of the split (not among hard
    negatives, which have no vectors). A recall is the fraction of firsts that have it
    among the best k, mrr the mean of 1 / rank. Equal similarities count against the
    right one. A text without a vector is never found and counted as "unparsed".
    """
    inputs.check(predictions, scored)
    asked = [i for i, e in enumerate(scored) if _pair(i, e).score in (None, 1)]
    if not asked:
        return {}
    ranks = ranks_of(predictions, scored)[asked]
    found = {f"recall@{k}": float(np.mean(ranks <= k)) for k in KS}
    return found | {
        "mrr": float(np.mean(1 / ranks)),
        "candidates": float(len(_candidates(predictions, scored))),
        "unparsed": float(np.sum(np.isinf(ranks))),
    }


def ranks_of(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> np.ndarray:
    """Return float64[N], the rank from 1 of each example's second text, inf where it
    was not found, nan where none is asked for (see `retrieval`).
    """
    inputs.check(predictions, scored)
    asked = [i for i, e in enumerate(scored) if _pair(i, e).score in (None, 1)]
    known = [i for i in asked if "vector" in predictions[i]]
    found = np.full(len(scored), np.nan)
    found[asked] = np.inf
    if known:
        vectors = _candidates(predictions, scored)
        found[known] = _ranks(predictions, scored, known, vectors)
    return found


def _candidates(predictions, scored) -> dict:
    """Return {second text: its vector}, each once."""
    vectors: dict = {}
    for said, example in zip(predictions, scored, strict=True):
        if "other" in said:
            vectors.setdefault(example.second, said["other"])
    return vectors


def similarity(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"spearman", "pearson"} of the cosine and the score of each pair that has
    a score, from -1 to 1; nothing where none has.

    A prediction without a similarity counts as -1. Where all scores or all cosines
    are equal there is no correlation: 0.
    """
    inputs.check(predictions, scored)
    rated, gold, said = rated_of(predictions, scored)
    if not rated:
        return {}
    if np.ptp(gold) == 0 or np.ptp(said) == 0:
        return {"spearman": 0.0, "pearson": 0.0}
    return {
        "spearman": float(stats.spearmanr(gold, said).statistic),
        "pearson": float(stats.pearsonr(gold, said).statistic),
    }


def rated_of(predictions, scored) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return the pairs that have a score, their scores, and their cosines."""
    rated = [i for i, e in enumerate(scored) if _pair(i, e).score is not None]
    gold = np.array([scored[i].score for i in rated], np.float64)
    said = np.array([predictions[i].get("similarity", -1.0) for i in rated])
    return rated, gold, said


def _pair(i: int, example) -> examples.Pair:
    if not isinstance(example, examples.Pair):
        raise ValueError(
            f"example {i} is a {type(example).__name__}; vectors are scored on pairs of "
            "texts"
        )
    return example


def _ranks(predictions, scored, known: list[int], vectors: dict) -> np.ndarray:
    """Return the rank of the right candidate for each known example, from 1."""
    place = {text: k for k, text in enumerate(vectors)}
    candidates = preprocessing.normalize(np.array(list(vectors.values()), np.float64))
    ranks = []
    for at in range(0, len(known), BLOCK):
        part = known[at : at + BLOCK]
        queries = preprocessing.normalize(
            np.array([predictions[i]["vector"] for i in part])
        )
        cosines = queries @ candidates.T
        right = [place[scored[i].second] for i in part]
        mine = cosines[np.arange(len(part)), right]
        # The right one is as good as itself: what is at least as good is its rank.
        ranks.append(np.sum(cosines >= mine[:, None], axis=1))
    return np.concatenate(ranks)
