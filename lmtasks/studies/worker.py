"""One run of a sweep, in this process: trained, scored, and noted as done."""

from __future__ import annotations

import pathlib
import sys
import time

from lmtasks import api
from lmtasks.studies import commands
from lmtasks.studies import recording
from lmtasks.studies import runner
from lmtasks.studies import variants
from lmtasks.training import files
from lmtasks.training import imports
from lmtasks.training import locks
from lmtasks.training import loop
from lmtasks.training import restore
from lmtasks.training import workdir


def work(
    sweep: variants.Sweep, run: variants.Run, folder: pathlib.Path, until: int = 0
) -> int:
    """Train a run to its end, or to step `until`, and score it; return its exit code.

    What is done already is not done again.
    """
    if runner.state_of(folder).kind == "done":
        return 0
    if locks.is_locked(folder):
        return runner.BUSY
    saved = restore.steps(folder / "checkpoints")
    if until and saved and saved[-1] >= until:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / runner.PLAN, runner.plan(run, sweep.step))
    (folder / runner.FAILED).unlink(missing_ok=True)
    try:
        return _work(sweep, run, folder, until)
    except Exception as error:  # told here: a task of SLURM has no launcher
        code = 2 if isinstance(error, ValueError) else 1
        runner.note_failure(folder, code, f"{type(error).__name__}: {error}")
        raise


def _work(
    sweep: variants.Sweep, run: variants.Run, folder: pathlib.Path, until: int
) -> int:
    begun = time.perf_counter()
    whole = _make(run, folder, until)
    spent = (runner.read(folder / "spent.json") or {"seconds": 0.0})["seconds"]
    if whole:
        for split in sweep.splits:
            loaded = api.load(str(folder), _step(folder, sweep.step))
            recording.record(str(folder), loaded, split)
    spent += time.perf_counter() - begun
    files.write_json(folder / "spent.json", {"seconds": spent})
    if not whole:
        return 0
    row = {
        "content": run.content,
        "config": runner.mark(folder),
        "seconds": round(spent, 2),
    }
    files.write_json(folder / runner.DONE, row)
    return 0


def _make(run: variants.Run, folder: pathlib.Path, until: int) -> bool:
    """Train a run, or import what it only scores; return False if it was stopped."""
    # What the run notes as its command is the one that makes it without the sweep.
    sys.argv[:] = commands.command(run, str(folder))
    with run.config.unlocked():
        run.config.train.stop_at = until
    if run.trained:
        return loop.train(run.config, str(folder)).stopped != "preempted"
    if not restore.steps(folder / "checkpoints"):
        imports.make(run.config, folder, print)
    return True


def _step(folder: pathlib.Path, name: str) -> int | None:
    return workdir.best(str(folder)) if name == "best" else None
