"""What a run says of itself: its first lines, its samples, its card."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import sys
from collections.abc import Callable
from collections.abc import Sequence

from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.training import files
from lmtasks.training import restore
from lmtasks.training import samples
from lmtasks.training import track
from lmtasks.training import workdir

_PREEMPTED = "| stopped | preempted |"


def announce(
    run: builder.Run,
    path: pathlib.Path,
    mesh,
    lines: Sequence[str],
    note: Callable[[str], None],
) -> None:
    """Write config, tokenizer, environment and parameter table; say what is trained."""
    stored = files.read_config(path)
    if stored is not None:
        workdir.note_changes(path, stored, run.config.to_dict(), note)
    workdir.write_config(path, run.config)
    if not (path / "tokenizer").exists():
        # By a rename: a kill leaves the whole folder or none.
        shutil.rmtree(path / "tokenizer.tmp", ignore_errors=True)
        run.tokenizer.save(path / "tokenizer.tmp")
        (path / "tokenizer.tmp").rename(path / "tokenizer")
    workdir.write_environment(path)
    table = workdir.param_table(run.model, mesh, run.lora)
    files.write_text(path / "params.txt", table)
    cell = f"{run.config.task}: {run.config.objective} on {run.config.architecture}"
    count = table.splitlines()[-1].split()[1]
    sizes = "x".join(str(n) for n in mesh.devices.shape)
    note(f"{cell}, {count} parameters, mesh {sizes}, work directory {path}")
    for line in lines:
        note(line)


def write_samples(path: pathlib.Path, done: int, rows, note) -> None:
    """Append the answers of an evaluation to samples.jsonl, and show them."""
    with open(path / "samples.jsonl", "a") as out:
        out.writelines(
            json.dumps({"step": done, **row}, ensure_ascii=False) + "\n" for row in rows
        )
    for row in rows:
        note(samples.line(row))


def cut(path: pathlib.Path, step: int, split: str) -> None:
    """Drop the samples of steps that are run again; with `split`, also the rows and
    samples of that split's evaluation at `step`, which is made again.
    """
    file = path / "metrics.jsonl"
    if split and file.exists():
        rows = [r for r in track.read(file) if (r["step"], r["split"]) != (step, split)]
        files.write_text(file, "".join(json.dumps(r) + "\n" for r in rows))
    file = path / "samples.jsonl"
    if file.exists():
        last = step - 1 if split else step
        rows = [row for row in track.read(file) if row["step"] <= last]
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        files.write_text(file, text)


def mark_preempted(path: pathlib.Path, config: ConfigDict) -> None:
    """Say in the card that the run is to go on, of one that was stopped before it began:
    what starts it again reads that there.
    """
    card = path / "README.md"
    if card.exists():
        text = re.sub(r"(?m)^\| stopped \| .*", _PREEMPTED, card.read_text())
        files.write_text(card, text)
        return
    saved = max(restore.steps(path / "checkpoints"), default=0)
    write_card(path, config, {"steps": saved, "stopped": "preempted"})


def write_card(path: pathlib.Path, c: ConfigDict, facts: dict) -> None:
    """Write README.md, the run's card: what it is, its numbers, how to repeat it."""
    first, command = path / "command.txt", " ".join(sys.argv)
    if first.exists():
        command = first.read_text().strip().splitlines()[0]
    lines = [
        f"# {c.task} with {c.objective} on {c.architecture}",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        "Repeat it:",
        "",
        f"    {command}",
        "",
        "`config.json` holds every key, `metrics.jsonl` every number, `params.txt`",
        "the parameters, `env.json` the versions and devices.",
        "",
    ]
    files.write_text(path / "README.md", "\n".join(lines))
