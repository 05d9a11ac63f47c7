"""`lmtasks check`: what must not change a model's numbers, tried on one's own."""

from __future__ import annotations

import os

from absl import flags

from lmtasks.cli import common

HELP = "try a run's model for faults: leaks, masks, packing, cache, dead keys"
USAGE = """
lmtasks check --config=FILE.py[:ARG] [--keys] [--config.KEY=VALUE ...]

Builds the model and the first rows of its data and tries what must hold: later tokens
and empty slots change nothing, nor does a row's place or its neighbours in a pack;
targets are the next tokens; the loss is a mean over weights, in one part or in many;
evaluation has no dropout; every parameter is trained; the cache, scanned layers, remat
and a mesh of devices give the same numbers. Exit code 1 where something does not hold.

  --workdir=DIR   the config of a run
  --nokeys        leave out the search for keys that are set and change nothing

    lmtasks check --config=sst2:decoder --config.data.dir=DIR
"""


def main(argv: list[str]) -> int:
    """Print each finding; return 1 where one is wrong."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_bool("keys", True, "search for dead keys", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    # A CPU counts as four devices, so that sharding is tried too.
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
    config = common.config_of(spec, overrides, fv.workdir)
    from lmtasks import builder
    from lmtasks.studies import invariance
    from lmtasks.studies import liveness

    run = builder.build(config.copy_and_resolve_references(), fv.workdir)
    print(f"{config.task}: {run.config.objective} on {config.architecture}", flush=True)
    found = invariance.check(run, _say)
    if fv.keys:
        found.append(liveness.check(config))
        _say(found[-1])
    wrong = sum(one.state == "wrong" for one in found)
    tried = sum(one.state != "skipped" for one in found)
    print(f"{tried} tried, {wrong} wrong, {len(found) - tried} do not apply")
    return int(bool(wrong))


def _say(one) -> None:
    said = f": {one.said}" if one.said else ""
    print(f"  {one.state:8} {one.name}{said}", flush=True)
