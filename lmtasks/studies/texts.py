"""Texts as hashes: what two splits share, and what stands in one twice.

Words are hashed (a text in lower case, letters and digits alone), runs of `n` of them
by a rolling product modulo 2^64; nothing is kept of a text but its hashes, so that 100
MB take seconds and little memory. A false match has a chance of about 2^-40 a text.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Callable

import numpy as np

from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.training import samples

# What GPT-3 and its followers take for a leak (Brown et al., 2020, arXiv:2005.14165).
GRAM = 13
_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 20
_SHOWN = 3


@dataclasses.dataclass
class Texts:
    """The hashed texts of a split.

    Attributes:
        split: its name. records: of it. example_of: record -> example.
        whole: int64 hash of each text, its words. labels: of each, None without;
            a tuple of tags, or of several labels.
        lengths: words of each. characters: of all.
        grams: uint64 hashes of runs of words, of all texts one behind the other.
        owners: int32, the text each gram is of.
    """

    split: str
    records: object
    example_of: Callable[[dict], examples.Example]
    whole: np.ndarray
    labels: list
    lengths: np.ndarray
    characters: int
    grams: np.ndarray
    owners: np.ndarray


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What an evaluation split shares with the training split.

    Attributes:
        split: evaluated. count: its texts.
        same: texts that stand in training too, whole.
        answers: of these, those that have the same answer there; None without answers.
        any, most: texts of which at least one run of words, or half of them, does.
        places: (where it stands, where in training) of some.
    """

    split: str
    count: int
    same: int
    answers: int | None
    any: int
    most: int
    places: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Texts of a split that stand in it more than once.

    Attributes:
        split, count: which, of how many.
        extra: texts beyond the first of each.
        answers: of these, those that repeat the answer of an earlier one too; None
            without answers.
        conflicts: different texts with different answers.
        place: (first, again) of the first one.
    """

    split: str
    count: int
    extra: int
    answers: int | None
    conflicts: int
    place: tuple[str, str] | None


def hashes(words: list[str]) -> np.ndarray:
    """Return uint64[n] of words; the same word has the same in this process alone."""
    return np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)


def grams_of(codes: np.ndarray, n: int) -> np.ndarray:
    """Return uint64 of every run of n words; of a shorter text, of the whole."""
    n = min(n, len(codes))
    if not n:
        return codes
    size = len(codes) - n + 1
    total = np.zeros(size, np.uint64)
    for k in range(n):  # wraps around, as it should
        total = total * _FACTOR + codes[k : k + size]
    return total


def read(split: str, records, example_of: Callable, n: int = GRAM) -> Texts:
    """Return the hashed texts of a split's records."""
    whole, labels, lengths, grams, owners = [], [], [], [], []
    characters = 0
    for i in range(len(records)):
        example = features.read_example(records, i, example_of)
        text = samples.prompt_of(example)
        characters += len(text)
        words = _WORD.findall(text.lower())
        codes = hashes(words)
        found = grams_of(codes, n)
        whole.append(hash(tuple(words)))
        labels.append(_label(example))
        lengths.append(len(words))
        grams.append(found)
        owners.append(np.full(len(found), i, np.int32))
    none = [np.zeros(0, np.uint64)]
    return Texts(
        split,
        records,
        example_of,
        np.asarray(whole, np.int64),
        labels,
        np.asarray(lengths),
        characters,
        np.concatenate(grams or none),
        np.concatenate(owners or [np.zeros(0, np.int32)]),
    )


def _label(example: examples.Example):
    """Return the answer the data gives: a text, several, or None."""
    if isinstance(example, examples.Tagged):
        return tuple(example.tags) or None
    label = samples.target_of(example)
    return tuple(label) if isinstance(label, list) else label


def overlap(train: Texts, other: Texts) -> Overlap:
    """Return what a split shares with the training split."""
    there = np.isin(other.whole, train.whole) & (other.lengths > 0)
    hits = np.zeros(len(other.whole), np.int64)
    matched = _matches(train.grams, other.grams)
    np.add.at(hits, other.owners[matched], 1)
    counts = np.bincount(other.owners, minlength=len(other.whole))
    some = np.flatnonzero(hits)
    places = []
    for i in some[:_SHOWN]:
        gram = other.grams[(other.owners == i) & matched][0]
        owner = int(train.owners[np.flatnonzero(train.grams == gram)[0]])
        places.append((other.records.where(int(i)), train.records.where(owner)))
    most = int(np.sum((hits > 0) & (2 * hits >= counts)))
    same, answers = int(there.sum()), _answered(train, other, there)
    return Overlap(other.split, len(there), same, answers, len(some), most, places)


def _answered(train: Texts, other: Texts, there: np.ndarray) -> int | None:
    """Return how many of the texts of bool[n] have the same answer in training."""
    if not _has_answers(train) or not _has_answers(other):
        return None
    sought = set(other.whole[there].tolist())
    pairs = zip(train.whole.tolist(), train.labels, strict=True)
    known = {(code, str(label)) for code, label in pairs if code in sought}
    mine = ((int(other.whole[i]), str(other.labels[i])) for i in np.flatnonzero(there))
    return sum(pair in known for pair in mine)


def _has_answers(texts: Texts) -> bool:
    return any(label is not None for label in texts.labels)


def _matches(train: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return bool[len(other)], whether each stands in training; by blocks of it."""
    sought = np.unique(other)
    found = np.zeros(len(sought), bool)
    for at in range(0, len(train), _BLOCK):
        block = train[at : at + _BLOCK]
        place = np.searchsorted(sought, block)
        place[place == len(sought)] = 0
        if len(sought):
            found[place[sought[place] == block]] = True
    return found[np.searchsorted(sought, other)] if len(sought) else found


def repeats(texts: Texts) -> Repeats:
    """Return how many texts of a split stand in it again, and with other labels."""
    _, first, inverse = np.unique(texts.whole, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(inverse)))
    again = again[texts.lengths[again] > 0]
    labels, same = collections.defaultdict(set), 0
    for i in again:
        group, own = int(first[inverse[i]]), str(texts.labels[int(i)])
        labels[group].add(str(texts.labels[group]))
        same += own in labels[group]
        labels[group].add(own)
    conflicts = sum(len(names) > 1 for names in labels.values())
    place = None
    if len(again):
        pair = int(first[inverse[again[0]]]), int(again[0])
        place = tuple(texts.records.where(i) for i in pair)
    answers = same if _has_answers(texts) else None
    return Repeats(texts.split, len(texts.whole), len(again), answers, conflicts, place)
