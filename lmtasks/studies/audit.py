"""What a run's data is like before it is trained on: leaks, duplicates, cuts, balance.

Words are hashed (a text in lower case, letters and digits alone), runs of `n` of them
by a rolling product modulo 2^64; nothing is kept of a text but its hashes, so that 100
MB take seconds and little memory. A false match has a chance of about 2^-40 a text.
"""

from __future__ import annotations

import collections
import dataclasses
import re

import numpy as np

from lmtasks import builder
from lmtasks import taskdata
from lmtasks.data import features
from lmtasks.data import sources
from lmtasks.training import feed
from lmtasks.training import samples

# What GPT-3 and its followers take for a leak (Brown et al., 2020, arXiv:2005.14165).
GRAM = 13
# Characters up to which every example is tokenized; of more, a part.
WHOLE = 20_000_000
_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 20
_SHOWN = 3


@dataclasses.dataclass
class Texts:
    """The hashed texts of a split.

    Attributes:
        split: its name. records: of it.
        whole: int64 hash of each text, its words. labels: of each, None without.
        lengths: words of each. characters: of all.
        grams: uint64 hashes of runs of words, of all texts one behind the other.
        owners: int32, the text each gram is of.
    """

    split: str
    records: object
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
        any, most: texts of which at least one run of words, or half of them, does.
        places: (where it stands, where in training) of some.
    """

    split: str
    count: int
    same: int
    any: int
    most: int
    places: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Texts of a split that stand in it more than once.

    Attributes:
        split, count: which, of how many.
        extra: texts beyond the first of each. conflicts: texts with several labels.
        place: (first, again) of the first one.
    """

    split: str
    count: int
    extra: int
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


def read(run: builder.Run, split: str, n: int = GRAM) -> Texts:
    """Return the hashed texts of a split of a run's task."""
    records = taskdata.records_of(run.task, split, run.data)
    whole, labels, lengths, grams, owners = [], [], [], [], []
    characters = 0
    for i in range(len(records)):
        example = features.read_example(records, i, run.task.example)
        text = samples.prompt_of(example)
        characters += len(text)
        words = _WORD.findall(text.lower())
        codes = hashes(words)
        found = grams_of(codes, n)
        whole.append(hash(tuple(words)))
        target = samples.target_of(example)
        labels.append(target)
        lengths.append(len(words))
        grams.append(found)
        owners.append(np.full(len(found), i, np.int32))
    none = [np.zeros(0, np.uint64)]
    return Texts(
        split,
        records,
        np.asarray(whole, np.int64),
        labels,
        np.asarray(lengths),
        characters,
        np.concatenate(grams or none),
        np.concatenate(owners or [np.zeros(0, np.int32)]),
    )


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
    return Overlap(
        other.split, len(other.whole), int(there.sum()), len(some), most, places
    )


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
    labels = collections.defaultdict(set)
    for i in again:
        group = int(first[inverse[i]])
        labels[group] |= {str(texts.labels[group]), str(texts.labels[int(i)])}
    conflicts = sum(len(names) > 1 for names in labels.values())
    place = None
    if len(again):
        pair = int(first[inverse[again[0]]]), int(again[0])
        place = tuple(texts.records.where(i) for i in pair)
    return Repeats(texts.split, len(texts.whole), len(again), conflicts, place)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Tokens of a split's rows.

    Attributes:
        split: which. examples: looked at. whole: whether that is all.
        middle, ninety, longest: tokens of a row, half and a tenth of all above.
        tokens: of the whole split, estimated from a part where that is all there is.
        cut: examples cut to the length. lost: tokens cut. skipped: too long.
        empty: examples without text or target.
    """

    split: str
    examples: int
    whole: bool
    middle: int
    ninety: int
    longest: int
    tokens: int
    cut: int
    lost: int
    skipped: int
    empty: int


def sizes(run: builder.Run, texts: Texts) -> Sizes:
    """Return the tokens of a split as its objective lays them out."""
    count = len(texts.whole)
    share = min(1.0, WHOLE / max(texts.characters, 1))
    part = (
        texts.records if share == 1 else texts.records.first(max(int(count * share), 1))
    )
    pieces = features.Pieces(
        part,
        run.task.example,
        run.objective,
        run.tokenizer,
        on_long=run.config.data.on_long,
    )
    each = pieces.tokens + pieces.sources
    middle, ninety, longest = (
        (int(np.quantile(each, q)) for q in (0.5, 0.9, 1.0)) if len(each) else (0, 0, 0)
    )
    counts = pieces.counts
    return Sizes(
        texts.split,
        len(part),
        share == 1,
        middle,
        ninety,
        longest,
        round(int(each.sum()) * count / max(len(part), 1)),
        counts["cut"],
        counts["tokens_cut"],
        counts["skipped_long"],
        counts["empty"],
    )


def balance(texts: Texts, most: int = 12) -> list[tuple[str, int]]:
    """Return [(label, count)], the most frequent first; [] where there are no labels."""
    if not all(isinstance(label, str) and len(label) <= 60 for label in texts.labels):
        return []
    counts = collections.Counter(texts.labels).most_common()
    if len(counts) > max(most, len(texts.labels) // 4):
        return []  # answers, each its own
    rest = sum(count for _, count in counts[most:])
    return counts[:most] + ([("others", rest)] if rest else [])


@dataclasses.dataclass(frozen=True)
class Audit:
    """All that an audit finds.

    Attributes:
        task, n: of which task, runs of how many words.
        repeats, sizes: of each split. overlaps: of those that are evaluated.
        labels: {split: balance}. feed: how training reads it, "" where it is not said.
    """

    task: str
    n: int
    repeats: list[Repeats]
    sizes: list[Sizes]
    overlaps: list[Overlap]
    labels: dict[str, list[tuple[str, int]]]
    feed: str


def audit(run: builder.Run, n: int = GRAM) -> Audit:
    """Return what the data of a run is like."""
    if run.parts:  # each task of a mixture is audited alone
        return Audit("mixture", n, [], [], [], {}, feed.read(run).summary)
    names = [
        split
        for split in sources.SPLITS
        if sources.has_split(run.task.source, split, run.data)
    ]
    if "train" not in names:
        raise ValueError("the data has no train split to hold the others against")
    found = [read(run, name, n) for name in names]
    train = found[0]
    said = feed.read(run).summary if train.characters <= WHOLE else ""
    return Audit(
        run.config.task,
        n,
        [repeats(texts) for texts in found],
        [sizes(run, texts) for texts in found],
        [overlap(train, texts) for texts in found[1:]],
        {texts.split: balance(texts) for texts in found},
        said,
    )
