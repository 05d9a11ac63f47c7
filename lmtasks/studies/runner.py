"""The runs of a sweep in the folders of one work directory.

All that is known of a run lies in its folder, so that a launcher that was killed, a
second one and the tasks of a SLURM array agree on what is left to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import pathlib

from lmtasks.studies import commands
from lmtasks.studies import variants
from lmtasks.training import files
from lmtasks.training import locks
from lmtasks.training import track

PLAN, DONE, FAILED, LOG = "sweep.json", "done.json", "failed.json", "log.txt"
# Exit code of a run that another process is at.
BUSY = 75


@dataclasses.dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        kind: "waiting" | "running" | "stopped" | "failed" | "done".
        step: last logged. rows: of metrics.jsonl.
        seconds: of a finished run, all starts together. said: why it failed.
    """

    kind: str
    step: int = 0
    rows: list[dict] = dataclasses.field(default_factory=list, repr=False)
    seconds: float = 0.0
    said: str = ""


def folders(root: str, runs: list[variants.Run]) -> dict[int, pathlib.Path]:
    """Return {index: folder} of runs; one whose variant was renamed keeps its folder.

    Raises:
        ValueError: a folder holds another run than the sweep's of that name, or its
            config was changed by hand.
    """
    there = {}
    for plan in pathlib.Path(root).glob(f"*/{PLAN}"):
        stored = read(plan)
        if stored:
            there[stored["content"]] = plan.parent
    wanted = {run.content for run in runs}
    found = {}
    for run in runs:
        own = pathlib.Path(root) / run.name
        found[run.index] = there.get(run.content, own)
        stored = read(own / PLAN)
        if run.content not in there and stored and stored["content"] not in wanted:
            raise ValueError(
                f"{own} holds another run than the sweep's {run.name}: "
                f"{_changes(stored['config'], run)}; choose another --workdir, another "
                "name, or remove the folder"
            )
        check_config(found[run.index])
    return found


def _changes(stored: dict, run: variants.Run) -> str:
    """Return the keys that differ from a stored plan."""
    new = plan(run)["config"]
    pairs = files.differences(stored, new)
    said = [f"{key} {old!r} -> {now!r}" for key, (old, now) in pairs.items()]
    return ", ".join(said[:3]) + (", ..." if len(said) > 3 else "")


def check_config(folder: pathlib.Path) -> None:
    """Raise ValueError for a finished run whose config is not the one it ran."""
    done = read(folder / DONE)
    if done and mark(folder) != done["config"]:
        raise ValueError(
            f"{folder}/config.json is not what the run wrote; put it back, or remove the "
            "folder to run it again"
        )


def mark(folder: pathlib.Path) -> str:
    """Return digits of the config a run wrote, "" where there is none."""
    path = folder / "config.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def plan_of(folder: pathlib.Path) -> dict | None:
    """Return what a sweep wrote of the run in a folder; None of another's."""
    return read(folder / PLAN)


def plan(run: variants.Run, step: str = "newest") -> dict:
    """Return what is written into a run's folder before it begins.

    Args:
        run: of a sweep. step: which saved step the sweep scores.
    """
    config = json.loads(json.dumps(run.config.to_dict(), default=list))
    return {
        "content": run.content,
        "index": run.index,
        "variant": run.variant,
        "seed": run.seed,
        "config": config,
        "step": step,
        "command": commands.shell(run, f"runs/{run.name}"),
    }


def read(path: pathlib.Path) -> dict | None:
    """Return a json file; None where there is none, or a kill cut it short."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def rows_of(folder: pathlib.Path) -> list[dict]:
    """Return what a run logged; [] of one that was never trained."""
    file = folder / track.NAME
    return track.read(file) if file.exists() else []


def state_of(folder: pathlib.Path) -> State:
    """Return how far the run in a folder is."""
    rows = rows_of(folder)
    step = max((row["step"] for row in rows), default=0)
    done, failed = read(folder / DONE), read(folder / FAILED)
    if done:
        return State("done", step, rows, done["seconds"])
    if locks.is_locked(folder):
        return State("running", step, rows)
    if failed:
        return State("failed", step, rows, said=failed["said"])
    return State("stopped" if step else "waiting", step, rows)


def fail(folder: pathlib.Path, code: int) -> str:
    """Note that a run ended with a code; return the last lines it wrote."""
    log = folder / LOG
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = "\n".join(line for line in lines[-3:] if line.strip())
    said = said or f"it ended with {code}"
    note_failure(folder, code, said)
    return said


def note_failure(folder: pathlib.Path, code: int, said: str) -> None:
    """Write down that a run failed, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / FAILED, {"code": code, "said": said})


def measured(state: State, split: str, metric: str, until: int = 0) -> float | None:
    """Return the last value of a metric while training, up to a step; None without."""
    values = [
        row[metric]
        for row in state.rows
        if row["split"] == split
        and metric in row
        and (not until or row["step"] <= until)
    ]
    return values[-1] if values else None


def survivors(
    sweep: variants.Sweep,
    runs: list[variants.Run],
    states: dict[int, State],
    until: int,
) -> set[str]:
    """Return the variants that go on after step `until`: the best by their mean.

    Raises:
        ValueError: a variant was not evaluated by then, or not in that metric.
    """
    halving, means = sweep.halving, {}
    for variant in dict.fromkeys(run.variant for run in runs):
        mine = [run for run in runs if run.variant == variant]
        split = mine[0].config.eval.split
        values = [
            measured(states[run.index], split, halving.metric, until) for run in mine
        ]
        if None in values:
            known = {key for r in states[mine[0].index].rows for key in r}
            near = difflib.get_close_matches(halving.metric, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"halving: {variant} has no {halving.metric!r} of {split} by step {until}; "
                f"set eval.every to {until} or less, or name another metric{hint}"
            )
        means[variant] = sum(values) / len(values)
    kept = -(-len(means) // halving.factor)
    order = sorted(means, key=means.get, reverse=halving.mode == "max")
    return set(order[:kept])


def rungs(sweep: variants.Sweep, runs: list[variants.Run]) -> list[int]:
    """Return the steps after which some go no further; 0, the end, is last."""
    if sweep.halving is None:
        return [0]
    least = min(run.config.train.steps for run in runs)
    found, step = [], sweep.halving.first
    while step < least:
        found.append(step)
        step *= sweep.halving.factor
    return [*found, 0]
