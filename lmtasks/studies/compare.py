"""Runs as systems: the seeds of one config together, scored on the same examples."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from lmtasks.metrics import forms
from lmtasks.studies import runner
from lmtasks.studies import scores
from lmtasks.studies import statistics
from lmtasks.training import files
from lmtasks.training import track

SURE = 0.05


@dataclasses.dataclass(frozen=True)
class System:
    """The runs of one config that differ in their seed alone.

    Attributes:
        name: how tables call it. folders: of its runs, by rising seed.
        seeds: of the runs. scores: of the runs.
        config: of the first, the seed left out.
    """

    name: str
    folders: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: tuple[scores.Scores, ...]
    config: dict = dataclasses.field(default_factory=dict, repr=False)

    def values(self, metric: str) -> np.ndarray:
        """Return float64[seeds], the score of each run."""
        parts = [one.parts[metric] for one in self.scores]
        rows = [x.sum(0) for x in forms.arrays(parts)]
        return np.array([float(forms.score(parts[0].form, row)) for row in rows])


def systems(folders: Sequence[str], split: str, *, apart: bool = False) -> list[System]:
    """Return the systems of runs in the order they were named.

    Args:
        folders: work directories with scores of the split.
        split: what they were scored on.
        apart: take every run for a system of its own.

    Raises:
        ValueError: a run without scores, one that was edited by hand, or runs that
            were scored on other examples.
    """
    names = dict(zip(folders, track.short_names(folders), strict=True))
    grouped = collections.defaultdict(list)
    for folder in folders:
        config = files.read_config(folder)
        if config is None:
            raise ValueError(
                f"{folder} is not a work directory: there is no config.json"
            )
        runner.check_config(pathlib.Path(folder))
        seed = config.pop("seed", 0)
        key = folder if apart else json.dumps(config, sort_keys=True)
        grouped[key].append((seed, folder, config))
    found = []
    for runs in grouped.values():
        runs.sort(key=lambda run: run[0])
        seeds, own, configs = zip(*runs, strict=True)
        if len(set(seeds)) < len(seeds):
            twice = collections.Counter(seeds).most_common(1)[0][0]
            same = [f for s, f, _ in runs if s == twice]
            raise ValueError(
                f"{' and '.join(same)} are the same config with the same seed {twice}; "
                "name one of them, or say --apart"
            )
        read = tuple(scores.read(folder, split) for folder in own)
        name = _common([names[folder] for folder in own])
        found.append(System(name, own, seeds, read, configs[0]))
    _check_alike([(f, s) for one in found for f, s in zip(one.folders, one.scores)])
    return _told_apart(found, names)


def _common(names: Sequence[str]) -> str:
    """Return what the names of a system's runs have in common.

    >>> _common(["pre-seed0", "pre-seed1"]), _common(["a/0"])
    ('pre', 'a/0')
    """
    if len(names) == 1:
        return names[0]
    shared = os.path.commonprefix(list(names)).rstrip("0123456789")
    return shared.rstrip("/-_. ").removesuffix("seed").rstrip("/-_. ") or names[0]


def _told_apart(found: list[System], names: dict[str, str]) -> list[System]:
    """Return the systems, named by their first run where names are the same."""
    counts = collections.Counter(one.name for one in found)
    return [
        one
        if counts[one.name] == 1
        else dataclasses.replace(one, name=names[one.folders[0]])
        for one in found
    ]


def _check_alike(read: Sequence[tuple[str, scores.Scores]]) -> None:
    """Raise ValueError unless all runs were scored on the same examples of a task."""
    first_folder, first = read[0]
    for folder, other in read[1:]:
        if (other.task, other.split) != (first.task, first.split) and (
            other.ids == first.ids
        ):
            raise ValueError(
                f"{first_folder} was scored on {first.task} {first.split} and {folder} on "
                f"{other.task} {other.split}: scores of different tasks cannot be "
                "compared; name runs of one task and split"
            )
        if other.ids == first.ids:
            continue
        shared = len({*other.ids} & {*first.ids})
        raise ValueError(
            f"{first_folder} and {folder} were scored on different examples and cannot "
            f"be paired: {len(first.ids)} of {first.task} {first.split}, {len(other.ids)} "
            f"of {other.task} {other.split}, {shared} in common; score both on the same "
            "data with the same data.limit and eval.limit (lmtasks eval)"
        )


def metrics_of(found: Sequence[System], wanted: Sequence[str] = ()) -> list[str]:
    """Return the scores that all systems have, or those wanted.

    Raises:
        ValueError: none in common, or one that a run does not have.
    """
    have = [list(one.parts) for system in found for one in system.scores]
    common = [name for name in have[0] if all(name in names for names in have)]
    for name in wanted:
        if name not in common:
            if name == "spearman":
                raise ValueError(
                    "--metrics=spearman: ranks are of all examples together, so that no "
                    "sums give their correlation on a resample; compare pearson"
                )
            near = difflib.get_close_matches(name, common, n=3, cutoff=0.3)
            raise ValueError(
                f"--metrics: {name!r} is no score that all these runs have for every "
                f"example; they have {', '.join(near or common) or 'none in common'}"
            )
    if not common:
        raise ValueError("these runs have no score in common; name runs of one task")
    return list(wanted) or common


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: `b` against `a` in `metric`, over `count` examples.

    Attributes:
        paired: what is known. holm: p corrected for all comparisons of the table;
            holm_seeds: the same of p_seeds. group: of the examples, "" = all.
    """

    metric: str
    a: str
    b: str
    count: int
    paired: statistics.Paired
    holm: float = 1.0
    holm_seeds: float | None = None
    group: str = ""

    @property
    def verdict(self) -> str:
        """Whether b is better, worse, or what keeps it from being called so."""
        if self.holm >= SURE:
            return "no difference shown"
        if self.holm_seeds is not None and self.holm_seeds >= SURE:
            return "these runs differ, the recipes are not shown to"
        less = self.metric.split("/")[-1] in forms.LESS
        return "better" if (self.paired.difference > 0) != less else "worse"


def table(
    found: Sequence[System],
    metrics: Sequence[str],
    *,
    count: int = statistics.RESAMPLES,
    groups: dict[str, np.ndarray] | None = None,
) -> list[Row]:
    """Return the comparison of every system with the first, corrected together.

    Args:
        found: two systems or more. metrics: scores that all have.
        count: resamples.
        groups: {group: indices of its examples}; None = all examples.
    """
    rows = []
    for metric in metrics:
        arrays = _arrays(found, metric)
        form = found[0].scores[0].parts[metric].form
        for name, chosen in (groups or {"": slice(None)}).items():
            first, *others = [[x[chosen] for x in runs] for runs in arrays]
            for system, other in zip(found[1:], others, strict=True):
                same = system.seeds == found[0].seeds
                paired = statistics.compare(
                    first, other, form, count=count, paired_seeds=same
                )
                size = len(first[0])
                pair = found[0].name, system.name
                rows.append(Row(metric, *pair, size, paired, group=name))
    return _corrected(rows)


def _corrected(rows: list[Row]) -> list[Row]:
    """Return the rows with p-values corrected for how many there are (Holm)."""
    over = [row.paired.p_seeds for row in rows if row.paired.p_seeds is not None]
    seeds = iter(statistics.holm(over))
    return [
        dataclasses.replace(
            row,
            holm=p,
            holm_seeds=None if row.paired.p_seeds is None else next(seeds),
        )
        for row, p in zip(
            rows, statistics.holm([row.paired.p for row in rows]), strict=True
        )
    ]


def _arrays(found: Sequence[System], metric: str) -> list[list[np.ndarray]]:
    """Return the numbers [n, k] of each run of each system."""
    flat = iter(
        forms.arrays([one.parts[metric] for system in found for one in system.scores])
    )
    return [[next(flat) for _ in system.scores] for system in found]


@dataclasses.dataclass(frozen=True)
class Change:
    """An example whose score differs between two systems, `gain` = b - a."""

    gain: float
    example: dict
    said: tuple[str, str]


def changes(a: System, b: System, metric: str) -> list[Change]:
    """Return the examples that score differently, those that gain most first.

    Scores of several seeds are their mean; what was said is the first seed's.

    Raises:
        ValueError: the score is of all examples together (BLEU, F1 of entities).
    """
    if a.scores[0].parts[metric].form not in ("ratio", "perplexity"):
        raise ValueError(
            f"--changed needs a score that each example has; {metric} is of all together"
        )

    def each(runs):
        # A weight of none (an example without words) changes nothing.
        shares = [x[:, 0] / np.where(x[:, 1] > 0, x[:, 1], np.inf) for x in runs]
        return np.mean(shares, axis=0)

    first, second = _arrays([a, b], metric)
    gains = each(second) - each(first)
    found = []
    for i in np.argsort(-gains, kind="stable"):
        if abs(gains[i]) > 1e-12:
            one, other = a.scores[0].examples[i], b.scores[0].examples[i]
            pair = (one["said"], other["said"])
            found.append(Change(float(gains[i]), one, pair))
    return found
