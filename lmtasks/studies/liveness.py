"""Keys of a config that are set and change nothing.

A key is alive where the run without it, at the key's default, differs: in how its
parameters are drawn, its first batches, its train step, or its learning rates.
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
import tempfile

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import base
from lmtasks import builder
from lmtasks import schema
from lmtasks.models import model as models
from lmtasks.studies.subject import Finding
from lmtasks.training import begin
from lmtasks.training import feed
from lmtasks.training import optim
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir

# What other keys decide with them, or what decides when, where and what is said, not
# what is learned; tests of the project hold that each of these is read.
_ELSEWHERE = (
    "task", "architecture", "objective", "init", "seed", "eval", "log", "checkpoint",
    "decode", "guard", "parallel", "tokenizer", "augment.model", "data.dir",
    "data.files", "data.format", "data.fields", "data.labels", "data.threads",
    "data.on_error", "data.on_long", "train.stop_at", "train.stuck_after", "train.steps",
    "prompt.shots_seed", "prompt.shots_order", "model.preset", "model.attention.implementation",
)  # fmt: skip
_BATCHES = 3


def set_keys(config: ConfigDict) -> dict[str, object]:
    """Return {key: default} of the keys that are looked at: set, away from the default."""
    plain = schema.keys_of(base.base())
    return {
        key: plain[key]
        for key, value in schema.keys_of(config).items()
        if key in plain and not isinstance(value, ConfigDict)
        if not any(key == one or key.startswith(f"{one}.") for one in _ELSEWHERE)
        if _differs(value, plain[key])
    }


def _differs(a, b) -> bool:
    plain = lambda x: list(x) if isinstance(x, (tuple, list)) else x
    return plain(a) != plain(b)


def dead_keys(config: ConfigDict, keys: dict[str, object] | None = None) -> list[str]:
    """Return the keys that are set and change nothing.

    One whose value is what it would be without it, too, is alive where another value
    does change something.
    """
    keys = set_keys(config) if keys is None else keys
    given = schema.keys_of(config)
    with tempfile.TemporaryDirectory(prefix="lmtasks-check-") as folder:
        run = builder.build(config)
        # All build on the same tokenizer, so that it is not trained again for each.
        run.tokenizer.save(pathlib.Path(folder) / "tokenizer")
        whole = mark(config, folder)

        def is_dead(key, plain):
            tried = [plain, *_others(given[key])]
            return all(_same(config, key, x, whole, folder) for x in tried)

        return [key for key, plain in keys.items() if is_dead(key, plain)]


def _others(value) -> list:
    """Return other values of the kind, as far as they can be guessed."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [2 * value or 1]
    return [value / 2 or 0.1] if isinstance(value, float) else []


def _same(config, key: str, plain, whole: str, folder: str) -> bool:
    other = config.copy_and_resolve_references()
    *sections, name = key.split(".")
    target = functools.reduce(lambda c, section: c[section], sections, other)
    with target.unlocked():
        target[name] = plain
    try:
        return mark(other, folder) == whole
    except ValueError:  # it cannot even be built without the key
        return False


def mark(config: ConfigDict, folder: str) -> str:
    """Return digits that change with what a run does in training."""
    run = builder.build(config, folder)
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    read = feed.read(run)
    recipe = begin.recipe_of(run, mesh)
    like = begin.like_state(run, recipe, mesh)
    batches = [read.train.batch(k) for k in range(_BATCHES)]
    shapes = {
        k: jax.ShapeDtypeStruct(np.shape(v), v.dtype) for k, v in batches[0].items()
    }
    with jax.set_mesh(mesh), parallel.rules():
        text = steps.jit_step(recipe).lower(like, shapes).as_text()
    rates = optim.schedule(run.optim, run.config.train.steps)
    at = np.linspace(0, run.config.train.steps, 20).astype(int)
    init = jax.jit(lambda key: models.unbox(run.model.init(key)))
    out = hashlib.sha256(init.lower(jax.random.key(0)).as_text().encode())
    out.update(text.encode())
    out.update(workdir.param_table(run.model, mesh, run.lora).encode())
    out.update(repr([float(rates(int(i))) for i in at]).encode())
    out.update(read.fingerprint.encode())
    for batch in batches:
        for key in sorted(batch):
            out.update(key.encode() + np.asarray(batch[key]).tobytes())
    return out.hexdigest()


def check(config: ConfigDict) -> Finding:
    """Return which keys of a config change nothing."""
    keys = set_keys(config)
    dead = dead_keys(config, keys)
    if not dead:
        return Finding(
            "keys that are set",
            "ok",
            f"all {len(keys)} of model, data and updates change something",
        )
    flat = schema.keys_of(config)
    said = ", ".join(f"{key}={flat[key]!r}" for key in dead)
    return Finding("keys that are set", "wrong", f"nothing is changed by {said}")
