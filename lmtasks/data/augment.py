"""Changed copies of texts for small data: words deleted, swapped, filled in anew.

Deletion and swaps are those of EDA (Wei and Zou, 2019, arXiv:1901.11196); filling in by
a masked language model is contextual augmentation (Kobayashi, 2018, arXiv:1805.06201).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from lmtasks.data import examples
from lmtasks.data import features

# What stands for a word that is to be filled in.
MASK = "[MASK]"
# Texts with masks -> for each mask of each text its candidates {"text", "score"}.
Filler = Callable[[list[str]], Sequence[Sequence[Sequence[Mapping[str, typing.Any]]]]]
# Entity markers (see tasks.relations): they and what they hold stay as they are.
_MARKER = re.compile(r"\[(/?)E[12]\]")
_CORE = re.compile(r"(\W*)(.*\w)(\W*)")
_WORD = re.compile(r"\w+(?:[-']\w+)*")


@dataclasses.dataclass(frozen=True)
class Options:
    """The section config.augment.

    Attributes:
        copies: changed copies of each training text, beside the text itself; 0 = off.
        delete: probability of a word to be left out. swap: to change places with
            another. fill: to be replaced by what a masked model expects in its place.
        model: work directory of that model.
    """

    copies: int = 0
    delete: float = 0.0
    swap: float = 0.0
    fill: float = 0.0
    model: str = ""

    def __post_init__(self):
        if self.copies < 0:
            raise ValueError(f"augment.copies={self.copies} must be at least 0")
        for name in ("delete", "swap", "fill"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ValueError(
                    f"augment.{name}={share} is a probability; set it to at least 0 and "
                    "below 1"
                )
        if self.copies and not (self.delete or self.swap or self.fill):
            raise ValueError(
                f"augment.copies={self.copies} makes copies without a change; set "
                "augment.delete, augment.swap or augment.fill"
            )
        if self.fill and not self.model:
            raise ValueError(
                f"augment.fill={self.fill} needs a masked language model: set "
                "augment.model to its work directory"
            )


@dataclasses.dataclass
class Draft:
    """A text being changed: its words, the masks among them, and what was done.

    `kept` are the words under the masks, by place; they come back where a mask cannot
    be filled.
    """

    words: list[str]
    kept: dict[int, str] = dataclasses.field(default_factory=dict)
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def text(self) -> str:
        """Return the words apart by spaces."""
        return " ".join(self.words)


def augment(text: str, rng: np.random.Generator, options: Options) -> Draft:
    """Return a changed copy of a text; its words to be filled in are masked.

    At least one word is left. White space between words becomes one space.

        "the old cat sleeps ." -> "the cat [MASK] ." with counts {"deleted": 1}
    """
    draft = Draft(_deleted(text.split(), rng, options.delete))
    draft.counts["deleted"] = len(text.split()) - len(draft.words)
    _swap(draft, rng, options.swap)
    chosen = [i for i in _free(draft.words) if rng.random() < options.fill]
    for at in chosen if MASK not in text else ():  # its own masks are not ours to fill
        core = _CORE.fullmatch(draft.words[at])
        if core:  # a word; its punctuation stays
            draft.kept[at] = draft.words[at]
            draft.words[at] = f"{core[1]}{MASK}{core[3]}"
    return draft


def fill_in(draft: Draft, fills, rng: np.random.Generator) -> None:
    """Put a candidate in the place of each mask of a draft, drawn by its score.

    The word that stood there, and what is no word, are no candidates; where none is
    left, and where `fills` ends, the word comes back.
    """
    given = iter(fills)
    for at, word in draft.kept.items():
        before, core, after = _CORE.fullmatch(word).groups()
        found = [
            (one["text"].strip(), float(one["score"]))
            for one in next(given, ())
            if _is_word(one) and one["text"].strip().casefold() != core.casefold()
        ]
        shares = np.array([score for _, score in found])
        if shares.sum() <= 0:
            draft.words[at] = word
            draft.counts["unfilled"] += 1
            continue
        chosen = found[rng.choice(len(found), p=shares / shares.sum())][0]
        draft.words[at] = f"{before}{chosen}{after}"
        draft.counts["filled"] += 1
    draft.kept = {}


def _is_word(candidate: Mapping) -> bool:
    """Return whether a candidate is a word of its own, not the rest of one."""
    rest = str(candidate.get("token", "")).startswith("##")
    return not rest and bool(_WORD.fullmatch(candidate["text"].strip()))


def _free(words: Sequence[str]) -> list[int]:
    """Return the places of the words that are no marker and not between two."""
    out, inside = [], 0
    for i, word in enumerate(words):
        marks = _MARKER.findall(word)
        inside += len(marks) - 2 * marks.count("/")
        if not marks and not inside:
            out.append(i)
    return out


def _deleted(words: list[str], rng, share: float) -> list[str]:
    free = _free(words)
    gone = {i for i in free if rng.random() < share}
    if len(gone) == len(words) and words:
        gone.remove(int(rng.choice(sorted(gone))))
    return [word for i, word in enumerate(words) if i not in gone]


def _swap(draft: Draft, rng, share: float) -> None:
    words, free = draft.words, _free(draft.words)
    for i in [i for i in free if rng.random() < share and len(free) > 1]:
        other = int(rng.choice([j for j in free if j != i]))
        words[i], words[other] = words[other], words[i]
        draft.counts["swapped"] += 1


# Key of the counts -> how it is said.
_SAID = {
    "deleted": "words deleted",
    "swapped": "swapped",
    "filled": "filled in anew",
    "unfilled": "left for want of another word",
    "unchanged": "copies without a change",
}


class Augmented(Sequence):
    """Records with changed copies behind each: record i of the whole is copy
    i mod (1 + copies) of record i div (1 + copies), copy 0 the record itself.

    Attributes:
        made: the examples of all copies, in order.
        counts: copies, copies that came out unchanged, and how many words were
            deleted, swapped, filled in, or left for want of another word.
        skipped: malformed records that were left out.
        fingerprint: changes with the records and with any of the copies.
    """

    def __init__(self, records, made: list, copies: int, counts: Mapping[str, int]):
        self.records, self.made, self.copies = records, made, copies
        self.counts, self.skipped = counts, getattr(records, "skipped", 0)
        self.fingerprint = features.fingerprint(records.fingerprint, copies, made)

    def __len__(self):
        return len(self.records) * (1 + self.copies)

    def __getitem__(self, i: int) -> Numbered:
        return Numbered(self.records[i // (1 + self.copies)], i)

    def where(self, i: int) -> str:
        """Return where record i came from, and which copy it is."""
        at, copy = divmod(i, 1 + self.copies)
        return self.records.where(at) + (f", copy {copy}" if copy else "")

    def example(self, record: Numbered, example_of: Callable):
        """Return the example of a record, changed for a copy."""
        at, copy = divmod(record.number, 1 + self.copies)
        return self.made[at * self.copies + copy - 1] if copy else example_of(record)

    def summary(self) -> str:
        """Return one line about what was changed."""
        c = self.counts
        said = [f"{c[key]} {what}" for key, what in _SAID.items() if c.get(key)]
        return f"{c['copies']} changed copies ({', '.join(said) or 'no change'})"


class Numbered(dict):
    """A record that knows its place in `Augmented`."""

    def __init__(self, record: Mapping, number: int):
        super().__init__(record)
        self.number = number


def wrap(
    records,
    example_of: Callable,
    options: Options,
    seed: int,
    filler: Filler | None = None,
) -> tuple[Augmented, Callable]:
    """Return (records with their copies, what makes examples of them).

    What copy k of record i says depends on (seed, i, k) and the filler alone. All
    copies are made here, in memory, and filled in by one call.

    Raises:
        ValueError: a task whose examples are neither texts nor pairs of texts.
    """
    counts: collections.Counter = collections.Counter()
    copies = []
    for i in range(len(records)):
        example = features.read_example(records, i, example_of)
        for k in range(1, options.copies + 1):
            rng = np.random.default_rng((seed, i, k))
            texts = _texts(example)
            drafts = {key: augment(text, rng, options) for key, text in texts.items()}
            copies.append((example, drafts, rng))
    _fill_all(copies, filler)
    made = []
    for example, drafts, _ in copies:
        texts = {key: draft.text for key, draft in drafts.items()}
        before = {key: " ".join(one.split()) for key, one in _texts(example).items()}
        counts["unchanged"] += texts == before
        for draft in drafts.values():
            counts.update(draft.counts)
        made.append(dataclasses.replace(example, **texts))
    counts["copies"] = len(made)
    whole = Augmented(records, made, options.copies, counts)
    return whole, functools.partial(whole.example, example_of=example_of)


def _texts(example) -> dict[str, str]:
    """Return the texts of an example that are changed, by field."""
    if not isinstance(example, examples.Labelled | examples.Text):
        raise ValueError(
            "augment.copies changes texts and pairs of texts (Labelled, Text), not "
            f"{type(example).__name__} examples; set it to 0"
        )
    return {k: vars(example)[k] for k in ("text", "pair") if vars(example).get(k)}


def _fill_all(copies, filler: Filler | None) -> None:
    waiting = [
        (draft, rng) for _, drafts, rng in copies for draft in drafts.values()
        if draft.kept
    ]  # fmt: skip
    if not waiting:
        return
    assert filler is not None, "augment.fill without a filler"
    found = filler([draft.text for draft, _ in waiting])
    for (draft, rng), fills in zip(waiting, found, strict=True):
        fill_in(draft, fills, rng)
