"""`lmtasks launch`: start a run on a TPU pod, a SLURM cluster or Kubernetes."""

from __future__ import annotations

import math
import pathlib
import shlex
import subprocess
import tempfile

from absl import flags

from lmtasks.cli import common

HELP = "start a run on a TPU pod (ssh), a SLURM cluster or Kubernetes (xpk)"
USAGE = """
lmtasks launch --on=tpu|slurm|gke --config=FILE.py[:ARG] --workdir=DIR [--dry_run]
               [--type=v5litepod-256] [FLAGS] [--config.KEY=VALUE ...]

Writes the script that starts `lmtasks train` on all machines, and runs it: by bash for
a TPU pod and Kubernetes, by sbatch for SLURM. With --dry_run it is printed, to be kept
and run as it is. The mesh and the batch are held against the devices first.

  --on=tpu               a TPU pod by gcloud; --type, --zone, --project
  --on=slurm             a batch job; --nodes=1, --gpus=8 a node, --hours=24, --seeds=1
  --on=gke               slices of Kubernetes by xpk; --type, --slices=1, --cluster, ...
  --name=NAME            of the pod, job or workload (default: that of the config)
  --dry_run              print the script, start nothing

    lmtasks launch --on=tpu --type=v5litepod-256 --zone=us-west4-a --dry_run \\
        --config=scale:llama3_8b --workdir=/mnt/runs/llama
    lmtasks launch --on=slurm --nodes=4 --config=sst2 --workdir=runs/sst2 --seeds=3
"""
_TEXTS = ("on", "workdir", "name", "type", "zone", "project", "cluster")
_NUMBERS = {"slices": 1, "nodes": 1, "gpus": 8, "hours": 24, "seeds": 1}


def main(argv: list[str]) -> int:
    """Print the script, or run it; return its exit code."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    for name in _TEXTS:
        flags.DEFINE_string(name, None, name, flag_values=fv)
    for name, value in _NUMBERS.items():
        flags.DEFINE_integer(name, value, name, lower_bound=1, flag_values=fv)
    flags.DEFINE_bool("dry_run", False, "print, start nothing", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    from lmtasks import launching

    where = common.required(fv, "on")
    if where not in launching.SCRIPTS:
        raise ValueError(f"--on={where!r} is not one of {', '.join(launching.SCRIPTS)}")
    plan = _plan(argv, spec, overrides, fv)
    launching.check(plan, where)
    _check_config(common.config_of(spec, overrides), plan.devices())
    script = launching.SCRIPTS[where](plan)
    if fv.dry_run:
        print(script, end="")
        return 0
    file = pathlib.Path(tempfile.mkdtemp(), f"{plan.name}.sh")
    file.write_text(script)
    program = "sbatch" if where == "slurm" else "bash"
    try:
        return subprocess.run([program, str(file)], check=False).returncode
    except FileNotFoundError:
        raise ValueError(
            f"{program} is not installed here; print the script with --dry_run and run "
            "it where it is"
        ) from None


def _plan(argv: list[str], spec, overrides, fv):
    from lmtasks import launching

    if spec is None:
        raise ValueError("give --config=FILE.py (see `lmtasks config --help`)")
    usual = pathlib.Path(spec).name.replace(".py", "").replace(":", "-")
    usual = f"lmtasks-{usual}".replace("_", "-").replace(",", "-").lower()
    given = [f"--config={spec}", *(f"--config.{k}={v}" for k, v in overrides)]
    return launching.Plan(
        command=shlex.join(["lmtasks", "launch", *argv]),
        arguments=tuple(given),
        workdir=common.required(fv, "workdir"),
        name=fv.name or usual,
        kind=fv.type or "",
        zone=fv.zone or "",
        project=fv.project or "",
        cluster=fv.cluster or "",
        **{name: getattr(fv, name) for name in _NUMBERS},
    )


def _check_config(config, devices: int) -> None:
    """Raise ValueError where the mesh or the batch does not fit so many devices."""
    from lmtasks import schema
    from lmtasks.training import parallel

    sizes = schema.typed(parallel.Parallel, config.parallel).sizes(devices)
    ways = math.prod(sizes[: len(parallel.ROWS)]) * config.train.accumulate
    parallel.check_rows(config.train.batch_size, ways, config.train.accumulate)
