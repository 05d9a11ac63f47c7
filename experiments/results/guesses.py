"""The baselines themselves: each takes the examples and returns guesses on test."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from sklearn import feature_extraction
from sklearn import linear_model

from lmtasks.metrics import spans

REGULARIZATION = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\w+")
# {split: examples of the task}
Data = dict[str, list]


@dataclasses.dataclass(frozen=True)
class Guess:
    """One baseline: its name, what it is, the predictions on test, other numbers."""

    name: str
    about: str
    said: list[dict]
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)


def majority(data: Data) -> Guess:
    """Guess the most frequent class, each with its share."""
    counts = collections.Counter(row.label for row in data["train"])
    scores = {name: count / counts.total() for name, count in counts.items()}
    best = max(scores, key=scores.get)
    said = [{"label": best, "score": scores[best], "scores": scores}]
    return Guess("majority", f"always {best}", said * len(data["test"]))


def bag_of_words(data: Data) -> Guess:
    """Fit for each C, choose on validation."""
    features = Features(data["train"])
    x = {split: features(rows) for split, rows in data.items()}
    labels = {split: [row.label for row in rows] for split, rows in data.items()}
    scored = []
    for c in REGULARIZATION:
        model = linear_model.LogisticRegression(C=c, max_iter=2000)
        model.fit(x["train"], labels["train"])
        found = model.score(x["validation"], labels["validation"])
        scored.append((found, -c, model))
    found, c, model = max(scored, key=lambda row: row[:2])
    names = model.classes_.tolist()
    said = [
        {"label": names[int(np.argmax(p))], "scores": dict(zip(names, p.tolist()))}
        for p in model.predict_proba(x["test"])
    ]
    sides = " of each side and 5 overlaps" if features.pairs else ""
    about = f"TF-IDF 1-2-grams{sides}, logistic regression, C={-c:g}"
    return Guess("bag-of-words", about, said, {"validation_accuracy": found})


class Features:
    """TF-IDF of the text; of a pair that of each side and what they share."""

    def __init__(self, rows: Sequence):
        self.pairs = rows[0].pair is not None
        sides = ("text", "pair") if self.pairs else ("text",)
        self._sides = {
            side: feature_extraction.text.TfidfVectorizer(
                ngram_range=(1, 2), sublinear_tf=True
            ).fit([getattr(row, side) for row in rows])
            for side in sides
        }

    def __call__(self, rows: Sequence):
        blocks = [
            vectorizer.transform([getattr(row, side) for row in rows])
            for side, vectorizer in self._sides.items()
        ]
        if self.pairs:
            blocks.append(np.array([shared(row.text, row.pair) for row in rows]))
        return scipy.sparse.hstack(blocks).tocsr()


def shared(one: str, other: str) -> tuple[float, ...]:
    """Return Jaccard, the share of either text's words in the other, the ratio of their
    lengths, and whether exactly one of them says no or not.
    """
    a, b = (set(_WORD.findall(text.lower())) for text in (one, other))
    both = len(a & b)
    denied = [
        bool(words & {"no", "not", "nobody", "never", "n", "t"}) for words in (a, b)
    ]
    return (
        both / max(len(a | b), 1),
        both / max(len(a), 1),
        both / max(len(b), 1),
        min(len(a), len(b)) / max(len(a), len(b), 1),
        float(denied[0] != denied[1]),
    )


def tfidf_cosine(data: Data) -> Guess:
    """Guess 5 times the cosine; nothing is learned but the words' frequencies."""
    vectorizer = feature_extraction.text.TfidfVectorizer()
    vectorizer.fit([text for row in data["train"] for text in (row.text, row.pair)])
    one, other = (
        vectorizer.transform([getattr(row, side) for row in data["test"]])
        for side in ("text", "pair")
    )
    # Rows have length 1 already.
    cosines = np.asarray(one.multiply(other).sum(axis=1)).ravel()
    said = [{"label": 5 * float(cosine)} for cosine in cosines]
    return Guess("tfidf-cosine", "5 times the cosine of TF-IDF vectors of words", said)


def most_frequent_tag(data: Data) -> Guess:
    """Guess each word's most frequent tag."""
    counts = collections.defaultdict(collections.Counter)
    for row in data["train"]:
        for word, tag in zip(row.words, row.tags, strict=True):
            counts[word][tag] += 1
    known = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    every = sum(counts.values(), collections.Counter()).most_common(1)[0][0]
    said = [{"tags": [known.get(w, every) for w in row.words]} for row in data["test"]]
    new = np.mean([w not in known for row in data["test"] for w in row.words])
    about = f"most frequent tag of each word, {every} for an unknown one"
    return Guess("most-frequent-tag", about, said, {"unknown_words": float(new)})


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text: cut behind `.`, `!` and `?` before a space."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def first_sentence(data: Data) -> Guess:
    """Answer with the first sentence of the context."""
    said = [{"text": split_sentences(row.context)[0]} for row in data["test"]]
    return Guess("first-sentence", "the first sentence of the context", said)


def best_sentence_of(row) -> tuple[int, str]:
    """Return (words shared with the question, sentence), the first of equals."""
    asked = set(spans.normalize(row.question).split())
    counted = [
        (len(asked & set(spans.normalize(sentence).split())), sentence)
        for sentence in split_sentences(row.context)
    ]
    return max(counted, key=lambda pair: pair[0])


def best_sentence(data: Data) -> Guess:
    """Answer with the sentence that shares most words with the question."""
    said = [{"text": best_sentence_of(row)[1]} for row in data["test"]]
    return Guess("best-sentence", "the sentence that shares most words", said)


def no_answer(data: Data) -> Guess:
    """Never answer."""
    return Guess("no-answer", "never an answer", [{"text": ""}] * len(data["test"]))


def best_sentence_or_none(data: Data) -> Guess:
    """Answer with the best sentence where it shares enough words."""

    def answers(split, least):
        found = map(best_sentence_of, data[split])
        return [{"text": text if count >= least else ""} for count, text in found]

    f1 = {
        least: spans.squad_v2(answers("validation", least), data["validation"])["f1"]
        for least in range(10)
    }
    least = max(f1, key=f1.get)
    about = f"the sentence that shares most words, if it shares {least}, else none"
    numbers = {"validation_f1": f1[least]}
    return Guess("best-sentence-or-none", about, answers("test", least), numbers)
