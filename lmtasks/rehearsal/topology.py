"""Devices that are not there: a named TPU topology, or so many devices of this CPU."""

from __future__ import annotations

import importlib.util
import math
import os
import re

import jax

from lmtasks.training import chips

NAMES = (*chips.LINKS, "cpu")
# What libtpu would otherwise ask the machine for, and wait.
_ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_LOG_DIR": "disabled",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}
_ACCELERATORS = {"v4": "v4-{}", "v5e": "v5litepod-{}", "v5p": "v5p-{}", "v6e": "v6e-{}"}
_ONE_DEVICE_A_CHIP = {"v4": {"chip_config_name": "megacore"}}
# Those whose types count cores, two a chip.
_TWO_CORES = ("v4", "v5p")


def parse(text: str) -> tuple[str, tuple[int, ...], int]:
    """Return (name, shape, slices) of a topology: v5e:16x16, v5p:4x4x4, cpu:8, or two
    slices, v5e:16x16*2.

    Raises:
        ValueError: no such name, or no such shape.
    """
    name, _, shape = text.partition(":")
    shape, star, count = shape.partition("*")
    if name not in NAMES:
        raise ValueError(
            f"--topology={text!r}: there are {', '.join(NAMES)}, each with its shape: "
            "v5e:16x16, v5p:4x4x4, cpu:8"
        )
    flat = {"v5e": 2, "v6e": 2, "cpu": 1}.get(name, 3)
    sizes = shape.split("x")
    if len(sizes) != flat or not all(re.fullmatch(r"[1-9]\d*", n) for n in sizes):
        example = {1: "8", 2: "4x4", 3: "2x2x2"}[flat]
        raise ValueError(
            f"--topology={text!r}: a shape of {name} is {flat} number(s) of chips, such "
            f"as {name}:{example}"
        )
    if star and (name == "cpu" or not re.fullmatch(r"[1-9]\d*", count)):
        raise ValueError(
            f"--topology={text!r}: several slices are SHAPE*COUNT of a TPU, such as "
            "v5e:16x16*2"
        )
    return name, tuple(map(int, sizes)), int(count or 1)


def devices_of(text: str) -> list[jax.Device]:
    """Return the devices of a topology, to compile for; nothing can run on TPUs.

    Before jax has looked for devices: it looks for CPUs alone from here on.

    Raises:
        ValueError: a topology that is none, or libtpu is not installed.
    """
    name, shape, slices = parse(text)
    jax.config.update("jax_platforms", "cpu")
    if name == "cpu":
        jax.config.update("jax_num_cpu_devices", math.prod(shape))
        return jax.devices()
    if not os.environ.get("TPU_LIBRARY_PATH") and not importlib.util.find_spec(
        "libtpu"
    ):
        raise ValueError(
            f"--topology={text!r} needs libtpu, which compiles for TPUs that are not "
            "there: pip install 'lmtasks[rehearse]'; cpu:8 works without it"
        )
    kind = _ACCELERATORS[name].format(math.prod(shape) * (1 + (name in _TWO_CORES)))
    for key, value in {**_ALONE, "TPU_ACCELERATOR_TYPE": kind}.items():
        os.environ.setdefault(key, value)
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(
            platform="tpu",
            topology_name=text.partition("*")[0],
            **_ONE_DEVICE_A_CHIP.get(name, {}),
            **({"num_slices": slices} if slices > 1 else {}),
        )
    except (RuntimeError, NotImplementedError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"--topology={text!r}: libtpu says: {said}") from None
    return list(found.devices)
