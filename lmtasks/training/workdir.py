"""The work directory: what a run leaves behind, and how a run is read back."""

from __future__ import annotations

import collections
import json
import math
import os
import pathlib
import platform
import re
import sys
from importlib import metadata

import jax
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks import schema
from lmtasks.models import model as models
from lmtasks.training import checkpoint
from lmtasks.training import files
from lmtasks.training import lora as loras
from lmtasks.training import parallel
from lmtasks.training import restore
from lmtasks.types import Params

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy",
    "tokenizers", "sentencepiece",
)  # fmt: skip


def open_new(folder: str) -> pathlib.Path:
    """Return the folder, made and proven writable, or raise ValueError."""
    if re.match(r"[a-z][a-z0-9+.-]*://", folder):
        raise ValueError(
            f"--workdir={folder} is a URL, and a work directory is a folder of a disk; "
            "mount the bucket (gcsfuse for gs://) and give the folder it is mounted at"
        )
    path = pathlib.Path(folder).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable-{platform.node()}-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"the work directory {folder} cannot be written ({error.strerror}); "
            "choose another with --workdir"
        ) from None
    return path


def write_config(path: pathlib.Path, config: ConfigDict) -> None:
    """Write config.json whole or not at all."""
    files.write_json(path / "config.json", config.to_dict())


def versions() -> dict[str, str]:
    """Return the versions of Python and of what changes numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int | None:
    """Return how many cores this process may use: XLA on CPU adds up in other orders on
    another number, and a launcher that shares them out gives each run a part.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def write_environment(path: pathlib.Path) -> None:
    """Write env.json (versions, devices) and append the command to command.txt."""
    devices = [f"{d.platform}:{d.device_kind}" for d in jax.devices()]
    env = {
        "versions": versions(),
        "devices": devices,
        "processes": jax.process_count(),
        "machine": platform.machine(),
        "cores": cores(),
    }
    files.write_text(path / "env.json", json.dumps(env, indent=1) + "\n")
    with open(path / "command.txt", "a") as out:
        out.write(" ".join(sys.argv) + "\n")


def check_tokenizer(path: pathlib.Path, config: ConfigDict) -> None:
    """Raise ValueError when a started run is given another tokenizer."""
    stored = files.read_config(path)
    if stored is None or "tokenizer" not in stored:
        return
    for key, value in stored["tokenizer"].items():
        if files.plain(config.tokenizer.get(key)) != value:
            raise ValueError(
                f"tokenizer.{key}={config.tokenizer.get(key)!r}: this run has begun "
                f"with {value!r}; leave it as it was or use a new --workdir"
            )


def note_changes(path: pathlib.Path, stored: dict, config: dict, note) -> None:
    """Say and log what differs from the config the run was started with."""
    changed = files.differences(stored, config)
    if not changed:
        return
    with open(path / "config_changes.jsonl", "a") as out:
        for key, (old, new) in changed.items():
            note(f"config_change {key}: {old!r} -> {new!r}")
            row = {"event": "config_change", "key": key, "old": old, "new": new}
            out.write(json.dumps(row) + "\n")


def like_params(model: models.Model, mesh, lora: loras.Lora = loras.NONE) -> Params:
    """Return the parameters, with adapters, as shapes with shardings."""
    shapes, axes = loras.like(model, lora)
    shardings = parallel.param_shardings(mesh, axes, shapes)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        shapes,
        shardings,
    )


def undivided(model: models.Model, mesh, lora: loras.Lora = loras.NONE) -> list[str]:
    """Return a line for each logical axis that a mesh axis meant for it does not divide,
    and which every device therefore holds whole.
    """
    found = collections.Counter()
    shapes, logical = loras.like(model, lora)
    for x, names in zip(jax.tree.leaves(shapes), jax.tree.leaves(logical), strict=True):
        for name, size in set(zip(names, x.shape, strict=False)):
            axis = parallel.mesh_axes(name)
            if axis and size % mesh.shape[axis]:
                found[name, size, axis] += 1
    return [
        f"parallel.{axis}={mesh.shape[axis]} does not divide {name}={size}: {count} "
        "parameter(s) stay whole along it on every device"
        for (name, size, axis), count in sorted(found.items())
    ]


def newest(folder: str) -> int:
    """Return the newest saved step of a work directory, or raise ValueError."""
    steps = restore.steps(pathlib.Path(folder) / "checkpoints")
    if not steps:
        raise ValueError(
            f"{folder} holds no checkpoint; train first: lmtasks train --config=... "
            f"--workdir={folder}"
        )
    return steps[-1]


def best(folder: str) -> int:
    """Return the saved step with the best value of the run's chosen metric."""
    stored = files.read_config(folder)
    newest(folder)  # says so when there is none
    chosen = stored["eval"]["best"] or "loss" if stored else "loss"
    mode = stored["eval"]["mode"] if stored else "min"
    path = pathlib.Path(folder) / "checkpoints"
    with checkpoint.Checkpoints(path, best=chosen, mode=mode) as saved:
        step = saved.best_step()
    if step is None:
        raise ValueError(f"no checkpoint of {folder} was evaluated; give --step=NUMBER")
    return step


def param_table(model: models.Model, mesh, lora: loras.Lora = loras.NONE) -> str:
    """Return the parameters as a table: path, shape, logical axes, mesh axes, bytes
    on each device.
    """
    like = like_params(model, mesh, lora)
    _, logical = loras.like(model, lora)
    rows = [("parameter", "shape", "logical axes", "mesh axes", "bytes/device")]
    total = 0
    flat = jax.tree_util.tree_flatten_with_path(like)[0]
    for (path, x), axes in zip(flat, jax.tree.leaves(logical), strict=True):
        size = math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
        total += size
        rows.append(
            (
                jax.tree_util.keystr(path, simple=True, separator="/"),
                "x".join(map(str, x.shape)),
                " ".join(str(a) for a in axes),
                " ".join(str(a) for a in x.sharding.spec),
                f"{size:,}",
            )
        )
    rows.append(("total", f"{models.count(like):,}", "", "", f"{total:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def load_run(folder: str, config: ConfigDict | None = None) -> builder.Run:
    """Return the run of a work directory; `config` replaces the stored one."""
    if config is None:
        stored = files.read_config(folder)
        if stored is None:
            raise ValueError(
                f"{folder} is not a work directory: there is no config.json; make one "
                "with lmtasks train --workdir"
            )
        config = schema.from_stored(stored)
    return builder.build(config, folder)


def restore_for_use(folder: str, run: builder.Run, mesh, step: int | None, part: str):
    """Return (parameters, step) of a work directory, verified; adapters are merged."""
    newest(folder)  # says so when there is none
    like, verify = like_params(run.model, mesh, run.lora), run.config.checkpoint.verify
    params, _, chosen = checkpoint.restore_params(
        pathlib.Path(folder) / "checkpoints", like, step, part=part, verify=verify
    )
    if not run.lora.rank:
        return params, chosen
    shardings = jax.tree.map(lambda x: x.sharding, like_params(run.model, mesh))
    return jax.jit(loras.merge, out_shardings=shardings)(params), chosen
