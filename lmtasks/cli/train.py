"""`lmtasks train`: train the run of a config in a work directory."""

from __future__ import annotations

import functools

from absl import flags

from lmtasks.cli import common

HELP = "train a config in a work directory; run again to resume"
USAGE = """
lmtasks train --config=FILE.py[:ARG] --workdir=DIR [--suite=glue] [--profile=A:B]
              [--hosts=auto|HOST:PORT,COUNT,INDEX] [--config.KEY=VALUE ...]

Trains, evaluates, samples and saves; the same command again resumes, bit for bit.
Without --config, a work directory that has been started goes on with its own.

  --config=FILE.py       a config file, or the name of a packaged one (quickstart)
  --config.KEY=VALUE     overrides one key; `lmtasks config FILE` lists all keys
  --workdir=DIR          where everything is written
  --suite=glue           every task of a suite, one after another, in DIR/TASK
  --dry_run              show config, examples, parameters and memory; train nothing
  --hosts=auto           one run of many processes, which Cloud TPU, SLURM or
                         Kubernetes lets find each other
  --hosts=H:P,COUNT,I    the same by hand: process 0 is at H:P, this is process I
  --hosts_timeout=300    seconds to wait for the others
  --profile=A:B          trace the steps A to B - 1 into DIR/profile, for TensorBoard

    lmtasks train --config=quickstart --workdir=runs/quickstart
    lmtasks train --config=sst2:decoder --workdir=runs/sst2 --config.train.steps=500
"""


def main(argv: list[str]) -> int:
    """Train; return 0 also when preempted after a saved step."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    common.define_hosts(fv)
    flags.DEFINE_string("profile", None, "steps A:B", flag_values=fv)
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_string("suite", None, "tasks to train", flag_values=fv)
    flags.DEFINE_bool("dry_run", False, "show, train nothing", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    if fv.suite:
        from lmtasks import suites

        if fv.hosts is not None or fv.profile:
            raise ValueError("--hosts and --profile are for one run; leave out --suite")
        config = common.config_of(spec, overrides)
        suites.train(fv.suite, config, common.required(fv, "workdir"))
        return 0
    train = functools.partial(_train, spec, overrides, fv)
    return train() if fv.dry_run else common.on_hosts(fv, ["train", *argv], train)


def _train(spec, overrides, fv) -> int:
    """Train, or show what would be trained."""
    config = common.config_of(spec, overrides, fv.workdir)
    if fv.dry_run:
        from lmtasks.rehearsal import dry_run

        print(dry_run.describe(config))
        return 0
    folder = common.required(fv, "workdir")
    from lmtasks.training import loop
    from lmtasks.training import runtime

    loop.train(config, folder, runtime.steps_of(fv.profile) if fv.profile else None)
    return 0
