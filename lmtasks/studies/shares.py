"""What of a machine each of several runs at a time may use."""

from __future__ import annotations

import glob
import os

# Chips of a process on a TPU host -> how they lie next to each other.
_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1"}


def of(slot: int, jobs: int) -> dict[str, str]:
    """Return the environment that gives a job its part of the GPUs or TPU chips.

    Raises:
        ValueError: the chips of this TPU host cannot be shared out like that.
    """
    if jobs < 2:
        return {}
    if chips := _chips():
        return _of_chips(slot, jobs, chips)
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = given.split(",") if given else _found("/dev/nvidia[0-9]*")
    if not cards:
        return {}
    mine = cards[slot::jobs] or [cards[slot % len(cards)]]
    out = {"CUDA_VISIBLE_DEVICES": ",".join(mine)}
    if jobs > len(cards):  # several on one card: none takes it all
        part = 0.9 / -(-jobs // len(cards))
        out["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{part:.2f}"
    return out


def _of_chips(slot: int, jobs: int, chips: list[str]) -> dict[str, str]:
    """Return the variables by which libtpu takes neighbouring chips for a whole slice."""
    each, left = divmod(len(chips), jobs)
    if left or each not in _BOUNDS:
        fit = [len(chips) // n for n in _BOUNDS if not len(chips) % n]
        raise ValueError(
            f"--jobs={jobs}: the {len(chips)} TPU chips of this host are shared out among "
            f"{', '.join(str(n) for n in sorted(fit))} runs at a time"
        )
    return {
        "TPU_VISIBLE_CHIPS": ",".join(chips[slot * each : (slot + 1) * each]),
        "TPU_CHIPS_PER_PROCESS_BOUNDS": _BOUNDS[each],
        "TPU_PROCESS_BOUNDS": "1,1,1",
    }


def _chips() -> list[str]:
    """Return the TPU chips of this host: v4 and before, or v5e and later."""
    given = os.environ.get("TPU_VISIBLE_CHIPS")
    if given:
        return given.split(",")
    if glob.glob("/dev/nvidia[0-9]*"):  # passed-through GPUs lie in /dev/vfio too
        return []
    return _found("/dev/accel[0-9]*") or _found("/dev/vfio/[0-9]*")


def _found(pattern: str) -> list[str]:
    return [str(i) for i in range(len(glob.glob(pattern)))]


def cores(slot: int, jobs: int) -> str:
    """Return the job's part of the processor's cores, "" = all."""
    if jobs < 2 or not hasattr(os, "sched_getaffinity"):
        return ""
    there = sorted(os.sched_getaffinity(0))
    mine = there[slot::jobs] or [there[slot % len(there)]]
    return ",".join(map(str, mine))
