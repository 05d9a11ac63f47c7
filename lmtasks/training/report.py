"""What a run says of itself: its first lines, its samples, its card."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from collections.abc import Sequence

from lmtasks import builder
from lmtasks.training import files
from lmtasks.training import samples
from lmtasks.training import track
from lmtasks.training import workdir


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


def write_card(path: pathlib.Path, run: builder.Run, facts: dict) -> None:
    """Write README.md, the run's card: what it is, its numbers, how to repeat it."""
    c = run.config
    lines = [
        f"# {c.task} with {c.objective} on {c.architecture}",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        "Repeat it:",
        "",
        "    " + (path / "command.txt").read_text().strip().splitlines()[0],
        "",
        "`config.json` holds every key, `metrics.jsonl` every number, `params.txt`",
        "the parameters, `env.json` the versions and devices.",
        "",
    ]
    files.write_text(path / "README.md", "\n".join(lines))
