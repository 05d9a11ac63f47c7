"""What a run pays for being able to go on: saves, its data, a new start.

    python -m experiments.benchmarks.survive --workdir=DIR [--blocks=5] [--json=FILE]

One run of the config quickstart (Python's documentation), on a machine that
does nothing else, with its evaluations left out:

saves      steps with a save every 100 beside steps without one, in blocks that take
           turns, each a run of its own in this process; how much longer a step takes
data       batches a second that the pipeline makes alone, beside what the steps take
restart    a new process on a finished run: from its start to the end of its first
           step, compiled programs on disk
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import jax

from lmtasks import schema
from lmtasks.training import loop

STEPS = 300
EVERY = 100


def config(steps: int, every: int):
    """Return quickstart with so many steps and a save every so many."""
    c = schema.load("quickstart")
    changes = {
        "train.steps": steps, "checkpoint.every": every, "eval.every": 0,
        "eval.limit": 8, "eval.predict": False, "decode.samples": 0, "log.every": 100,
    }  # fmt: skip
    for key, value in changes.items():
        schema.override(c, key, str(value))
    return c


def seconds_of_steps(folder: pathlib.Path, every: int) -> float:
    """Return the seconds of a step in a run, its first one and its end left out."""
    shutil.rmtree(folder, ignore_errors=True)
    times: list[float] = []
    put = loop.track.Progress.update

    def noted(self, step, values):
        times.append(time.perf_counter())
        put(self, step, values)

    loop.track.Progress.update = noted
    try:
        loop.train(config(STEPS, every), str(folder))
    finally:
        loop.track.Progress.update = put
    # Behind the first step, then at 100, 200 and 300: the save of 100 is among them.
    return (times[-1] - times[1]) / (STEPS - EVERY)


def saves(folder: pathlib.Path, blocks: int) -> dict:
    """Return the seconds of a step with and without saves."""
    found: dict[str, list[float]] = {"without": [], "with": []}
    seconds_of_steps(folder / "warm", 0)
    for _ in range(blocks):
        found["without"].append(seconds_of_steps(folder / "without", 0))
        found["with"].append(seconds_of_steps(folder / "with", EVERY))
    middle = {name: statistics.median(times) for name, times in found.items()}
    return {
        "blocks": found,
        "step_s": middle["without"],
        "saves_cost": middle["with"] / middle["without"] - 1,
    }


def data(folder: pathlib.Path) -> dict:
    """Return batches a second of the pipeline alone."""
    from lmtasks import builder
    from lmtasks.training import feed

    run = builder.build(config(STEPS, 0), str(folder / "without"))
    batches = feed.read(run).train.batches(0, 10**6, threads=run.config.data.threads)
    list(itertools.islice(batches, 50))
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < 5:
        next(batches)
        count += 1
    return {"batches_per_s": count / (time.perf_counter() - begun)}


def restart(folder: pathlib.Path) -> dict:
    """Return the seconds from a process's start to its first step, the second time."""
    found = []
    for more in (1, 2, 3):
        argv = [
            sys.executable,
            "-u",
            "-m",
            "lmtasks",
            "train",
            f"--workdir={folder}/with",
        ]
        argv.append(f"--config.train.steps={STEPS + more}")
        begun = time.perf_counter()
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if "first step incl. compile" in line:
                    found.append(time.perf_counter() - begun)
    return {"restart_s": min(found[1:]), "restart_cold_s": found[0]}


def main():
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    row = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    row |= saves(given.workdir, given.blocks) | data(given.workdir)
    row |= restart(given.workdir)
    row["data_times"] = row["batches_per_s"] * row["step_s"]
    print(
        f"a step {1000 * row['step_s']:.1f} ms, {row['saves_cost']:+.1%} with a save "
        f"every {EVERY}\n"
        f"data {row['batches_per_s']:.0f} batches/s, {row['data_times']:.1f} times what "
        "the steps take\n"
        f"first step {row['restart_s']:.1f} s after a start"
    )
    if given.json:
        with open(given.json, "a") as out:
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
