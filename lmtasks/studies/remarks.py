"""What is said below a table of systems: seeds that lack, runs that are not at their end."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from lmtasks.studies import compare
from lmtasks.studies import runner


def missing_seeds(systems: Sequence[compare.System]) -> list[str]:
    """Return a line for each system that lacks seeds of the others."""
    every = sorted(set().union(*(one.seeds for one in systems)))
    return [
        f"{one.name} lacks seed {', '.join(map(str, left))}"
        for one in systems
        if (left := [seed for seed in every if seed not in one.seeds])
    ]


def unpaired(systems: Sequence[compare.System]) -> list[str]:
    """Return which systems are not compared seed by seed with the first, if any."""
    first = systems[0]
    names = [one.name for one in systems[1:] if one.seeds != first.seeds]
    if not names or max(len(one.seeds) for one in systems) < 2:
        return []
    said = (
        f"seeds are not paired between {first.name} and {', '.join(names)}, whose seeds "
        "are others: the intervals and the test over seeds are those of unpaired ones"
    )
    return [said]


def steps(systems: Sequence[compare.System]) -> list[str]:
    """Return which runs were scored before the end of their training.

    That may be meant (--step=best), or the run is not finished; the last step that it
    logged tells which.
    """
    found, shares = [], set()
    for one in systems:
        whole = one.config["train"]["steps"]
        early = []
        for folder, seed, score in zip(one.folders, one.seeds, one.scores, strict=True):
            shares.add(score.step / whole)
            if score.step < whole:
                early.append(
                    (seed, score.step, runner.state_of(pathlib.Path(folder)).step)
                )
        if early:
            found.append(f"{one.name} was scored at step {_said(early)} of {whole}")
    if len(shares) > 1:
        low, high = min(shares), max(shares)
        found.append(
            "not all was scored at the same part of its training: "
            f"{low:.0%} to {high:.0%} of train.steps"
        )
    return found


def _said(early: list[tuple[int, int, int]]) -> str:
    """Return the steps of (seed, step scored, last step logged)."""
    parts = []
    for seed, step, last in early:
        there = f", trained to {last}" if last > step else ""
        parts.append(f"{step} (seed {seed}{there})")
    return ", ".join(parts)


def of(systems: Sequence[compare.System], *, apart: bool = False) -> list[str]:
    """Return all remarks on systems; of runs that are held apart none on seeds."""
    seeds = [] if apart else [*missing_seeds(systems), *unpaired(systems)]
    return [*seeds, *steps(systems)]
