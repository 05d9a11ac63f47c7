"""`lmtasks sweep`: all runs of a study, and what is left of them."""

from __future__ import annotations

import os
import pathlib
import shlex
import sys

from absl import flags

from lmtasks.cli import common

HELP = "run a study's variants and seeds; run again to go on"
USAGE = """
lmtasks sweep FILE.py --workdir=DIR [--jobs=1] [--status] [flags]

Trains and scores every variant with every seed of a study (see
experiments/ablations), each in DIR/VARIANT-SEED. What is done is never done again, a
run that was stopped goes on, one that failed is tried again; a launcher that was killed
is started again like that. Runs share compiled programs.

  FILE.py        defines get_sweep(); a folder stands for its sweep.py
  --jobs=N       so many at a time, each on its part of cores, GPUs, chips
  --status       how far each run is; starts nothing
  --dry_run      the commands that make the same runs one by one
  --part=I/N     of all runs, those of launcher I of N (0 is the first): one launcher a
                 machine, or a TPU slice, on a shared DIR
  --slurm        a batch script with a task for each run; --hours=24, --gpus=1
  --only=I       run number I alone, in this process

    lmtasks sweep experiments/ablations/norm --workdir=runs/norm --jobs=2
    lmtasks report runs/norm
"""


def main(argv: list[str]) -> int:
    """Run what is left; return 1 when a run failed."""
    fv = common.flag_values()
    flags.DEFINE_string("workdir", None, "where the runs lie", flag_values=fv)
    flags.DEFINE_integer("jobs", 1, "runs at a time", flag_values=fv)
    flags.DEFINE_bool("status", False, "show how far all is", flag_values=fv)
    flags.DEFINE_bool("dry_run", False, "show the commands", flag_values=fv)
    flags.DEFINE_string("part", "", "I/N", flag_values=fv)
    flags.DEFINE_bool("slurm", False, "print a batch script", flag_values=fv)
    flags.DEFINE_integer("hours", 24, "of a task of SLURM", flag_values=fv)
    flags.DEFINE_integer("gpus", 1, "of a task of SLURM", flag_values=fv)
    flags.DEFINE_integer("only", None, "number of a run", flag_values=fv)
    flags.DEFINE_integer("until", 0, "stop there", flag_values=fv)
    flags.DEFINE_list("cores", [], "of this process", flag_values=fv)
    files = common.parse(fv, argv, USAGE)
    if len(files) != 1:
        raise ValueError("sweep needs one file: lmtasks sweep FILE.py --workdir=DIR")
    root = common.required(fv, "workdir")
    if fv.cores:  # before jax counts them
        os.sched_setaffinity(0, map(int, fv.cores))
    if fv.jobs < 1:
        raise ValueError(f"--jobs={fv.jobs} must be at least 1")
    from lmtasks.studies import commands
    from lmtasks.studies import variants

    sweep = variants.load(files[0])
    runs = variants.runs_of(sweep)
    if sweep.halving and (fv.part or fv.slurm):
        raise ValueError(
            "halving holds all variants against each other, which --part and --slurm keep "
            "apart; run the sweep by one launcher, or without halving"
        )
    if fv.dry_run:
        for run in runs:
            folder = str(pathlib.Path(root) / run.name)
            print(shlex.join(commands.command(run, folder)))
        return 0
    from lmtasks.studies import runner

    folders = runner.folders(root, runs)
    if fv.slurm:
        print(_slurm(files[0], root, folders, fv), end="")
        return 0
    if fv.status:
        print("\n".join(_status(sweep, runs, folders)))
        return 0
    if fv.only is not None:
        if not 0 <= fv.only < len(runs):
            raise ValueError(
                f"--only={fv.only}: there are the runs 0 to {len(runs) - 1}"
            )
        from lmtasks.studies import worker

        return worker.work(sweep, runs[fv.only], folders[fv.only], fv.until)
    return _launch(files[0], root, sweep, _part(runs, fv.part), folders, fv.jobs)


def _part(runs: list, text: str) -> list:
    """Return the runs of --part."""
    if not text:
        return runs
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ValueError(f"--part={text!r} takes I/N with I from 0 to N - 1, as 0/4")
    return runs[int(index) :: int(count)]


def _launch(file, root, sweep, runs, folders, jobs: int) -> int:
    """Run what is left, and say how it ended."""
    from lmtasks.studies import launcher
    from lmtasks.studies import runner

    states = [runner.state_of(folders[run.index]) for run in runs]
    there = sum(state.kind == "done" for state in states)
    print(f"{len(runs)} runs, {there} done, {jobs} at a time, in {root}", flush=True)
    note = lambda line: print(line, flush=True)
    own = launcher.Launcher(file, root, sweep, runs, folders, jobs, note)
    dropped = own.run_all()
    kinds = {run.name: runner.state_of(folders[run.index]) for run in runs}
    failed = {name: state for name, state in kinds.items() if state.kind == "failed"}
    done = sum(state.kind == "done" for state in kinds.values())
    given_up = sum(run.variant in dropped for run in runs)
    print(
        f"{done} of {len(runs)} done, {len(failed)} failed, {given_up} given up early"
    )
    for name, state in failed.items():
        print(f"{name} ({root}/{name}/{runner.LOG}):", file=sys.stderr)
        print("\n".join(f"  {x}" for x in state.said.splitlines()), file=sys.stderr)
    if own.stopped:
        print("stopped; the same command again goes on")
    return int(bool(failed))


def _status(sweep, runs, folders) -> list[str]:
    """Return a line for each run."""
    from lmtasks.rendering import text
    from lmtasks.studies import runner

    rows, failed = [["run", "state", "step", "last validation", "seconds"]], []
    for run in runs:
        state = runner.state_of(folders[run.index])
        if state.said:
            failed += ["", f"{folders[run.index].name}:"]
            failed += [f"  {line}" for line in state.said.splitlines()]
        config = run.config
        names = dict.fromkeys(["loss", config.eval.best or "loss"])
        values = {
            name: runner.measured(state, config.eval.split, name) for name in names
        }
        said = ", ".join(f"{k} {v:.4f}" for k, v in values.items() if v is not None)
        seconds = f"{state.seconds:.1f}" if state.seconds else ""
        step = f"{state.step}/{config.train.steps}"
        rows.append([folders[run.index].name, state.kind, step, said, seconds])
    kinds = [row[1] for row in rows[1:]]
    total = ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds))
    return [*text.columns(rows), "", f"{len(runs)} runs: {total}", *failed]


def _slurm(file: str, root: str, folders: dict, fv) -> str:
    """Return a batch script with a task for each run."""
    from lmtasks import launching

    named = shlex.join(str(folders[i]) for i in range(len(folders)))
    words = ["lmtasks", "sweep", file, f"--workdir={root}"]
    lines = [
        "#!/usr/bin/env bash",
        f"# Made by: {shlex.join([*words, '--slurm'])}",
        "# Submit it by sbatch, from an environment in which lmtasks is installed.",
        f"#SBATCH --array=0-{len(folders) - 1}",
        f"#SBATCH --gpus={fv.gpus}",
        f"#SBATCH --time={fv.hours}:00:00",
        *launching.AGAIN,
        "#SBATCH --output=%x-%A_%a.log",
        "set -euo pipefail",
        f"folders=({named})",
        'folder="${folders[$SLURM_ARRAY_TASK_ID]}"',
        # A step of the job: the shell itself is not told that its time is over.
        f'srun {shlex.join(words)} --only="$SLURM_ARRAY_TASK_ID"',
        *launching.requeued("$folder"),
    ]
    return "\n".join(lines) + "\n"
