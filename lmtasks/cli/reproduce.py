"""`lmtasks reproduce`: the first steps of a run again, bit for bit."""

from __future__ import annotations

from absl import flags

from lmtasks.cli import common

HELP = "run a run's first steps again and compare bit for bit"
USAGE = """
lmtasks reproduce RUN [--steps=N]

Trains N steps (those that were logged, 200 at most) from the recorded config, its
tokenizer, data and seed in a folder of its own, and compares losses and gradient norms
with metrics.jsonl bit for bit. Exit code 1 where they differ; then it says where first.
What has changed since is said in any case: data, config.json, versions, devices, cores.

    lmtasks reproduce runs/sst2 --steps=50
"""


def main(argv: list[str]) -> int:
    """Print what came of it; return 1 where a value differs."""
    fv = common.flag_values()
    flags.DEFINE_integer("steps", 0, "how many", flag_values=fv)
    folders = common.parse(fv, argv, USAGE)
    if len(folders) != 1:
        raise ValueError("reproduce needs one run: lmtasks reproduce RUN")
    if fv.steps < 0:
        raise ValueError(f"--steps={fv.steps} must be at least 1")
    from lmtasks.studies import reproduce

    found = reproduce.reproduce(folders[0], fv.steps)
    if found.first is None:
        print(
            f"{folders[0]}: {found.compared} values of {found.steps} steps are the same, "
            "bit for bit"
        )
    else:
        step, name, then, now = found.first
        print(
            f"{folders[0]}: {name} of step {step} was {then!r} and is {now!r}; "
            f"{found.compared} values are the same"
        )
    for what, (then, now) in found.changed.items():
        print(f"  {what}: {then} -> {now}")
    said = found.since.lines() if found.since else []
    for line in said:
        print(f"  {line}")
    if found.first is not None and not (found.changed or said):
        same = "config, data, versions" if found.since else "versions"
        look = "the code" if found.since else "the data, or at the code"
        print(f"  {same} and devices are the same: look at {look}")
    return int(found.first is not None)
