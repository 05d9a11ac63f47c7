"""Which sentences of a document make its summary: the best ones, baselines, scores."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from rouge_score import tokenizers

from lmtasks.data import examples
from lmtasks.data import sentences
from lmtasks.metrics import generation
from lmtasks.metrics import inputs

KEEP, DROP = "keep", "drop"
_WORDS = tokenizers.DefaultTokenizer(use_stemmer=False)
_SHOWN = ("rouge1", "rouge2", "rougeL")
# Of TextRank: the share of the time that a walk follows a similarity (Mihalcea and
# Tarau, 2004, "TextRank: Bringing Order into Text", section 2.1), and its length.
_DAMPING, _WALK = 0.85, 50


def oracle(document: Sequence[str], summary: str, most: int = 3) -> list[int]:
    """Return the sentences, in order, that together are most like a summary.

    Greedily: the one that raises the sum of ROUGE-1 and ROUGE-2 most, as long as one
    does (Nallapati et al., 2017, arXiv:1611.04230, section 3.2). [] where none shares a
    word with it.

    Args:
        document: its sentences. summary: what is aimed at. most: sentences taken.
    """
    words = [_WORDS.tokenize(one) for one in document]
    aim = [_grams(_WORDS.tokenize(summary), n) for n in (1, 2)]
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < most:
        scores = {
            i: _overlap([words[k] for k in sorted([*chosen, i])], aim)
            for i in range(len(document))
            if i not in chosen
        }
        top = max(scores, key=lambda i: (scores[i], -i), default=None)
        if top is None or scores[top] <= best:
            break
        best = scores[top]
        chosen.append(top)
    return sorted(chosen)


def closest(document: Sequence[str], summaries: Sequence[str], most: int) -> list[int]:
    """Return the sentences of `oracle` for that of several summaries that they are
    most like.
    """

    def likeness(way):
        chosen, summary = way
        aim = [_grams(_WORDS.tokenize(summary), n) for n in (1, 2)]
        return _overlap([_WORDS.tokenize(document[i]) for i in chosen], aim)

    ways = [(oracle(document, summary, most), summary) for summary in summaries]
    return max(ways, key=likeness)[0]


def _grams(words: Sequence[str], n: int) -> collections.Counter:
    return collections.Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _overlap(said: list[list[str]], aim: list[collections.Counter]) -> float:
    """Return the sum of the F1 of single words and pairs."""
    words = list(itertools.chain.from_iterable(said))
    total = 0.0
    for n, gold in enumerate(aim, 1):
        mine = _grams(words, n)
        size = mine.total() + gold.total()
        total += 2 * (mine & gold).total() / size if size else 0.0
    return total


def lead(document: Sequence[str], count: int) -> list[int]:
    """Return the first `count` sentences."""
    return list(range(min(count, len(document))))


def textrank(document: Sequence[str], count: int) -> list[int]:
    """Return the `count` sentences, in order, that are most like all others.

    A walk over the document goes from a sentence to another by the words they share,
    over the logarithms of their lengths, and stays longest at these.
    """
    words = [set(_WORDS.tokenize(one)) for one in document]
    n = len(document)
    like = np.zeros((n, n))
    for i, j in itertools.combinations(range(n), 2):
        size = math.log(max(len(words[i]), 1)) + math.log(max(len(words[j]), 1))
        like[i, j] = like[j, i] = len(words[i] & words[j]) / size if size else 0.0
    sums = like.sum(axis=1, keepdims=True)
    steps = np.divide(like, sums, out=np.zeros_like(like), where=sums > 0)
    rank = np.full(n, 1 / max(n, 1))
    for _ in range(_WALK):
        rank = (1 - _DAMPING) / max(n, 1) + _DAMPING * steps.T @ rank
    return sorted(np.argsort(-rank, kind="stable")[:count].tolist())


def chosen(prediction: inputs.Prediction) -> list[int]:
    """Return the sentences that tags keep, in order; the likeliest where none does."""
    tags, scores = prediction.get("tags") or [], prediction.get("scores") or []
    kept = [i for i, tag in enumerate(tags) if tag == KEEP]
    if kept or not tags:
        return kept
    # The score is that of the tag given: the surest to keep is the least sure to drop.
    return [int(np.argmin(scores))] if scores else [0]


def summary(prediction: inputs.Prediction, example: examples.Example) -> dict:
    """Return the prediction with "text", the sentences it keeps."""
    text = " ".join(example.words[i] for i in chosen(prediction))
    return {**prediction, "text": text}


def rouge(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return ROUGE, as generation.rouge does, of the sentences kept."""
    said = [
        one if "text" in one else summary(one, example)
        for one, example in zip(predictions, scored, strict=True)
    ]
    return generation.rouge(said, [_as_turns(example) for example in scored])


def baselines(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return what choosing sentences reaches, the model aside: {"lead_rouge1", ..}.

    The first ones, those of `textrank`, and of `oracle`, which knows the summaries: the
    best that whole sentences can do. As many as the summaries have on average.

    Raises:
        ValueError: the examples hold no document.
    """
    inputs.check(predictions, scored)
    documents = [_document(example) for example in scored]
    turns = [_as_turns(example) for example in scored]
    golds = [inputs.gold_texts(one) for one in turns]
    mean = sum(len(sentences.split(gold[0])) for gold in golds) / len(golds)
    count = max(round(mean), 1)
    ways: dict[str, Callable] = {
        "lead": lambda document, _: lead(document, count),
        "textrank": lambda document, _: textrank(document, count),
        "oracle": lambda document, gold: closest(document, gold, count),
    }
    out = {}
    for way, choose in ways.items():
        said = [
            {"text": " ".join(document[i] for i in choose(document, gold))}
            for document, gold in zip(documents, golds, strict=True)
        ]
        found = generation.rouge(said, turns)
        out |= {f"{way}_{name}": found[name] for name in _SHOWN}
    return out


def has_document(example: examples.Example) -> bool:
    """Return whether an example holds a document with a summary."""
    if isinstance(example, examples.Turns):
        return "text" in example.fields
    return isinstance(example, examples.Sentences)


def _document(example: examples.Example) -> list[str]:
    if not has_document(example):
        raise ValueError(
            f"a {type(example).__name__} holds no document whose sentences could be "
            "chosen; baselines are for tasks of summaries."
        )
    if isinstance(example, examples.Sentences):
        return list(example.words)
    return sentences.split(example.fields["text"])


def _as_turns(example: examples.Example) -> examples.Turns:
    """Return Turns with the summaries as accepted texts."""
    if isinstance(example, examples.Turns):
        return example
    return examples.Turns((), example.summaries)
