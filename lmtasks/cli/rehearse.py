"""`lmtasks rehearse`: whether a run fits hardware that is not here, and what bounds it."""

from __future__ import annotations

import json

from absl import flags

from lmtasks.cli import common

HELP = "compile a run for TPUs that are not here: memory, exchanges, bound of a step"
USAGE = """
lmtasks rehearse --config=FILE.py[:ARG] --topology=v5e:16x16 [--steps=train,eval,decode]
                 [--search] [--json=FILE] [--config.KEY=VALUE ...]

Compiles the steps of a run for a TPU topology, without one, and says for each: bytes a
device needs against what it has, FLOPs of the products, bytes sent along each axis of
the mesh, the least time of a step these allow, and what to turn. The training data is
read for its shapes. Needs libtpu (pip install 'lmtasks[rehearse]'); cpu:8 does not.

  --topology=NAME:SHAPE  v4:2x2x2, v5e:4x4, v5p:4x4x4, v6e:16x16, or cpu:8; two slices
                         are v5e:16x16*2, with --config.parallel.replica=2
  --steps=NAMES          which programs (default: train,eval,decode)
  --search               try mesh shapes, model.remat and batch sizes of the train step
  --json=FILE            also add it to FILE, a line of json for each (setting)

    lmtasks rehearse --config=quickstart --topology=cpu:8
    lmtasks rehearse --config=scale:llama3_8b --topology=v5e:16x16
"""


def main(argv: list[str]) -> int:
    """Print the rehearsal; return 1 where a program does not fit."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("topology", None, "what to compile for", flag_values=fv)
    flags.DEFINE_string("steps", "train,eval,decode", "programs", flag_values=fv)
    flags.DEFINE_bool("search", False, "try settings", flag_values=fv)
    flags.DEFINE_string("json", None, "file", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    where = common.required(fv, "topology")
    from lmtasks.rehearsal import report

    steps = tuple(fv.steps.split(","))
    for step in steps:
        if step not in report.STEPS:
            raise ValueError(
                f"--steps={fv.steps!r}: {step!r} is not one of {', '.join(report.STEPS)}"
            )
    config = common.config_of(spec, overrides)
    if fv.json:  # an hour of compiling must not end at a folder that is not there
        open(fv.json, "a").close()
    if fv.search:
        return _search(config, where, fv.json)
    found = report.rehearse(config, where, steps)
    print(report.table(found))
    _keep(fv.json, found)
    return 0 if all(row["fits"] for row in found["rows"]) else 1


def _search(config, where: str, file: str | None) -> int:
    """Print every setting as it is done, then the best ones with what to set."""
    from lmtasks.rehearsal import search

    def note(one: dict) -> None:
        print(search.line(one), flush=True)
        _keep(file, one)

    found = search.search(config, where, note)
    fit = [one for one in found if one["row"]["fits"]]
    if not fit:
        print("\nnone fits")
        return 1
    keys = fit[0]["keys"].items()
    print("\nthe least time a row:")
    print("  " + " ".join(f"--config.{key}={value}" for key, value in keys))
    return 0


def _keep(file: str | None, row: dict) -> None:
    if file:
        with open(file, "a") as out:
            out.write(json.dumps(row) + "\n")
