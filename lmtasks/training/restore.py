"""The reading side of checkpoints: which is whole, and does it fit the model."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import re
import sys
import typing

import jax
import numpy as np
from jax.experimental import multihost_utils

from lmtasks.training import arrays
from lmtasks.training import manifest

FORMAT = 1
Tree = typing.Any
# Sent to the other hosts in place of a step.
_NONE, _ALL_DAMAGED = -1, -2


def _step(path: pathlib.Path) -> int | None:
    found = re.fullmatch(r"(\d+)(\.replaced)?", path.name)
    return int(found[1]) if found else None


def steps(folder: str | os.PathLike) -> list[int]:
    """Return the steps saved in the folder, rising; they may be damaged."""
    folder = pathlib.Path(folder)
    found = {_step(path) for path in folder.iterdir()} if folder.is_dir() else set()
    return sorted(found - {None})


def path_of(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Return where a step is: a kill may have left only the one to be replaced."""
    path, aside = folder / str(step), folder / f"{step}.replaced"
    return aside if aside.is_dir() and not path.exists() else path


def about(folder: pathlib.Path, step: int) -> dict:
    """Return what is saved beside the arrays: leaves, keys, metrics and meta."""
    path = path_of(folder, step) / "meta.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["format"] > FORMAT:
        raise ValueError(
            f"checkpoint {step} of {folder} has format {found['format']} and this "
            f"version of lmtasks reads up to {FORMAT}; update lmtasks."
        )
    return found


def choose(
    folder: pathlib.Path, step: int | None, *, verify: bool, aside: bool
) -> int | None:
    """Return the step to restore, the same on every host; None if there is none.

    Args:
        folder: of the checkpoints.
        step: the one to take; None is the newest whole one.
        verify: compare checksums; False compares names and sizes only.
        aside: rename the damaged ones that are passed over.

    Raises:
        ValueError: `step` is missing or damaged, or every checkpoint is damaged.
    """
    if step is not None:
        _check_one(folder, step, verify)
        return step
    chosen = _newest_whole(folder, verify, aside) if jax.process_index() == 0 else _NONE
    if jax.process_count() > 1:
        chosen = int(multihost_utils.broadcast_one_to_all(np.int32(chosen)))
    if chosen == _ALL_DAMAGED:
        raise ValueError(
            f"every checkpoint in {folder} is damaged, so nothing can be restored: "
            "bring back a copy of one, or start over in an empty work directory."
        )
    return None if chosen == _NONE else chosen


def _check_one(folder: pathlib.Path, step: int, verify: bool):
    known = steps(folder)
    if step not in known:
        raise ValueError(
            f"there is no checkpoint {step} in {folder}; it has "
            f"{', '.join(map(str, known)) or 'none'}."
        )
    if wrong := manifest.damage(path_of(folder, step), contents=verify):
        raise ValueError(
            f"checkpoint {step} of {folder} is damaged: {wrong}; choose another of "
            f"{', '.join(map(str, known))}."
        )


def _newest_whole(folder: pathlib.Path, verify: bool, aside: bool) -> int:
    damaged = False
    for step in reversed(steps(folder)):
        path = path_of(folder, step)
        wrong = manifest.damage(path, contents=verify)
        if not wrong:
            if damaged:
                _say(f"Falling back to checkpoint {step} of {folder}.")
            return step
        damaged = True
        name = f" It is now {_set_aside(path)}." if aside else ""
        _say(f"Checkpoint {step} of {folder} is damaged: {wrong}.{name}")
    return _ALL_DAMAGED if damaged or list(folder.glob("*.damaged*")) else _NONE


def _set_aside(path: pathlib.Path) -> str:
    number, n = _step(path), 1
    aside = path.with_name(f"{number}.damaged")
    while aside.exists():
        n += 1
        aside = path.with_name(f"{number}.damaged.{n}")
    path.rename(aside)
    return aside.name


def _say(text: str):
    logging.getLogger(__name__).warning(text)
    print(text, file=sys.stderr, flush=True)


def load(
    folder: pathlib.Path, step: int, like: Tree, *, part: str
) -> tuple[Tree, dict]:
    """Return (the leaves below `part`, in the form of `like`; meta) of a whole step.

    Args:
        folder: of the checkpoints.
        step: what `choose` returned.
        like: arrays or `jax.ShapeDtypeStruct`s with shardings.
        part: "" for the whole state, "params/" for its parameters.

    Raises:
        ValueError: the leaves have other names, types or shapes.
    """
    found = about(folder, step)
    there = {n: kind for n, kind in found["leaves"].items() if n.startswith(part)}
    here = {part + name: kind for name, kind in arrays.kinds(like).items()}
    _check_fit(there, here, f"checkpoint {step} of {folder}")
    path = path_of(folder, step) / "state"
    return arrays.read(path, like, part=part, keys=found["keys"]), found["meta"]


def _check_fit(there: dict[str, list], here: dict[str, list], what: str):
    """Raise unless both have the same leaves; names at most three that differ."""
    wrong = [n for n in here | there if here.get(n) != there.get(n)]
    if not wrong:
        return

    def kind(of):
        return f"{of[0]}{of[1]}" if of else "absent"

    faults = [
        f"{n} is {kind(there.get(n))} there, {kind(here.get(n))} here" for n in wrong
    ]
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise ValueError(
        f"{what} does not fit this model: {'; '.join(faults[:3])}{more}. Use the config "
        "it was trained with, or another work directory."
    )
