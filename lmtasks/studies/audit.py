"""What a run's data is like before it is trained on: leaks, duplicates, cuts, balance."""

from __future__ import annotations

import collections
import dataclasses
import functools

import numpy as np

from lmtasks import builder
from lmtasks import mixing
from lmtasks import taskdata
from lmtasks.data import features
from lmtasks.data import sources
from lmtasks.studies import texts as hashed
from lmtasks.training import feed

# Characters up to which every example is tokenized; of more, a part.
WHOLE = 20_000_000


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Tokens of a split's rows.

    Attributes:
        split: which. examples: looked at. whole: whether that is all.
        middle, ninety, longest: tokens of a row, half and a tenth of all above.
        tokens: of the whole split, estimated from a part where that is all there is.
        cut: examples cut to the length. answers: of these, those whose answer is cut,
            of objectives that write it. lost: tokens cut. skipped: too long.
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
    answers: int
    lost: int
    skipped: int
    empty: int


def sizes(run: builder.Run, texts: hashed.Texts) -> Sizes:
    """Return the tokens of a split as its objective lays them out."""
    count = len(texts.whole)
    share = min(1.0, WHOLE / max(texts.characters, 1))
    part = (
        texts.records if share == 1 else texts.records.first(max(int(count * share), 1))
    )
    pieces = features.Pieces(
        part,
        texts.example_of,
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
        counts["target_cut"],
        counts["tokens_cut"],
        counts["skipped_long"],
        counts["empty"],
    )


def balance(texts: hashed.Texts, most: int = 12) -> list[tuple[str, int]]:
    """Return [(label, count)], the most frequent first; [] where there are no labels.

    Tags, and several labels an example, are counted one by one; "none" is an example
    that could have several and has none.
    """
    labels = []
    for label in texts.labels:
        labels += (label or ("none",)) if isinstance(label, tuple) else (label,)
    if not all(isinstance(label, str) and len(label) <= 60 for label in labels):
        return []
    counts = collections.Counter(labels).most_common()
    if len(counts) > max(most, len(labels) // 4):
        return []  # answers, each its own
    rest = sum(count for _, count in counts[most:])
    return counts[:most] + ([("others", rest)] if rest else [])


@dataclasses.dataclass(frozen=True)
class Audit:
    """All that an audit finds.

    Attributes:
        task, n: of which task, runs of how many words.
        repeats, sizes: of each split, of each part of a mixture. overlaps: of those
            that are evaluated, with the training split of the same part.
        labels: {split: balance}. feed: how training reads it, "" where it is not said.
    """

    task: str
    n: int
    repeats: list[hashed.Repeats]
    sizes: list[Sizes]
    overlaps: list[hashed.Overlap]
    labels: dict[str, list[tuple[str, int]]]
    feed: str


def audit(run: builder.Run, n: int = hashed.GRAM) -> Audit:
    """Return what the data of a run is like; of a mixture, that of each part."""
    groups = [part for part in _splits(run, n) if part]
    trains = [part[0] for part in groups]
    if not groups or not all(one.split.endswith("train") for one in trains):
        raise ValueError("the data has no train split to hold the others against")
    found = [texts for part in groups for texts in part]
    characters = sum(train.characters for train in trains)
    return Audit(
        run.config.task,
        n,
        [hashed.repeats(texts) for texts in found],
        [sizes(run, texts) for texts in found],
        [hashed.overlap(part[0], texts) for part in groups for texts in part[1:]],
        {texts.split: balance(texts) for texts in found},
        feed.read(run).summary if characters <= WHOLE or run.parts else "",
    )


def _splits(run: builder.Run, n: int) -> list[list[hashed.Texts]]:
    """Return the hashed splits of a run's task, training first; of each of a mixture."""
    if not run.parts:
        example_of = run.task.example
        return [
            [
                hashed.read(
                    split,
                    taskdata.records_of(run.task, split, run.data),
                    example_of,
                    n,
                )
                for split in sources.SPLITS
                if sources.has_split(run.task.source, split, run.data)
            ]
        ]
    found = []
    for number, part in enumerate(run.parts):
        example_of = functools.partial(mixing.turned, run.parts, number)
        found.append([
            hashed.read(f"{part.name} {split}", part.records(split), example_of, n)
            for split in sources.SPLITS
            if part.has(split)
        ])  # fmt: skip
    return found
