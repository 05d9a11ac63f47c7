"""A run's first steps again, bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pathlib
import shutil
import tempfile

from lmtasks import schema
from lmtasks.studies import since
from lmtasks.studies import versions
from lmtasks.training import files
from lmtasks.training import loop
from lmtasks.training import restore
from lmtasks.training import track

# Of training, in the order they are told.
WATCHED = ("loss", "grad_norm")
# What changes neither parameters nor losses: left out to be quick.
_QUIET = {
    "eval.every": 0, "checkpoint.every": 0, "decode.samples": 0, "eval.predict": False,
    "eval.limit": 1, "eval.xz": False, "eval.ngram": 0, "eval.best": "",
    "eval.patience": 0, "checkpoint.keep_best": 0, "log.tensorboard": False,
    "log.wandb": False,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Repeat:
    """What came of it.

    Attributes:
        steps: how many were run. compared: values that are the same.
        first: (step, name, then, now) of the first that is not, None of none.
        changed: {what: (then, now)} of versions and devices.
        since: what has changed of data and config; None where no checkpoint tells.
    """

    steps: int
    compared: int
    first: tuple[int, str, float, float] | None
    changed: dict[str, tuple]
    since: since.Since | None = None


def reproduce(folder: str, steps: int = 0) -> Repeat:
    """Run the first steps of a run again from its config, tokenizer, data and seed.

    Args:
        folder: the work directory. steps: how many; 0 = as many as were logged, 200 at
            most.

    Raises:
        ValueError: nothing was logged, or the data or the tokenizer are not there.
    """
    stored = files.read_config(folder)
    if stored is None:
        raise ValueError(f"{folder} is not a work directory: there is no config.json")
    file = pathlib.Path(folder) / track.NAME
    rows = _rows(file) if file.exists() else {}
    if not rows:
        raise ValueError(f"{folder} has no logged steps to compare with")
    last = min(steps or 200, max(rows))
    if last < min(rows):
        raise ValueError(
            f"--steps={steps}: the first step that was logged is {min(rows)}; ask for so "
            "many or more"
        )
    config = schema.from_stored(stored)
    with tempfile.TemporaryDirectory(prefix="lmtasks-reproduce-") as place:
        again = pathlib.Path(place) / "run"
        tokenizer = pathlib.Path(folder) / "tokenizer"
        if tokenizer.exists():
            again.mkdir()
            shutil.copytree(tokenizer, again / "tokenizer")
        with config.unlocked():
            for key, value in _QUIET.items():
                section, name = key.split(".")
                config[section][name] = value
            config.train.stop_at = last if last < config.train.steps else 0
        with contextlib.redirect_stdout(io.StringIO()):
            ended = loop.train(config, str(again))
        if ended.step < last:
            raise ValueError(
                f"stopped at step {ended.step} of {last}; nothing compared"
            )
        new = _rows(again / track.NAME)
        changed = versions.differences(folder, str(again))
        saved = restore.about(again / "checkpoints", ended.step)["meta"]
        before = since.read(folder, saved["data"])
    compared, first = 0, None
    for step in sorted(step for step in rows if step <= last):
        for name in WATCHED:
            then, now = rows[step].get(name), new.get(step, {}).get(name)
            # Texts of numbers are equal where the bits are, NaN too.
            if json.dumps(then) == json.dumps(now):
                compared += 1
            elif first is None:
                first = (step, name, then, now)
    return Repeat(last, compared, first, changed, before)


def _rows(file: pathlib.Path) -> dict[int, dict]:
    """Return {step: row} of training."""
    return {row["step"]: row for row in track.read(file) if row["split"] == "train"}
