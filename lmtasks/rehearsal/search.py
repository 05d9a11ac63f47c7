"""Mesh shapes, recomputation and batch sizes tried on a topology, ranked by their bound."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from collections.abc import Iterator

from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks import schema
from lmtasks.rehearsal import report
from lmtasks.rehearsal import topology

# Parts of heads and widths that are tried: more than a host's chips is never better.
TENSOR = (1, 2, 4, 8)
REMAT = ("full", "dots", "")
# Each more than twice the rows would be another run.
DOUBLINGS = 3


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is tried: config keys and their values."""

    fsdp: int
    tensor: int
    remat: str
    rows: int

    def keys(self) -> dict[str, object]:
        """Return the config keys that make it."""
        return {
            "parallel.data": 1,
            "parallel.fsdp": self.fsdp,
            "parallel.sequence": 1,
            "parallel.tensor": self.tensor,
            "model.remat": self.remat,
            "train.batch_size": self.rows,
        }


def settings(config: ConfigDict, devices: int, heads: int) -> Iterator[list[Setting]]:
    """Return ladders of settings that differ only in their rows, fewest first.

    Rows are train.batch_size and its doublings, where they divide over the devices.
    """
    most = config.train.batch_size
    for tensor, remat in itertools.product(TENSOR, REMAT):
        if devices % tensor or heads % tensor:
            continue
        fsdp = devices // tensor
        ways = fsdp * config.train.accumulate
        rows = [most * 2**i for i in range(DOUBLINGS)]
        yield [Setting(fsdp, tensor, remat, n) for n in rows if n % ways == 0]


def search(
    config: ConfigDict, where: str, note: Callable[[str], None] = print
) -> list[dict]:
    """Return [{"keys", "row"}] of the train step for every setting, those that fit
    first, by the least seconds a row takes.

    Where so many rows do not fit, more are not tried.

    Args:
        config: of a run. where: a TPU topology. note: told of each as it is done.
    """
    name, shape = topology.parse(where)
    if name == "cpu":
        raise ValueError(
            f"--search --topology={where}: neither memory nor speed of these devices is "
            "known; name a TPU topology"
        )
    heads = builder.presets.shape_of(config).attention.heads
    found = []
    for ladder in settings(config, math.prod(shape), heads):
        for setting in ladder:
            one = config.copy_and_resolve_references()
            for key, value in setting.keys().items():
                schema.override(one, key, str(value))
            row = report.rehearse(one, where, ("train",))["rows"][0]
            found.append({"keys": setting.keys(), "row": row})
            note(line(found[-1]))
            if not row["fits"]:
                break
    return sorted(found, key=_cost)


def _cost(one: dict) -> float:
    row = one["row"]
    return row["bound"] / row["rows"] if row["fits"] else math.inf


def line(one: dict) -> str:
    """Return a setting and what came of it in a line."""
    keys, row = one["keys"], one["row"]
    said = (
        f"fsdp={keys['parallel.fsdp']:<4} tensor={keys['parallel.tensor']:<2} "
        f"remat={keys['model.remat'] or 'none':5} rows={row['rows']:<6}"
    )
    used = f"{row['used'] / 2**30:6.2f} GiB"
    if not row["fits"]:
        return f"{said} {used}  does not fit"
    return (
        f"{said} {used}  {1000 * row['bound']:8.4g} ms a step, "
        f"{row['mfu']:4.0%} of the peak at most"
    )
