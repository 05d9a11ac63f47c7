"""Rehearse the published shapes on pods, and one of them from 16 to 4,096 chips.

    python experiments/rehearsals/run.py            # what is not in rehearsals.jsonl yet
    python experiments/rehearsals/run.py --list     # the commands alone

Needs libtpu (pip install -e '.[rehearse]'); one process at a time may hold it. A row is
added to rehearsals.jsonl as soon as it is done, so a run that was stopped goes on.
Afterwards `python experiments/rehearsals/table.py` writes README.md and scaling.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import re
import shlex
import subprocess
import sys
from importlib import metadata

FOLDER = pathlib.Path(__file__).parent
ROWS = FOLDER / "rehearsals.jsonl"
TOPOLOGIES = ("v5e:4x4", "v5e:16x16", "v5p:4x4x4", "v6e:16x16")
# model -> rows of a training batch for each chip.
MODELS = {"llama3_8b": 1, "llama3_70b": 1, "t5_3b": 8, "bert_large": 16}
# Parts of heads: in training tried in this order, until one fits; decoding gathers no
# weights of a layer that lie in such parts.
TENSOR = {"train": (1, 8), "decode": (8,)}
SCALING = ("v5p:2x2x4", "v5p:4x4x4", "v5p:4x8x8", "v5p:8x8x16", "v5p:16x16x16")
SCALED = "llama3_8b"
# One row each of what the table has not: two slices, the oldest chip, an evaluation.
OTHERS = (("v5e:16x16*2", "train"), ("v4:4x4x4", "train"), ("v5e:16x16", "eval"))


def chips(topology: str) -> int:
    """Return the chips of a topology, all slices together."""
    return math.prod(int(n) for n in re.findall(r"\d+", topology.partition(":")[2]))


def command(model: str, topology: str, step: str, tensor: int) -> list[str]:
    """Return the rehearsal of one step: FSDP, and heads in so many parts."""
    rows = chips(topology) * MODELS[model]
    if step == "train" and MODELS[model] == 1:
        rows //= tensor
    key = "train.batch_size" if step == "train" else "eval.batch_size"
    slices = topology.partition("*")[2]
    return [
        "lmtasks", "rehearse", f"--config=scale:{model}", f"--topology={topology}",
        f"--steps={step}", f"--config.{key}={rows}", f"--config.parallel.tensor={tensor}",
        # The other batch is not compiled, but must divide too.
        f"--config.{'eval' if step == 'train' else 'train'}.batch_size={rows}",
        *([f"--config.parallel.replica={slices}"] if slices else []),
    ]  # fmt: skip


def wanted() -> list[tuple[str, str, str, tuple[int, ...]]]:
    """Return (model, topology, step, parts of heads that are tried)."""
    table = [
        (model, topology, step, TENSOR[step])
        for model in MODELS
        for topology in TOPOLOGIES
        for step in ("train", "decode")
        if (model, step) != ("bert_large", "decode")
    ]
    # A topology of the line that stands in the table is the same command.
    line = [(SCALED, topology, "train", (1,)) for topology in SCALING]
    others = [(SCALED, topology, step, (1,)) for topology, step in OTHERS]
    return list(dict.fromkeys([*table, *line, *others]))


def recorded() -> dict[str, dict]:
    """Return {command: row} of what was done."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["command"]: row for row in map(json.loads, lines)}


def version(name: str) -> str:
    """Return the version of a package; of a library by path, what lies beside it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        wheel = pathlib.Path(os.environ.get("TPU_LIBRARY_PATH", "")).parents[1:2]
        found = [one.version for one in metadata.distributions(path=map(str, wheel))]
        return found[0] if found else "of TPU_LIBRARY_PATH"


def one(argv: list[str]) -> dict:
    """Run a rehearsal and keep its row."""
    print(shlex.join(argv), flush=True)
    file = FOLDER / "one.json.tmp"
    file.unlink(missing_ok=True)
    program = [sys.executable, "-m", "lmtasks", *argv[1:], f"--json={file}"]
    done = subprocess.run(program, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 1) or not file.exists() or not file.stat().st_size:
        raise SystemExit(f"it ended with {done.returncode} and no row")
    made = "jax {}, libtpu {}".format(*map(version, ("jax", "libtpu")))
    row = {"command": shlex.join(argv), "versions": made}
    row |= json.loads(file.read_text())
    file.unlink()
    with open(ROWS, "a") as out:
        out.write(json.dumps(row) + "\n")
    return row


def main():
    """Rehearse what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true")
    listing = parser.parse_args().list
    done = recorded()
    for model, topology, step, parts in wanted():
        for tensor in parts:
            argv = command(model, topology, step, tensor)
            text = shlex.join(argv)
            if listing:
                print(text)
                continue
            row = done.get(text) or one(argv)
            if row["rows"][0]["fits"]:
                break


if __name__ == "__main__":
    main()
