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
from lmtasks.training import feed
from lmtasks.training import parallel

# Parts of heads and widths that are tried.
TENSOR = (1, 2, 4, 8)
# Parts of the length that are tried.
SEQUENCE = (1, 2)
REMAT = ("full", "dots", "")
# Batch sizes that are tried, each twice the one before.
SIZES = 3


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is tried: config keys and their values."""

    replica: int
    fsdp: int
    sequence: int
    tensor: int
    remat: str
    rows: int

    def keys(self) -> dict[str, object]:
        """Return the config keys that make it."""
        return {
            "parallel.replica": self.replica,
            "parallel.data": 1,
            "parallel.fsdp": self.fsdp,
            "parallel.sequence": self.sequence,
            "parallel.tensor": self.tensor,
            "model.remat": self.remat,
            "train.batch_size": self.rows,
        }


def settings(
    config: ConfigDict, devices: int, heads: int, slices: int = 1
) -> Iterator[list[Setting]]:
    """Return ladders of settings that differ only in their rows, fewest first.

    Rows are train.batch_size and its doublings, where they divide over the devices.
    Each of the slices is a replica, unless parallel.replica says more.
    """
    fewest, replica = config.train.batch_size, max(config.parallel.replica, slices)
    for sequence, tensor, remat in itertools.product(SEQUENCE, TENSOR, REMAT):
        held = replica * sequence * tensor
        if devices % held or heads % tensor or config.data.length % sequence:
            continue
        fsdp = devices // held
        ways = replica * fsdp * config.train.accumulate
        rows = [fewest * 2**i for i in range(SIZES) if fewest * 2**i % ways == 0]
        yield [Setting(replica, fsdp, sequence, tensor, remat, n) for n in rows]


def search(
    config: ConfigDict, where: str, note: Callable[[dict], None] = lambda one: None
) -> list[dict]:
    """Return [{"keys", "row"}] of the train step for every setting, those that fit
    first, by the least seconds a row takes.

    Where so many rows do not fit, more are not tried. The data is read once.

    Args:
        config: of a run. where: a TPU topology. note: told of each as it is done.
    """
    if topology.parse(where)[0] == "cpu":
        raise ValueError(
            f"--search --topology={where}: neither memory nor speed of these devices is "
            "known; name a TPU topology"
        )
    devices = topology.devices_of(where)
    run = builder.build(config)
    read, found = feed.read(run), []
    heads, slices = run.model.cfg.attention.heads, topology.parse(where)[2]
    for ladder in settings(config, len(devices), heads, slices):
        for setting in ladder:
            made = with_setting(run, setting)
            row = report.of_run(made, read, where, devices, ("train",))["rows"][0]
            found.append({"topology": where, "keys": setting.keys(), "row": row})
            note(found[-1])
            if not row["fits"]:
                break
    if not found:
        raise ValueError(
            f"train.batch_size={config.train.batch_size} and its doublings do not divide "
            f"over {len(devices)} devices and train.accumulate="
            f"{config.train.accumulate}; use a multiple of their product"
        )
    return sorted(found, key=_cost)


def with_setting(run: builder.Run, setting: Setting) -> builder.Run:
    """Return the run as it would be built with a setting: what is read stays."""
    config = run.config.copy_and_resolve_references()
    for key, value in setting.keys().items():
        schema.override(config, key, str(value))
    cfg = dataclasses.replace(run.model.cfg, remat=setting.remat)
    return dataclasses.replace(
        run,
        config=config,
        parallel=schema.typed(parallel.Parallel, config.parallel),
        model=dataclasses.replace(run.model, cfg=cfg),
    )


def _cost(one: dict) -> float:
    row = one["row"]
    return row["bound"] / row["rows"] if row["fits"] else math.inf


def line(one: dict) -> str:
    """Return a setting and what came of it in a line."""
    keys, row = one["keys"], one["row"]
    said = (
        f"fsdp={keys['parallel.fsdp']:<4} sequence={keys['parallel.sequence']:<2} "
        f"tensor={keys['parallel.tensor']:<2} remat={keys['model.remat'] or 'none':5} "
        f"rows={row['rows']:<6}"
    )
    used = f"{row['used'] / 2**30:6.2f} GiB" if row["used"] else "    unknown"
    if not row["fits"]:
        return f"{said} {used}  does not fit"
    return (
        f"{said} {used}  {1000 * row['bound']:8.4g} ms a step, "
        f"{row['mfu']:4.0%} of the peak at most"
    )
