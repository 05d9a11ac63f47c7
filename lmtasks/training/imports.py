"""Parameters from a checkpoint directory, and work directories made of them."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.data import directory
from lmtasks.hf import reading
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.models import soft
from lmtasks.tokenizers import published
from lmtasks.training import checkpoint
from lmtasks.training import files
from lmtasks.training import lora
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import restore
from lmtasks.training import runtime
from lmtasks.training import workdir
from lmtasks.types import Array
from lmtasks.types import Params

# Folder of a work directory with the small files of the checkpoint it came from.
ORIGIN = "pretrained"
_SMALL = "generation_config.json"


def params_of(
    run: builder.Run, mesh, key: Array, note: Callable[[str], None]
) -> Params:
    """Return the run's parameters from the checkpoint directory config.init.

    Heads and soft prompts that it does not have are drawn, and named.

    Args:
        run: whose model was derived from that checkpoint.
        mesh: where the parameters go.
        key: draws what is new.
        note: is told what was taken, drawn and left.
    """
    found = reading.open_checkpoint(run.config.init)
    whole = run.model.for_decoding()
    plain = dataclasses.replace(whole, soft=soft.Soft())
    like = workdir.like_params(plain, mesh)
    flat, matched = reading.read_params(found, plain, like)
    _drop_other_classes(run, found, flat, note)
    missing = sorted(masks.flat(workdir.like_params(whole, mesh)).keys() - flat.keys())
    flat |= _drawn(whole, mesh, key, missing)
    _say(found, matched, missing, note)
    params = masks.nest(flat)
    if run.model.cfg.scan_layers:
        params = layout.stack_layers(params)
    like = workdir.like_params(run.model, mesh)
    return jax.tree.map(lambda x, p: jax.device_put(x, p.sharding), params, like)


def _drop_other_classes(run: builder.Run, found, flat: dict, note) -> None:
    """Leave the class head out where its classes have other names or another order."""
    ours, theirs = tuple(run.task.labels), found.labels
    heads = [path for path in flat if path.startswith("top/out")]
    # Without labels (spans, numbers, options) there are no names to compare.
    if not (heads and ours and theirs) or ours == theirs:
        return
    note(
        f"init: the classes there are {', '.join(theirs)}, here {', '.join(ours)}: the "
        "class head is drawn anew; set config.data.labels to theirs to take it"
    )
    for path in heads:
        del flat[path]


def _drawn(model: models.Model, mesh, key: Array, paths: list[str]) -> dict:
    """Return {path: array} of new parameters; no others are made."""
    like = masks.flat(workdir.like_params(model, mesh))
    with jax.set_mesh(mesh), parallel.rules():
        draw = jax.jit(
            lambda k: {p: masks.flat(models.unbox(model.init(k)))[p] for p in paths},
            out_shardings={p: like[p].sharding for p in paths},
        )
        return draw(key) if paths else {}


def _say(found, matched, missing, note):
    note(
        f"init: {len(matched.there)} tensors of {found.kind} ({found.dtype}) from "
        f"{found.weights.where}"
    )
    if missing:
        note(f"init: fresh parameters: {', '.join(missing)}")
    if matched.unused:
        note(f"init: heads this run does not have: {', '.join(matched.unused)}")
    if found.unread:
        note(
            f"init: keys of config.json that are not understood and may matter: "
            f"{', '.join(found.unread)}"
        )


def keep_origin(folder: str, path: pathlib.Path) -> None:
    """Copy the small files of a checkpoint directory into a work directory; those of
    another work directory, where it has them, are passed on.
    """
    to, partial = path / ORIGIN, path / f"{ORIGIN}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    if not reading.is_checkpoint(folder):
        if (pathlib.Path(folder) / ORIGIN).is_dir():
            shutil.copytree(pathlib.Path(folder) / ORIGIN, partial)
            shutil.rmtree(to, ignore_errors=True)
            partial.rename(to)
        return
    found = reading.open_checkpoint(folder)
    partial.mkdir(parents=True)
    files.write_json(partial / "config.json", dict(found.values))
    for file in small_files(found.folder):
        shutil.copyfile(file, partial / file.name)
    files.write_json(partial / "import.json", {"dtype": found.dtype})
    shutil.rmtree(to, ignore_errors=True)
    partial.rename(to)


def small_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return what stands beside config.json and the weights: the tokenizer's files and
    the settings of generation.
    """
    more = [folder / _SMALL] if (folder / _SMALL).is_file() else []
    return published.published_files(folder) + more


def relaid(folder: str, to: pathlib.Path, *, scan: bool, step: int | None) -> None:
    """Write the parameters of a work directory as a new one with the other layout.

    Raises:
        ValueError: it has no whole checkpoint, or its layers cannot be stacked.
    """
    run = workdir.load_run(folder)
    mesh = parallel.make_mesh(run.parallel)
    params, chosen = workdir.restore_for_use(folder, run, mesh, step, "params")
    run.config.model.scan_layers = scan
    run.config.lora.rank = 0  # merged
    cfg = dataclasses.replace(run.model.cfg, scan_layers=scan)
    model = dataclasses.replace(run.model, cfg=cfg)
    run = dataclasses.replace(run, model=model, lora=lora.NONE)
    params = layout.unstack_layers(params)
    params = layout.stack_layers(params) if scan else params
    with directory.new_directory(to) as partial:
        keep_origin(folder, partial)
        about = {"from": str(folder), "step": chosen}
        write_workdir(run, params, partial, about)


def make(
    config: ConfigDict, path: pathlib.Path, note: Callable[[str], None]
) -> builder.Run:
    """Write the work directory of a checkpoint directory, config.init; return its run.

    Raises:
        ValueError: the checkpoint or the config cannot work.
    """
    runtime.keep_memory()
    run = builder.build(config)
    mesh = parallel.make_mesh(run.parallel)
    key = jax.random.split(jax.random.key(run.config.seed))[0]
    params = params_of(run, mesh, key, note)
    keep_origin(run.config.init, path)
    run.config.init = ""
    write_workdir(run, params, path, {"from": str(config.init)})
    return run


def write_workdir(
    run: builder.Run, params: Params, path: pathlib.Path, about: dict
) -> None:
    """Write a work directory of parameters that were not trained here: step 0."""
    workdir.write_config(path, run.config)
    run.tokenizer.save(path / "tokenizer")
    workdir.write_environment(path)
    mesh = parallel.make_mesh(run.parallel)
    files.write_text(path / "params.txt", workdir.param_table(run.model, mesh))
    meta = {"imported": about, "versions": workdir.versions()}
    with checkpoint.Checkpoints(path / "checkpoints", asynchronous=False) as saved:
        saved.save(0, {"params": params}, meta)


def kept(run: builder.Run, path: pathlib.Path, mesh) -> Params:
    """Return the parameters of a work directory that was not trained yet."""
    like, verify = workdir.like_params(run.model, mesh), run.config.checkpoint.verify
    return checkpoint.restore_params(path / "checkpoints", like, 0, verify=verify)[0]


def untrained(path: pathlib.Path) -> bool:
    """Return whether the newest checkpoint is parameters alone, without a state."""
    folder = path / "checkpoints"
    found = restore.steps(folder)
    if found[-1:] != [0]:
        return False
    return "imported" in restore.about(folder, 0)["meta"]
