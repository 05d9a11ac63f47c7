"""The state a run begins with: its recipe, its shapes and shardings, its values."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from lmtasks import builder
from lmtasks.hf import reading
from lmtasks.layers import kernels
from lmtasks.models import model as models
from lmtasks.training import feed
from lmtasks.training import hosts
from lmtasks.training import imports
from lmtasks.training import lora as loras
from lmtasks.training import masks
from lmtasks.training import optim
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir
from lmtasks.types import Params

# Folded into the seed for the first values of adapters, and of a soft prompt.
ADAPTERS, PROMPT = 1, 2
# Gradients that are written down of a bad step.
LARGEST = 8


def recipe_of(run: builder.Run, mesh) -> steps.Recipe:
    """Return what the train step needs besides state and batch."""
    train = run.config.train
    return steps.Recipe(
        apply=loras.with_dropout(run.model.apply, run.lora),
        loss=run.objective.loss,
        tx=optim.build(run.optim, train.steps),
        schedule=optim.schedule(run.optim, train.steps),
        frozen=frozen_of(run, mesh),
        accumulate=train.accumulate,
        ema=train.ema,
        whole_batch=run.objective.whole_batch,
        norms=True,
    )


def check_alike(run: builder.Run, path, fingerprint: str) -> None:
    """Raise ValueError, on all processes, where these are not of one run.

    Args:
        run: of this process. path: its work directory. fingerprint: of its data.
    """
    hosts.check_shared(path)
    hosts.check_same(
        {
            "config": run.config.to_dict(),
            "versions": workdir.versions(),
            "tokenizer": run.tokenizer.fingerprint,
            "data": fingerprint,
            "devices": jax.local_device_count(),
        }
    )


def on_devices(run: builder.Run, mesh) -> tuple[builder.Run, str]:
    """Return (the run with the attention kernel its devices take, a line about it, ""
    where there was nothing to choose).
    """
    platform = mesh.devices.flat[0].platform
    cfg = run.model.cfg
    name, why = kernels.choose(
        cfg, platform, shares=run.objective.shares, cut=dict(mesh.shape)
    )
    chosen = dataclasses.replace(cfg.attention, implementation=name)
    cfg = dataclasses.replace(cfg, attention=chosen)
    model = dataclasses.replace(run.model, cfg=cfg)
    line = "" if chosen == run.model.cfg.attention else f"attention by {name}: {why}"
    return dataclasses.replace(run, model=model), line


def frozen_of(run: builder.Run, mesh) -> Params | None:
    """Return a tree of bools, True for what is not trained; None where all is.

    With adapters or soft prompts they alone are trained, and what `also` matches;
    train.freeze holds more.

    Raises:
        ValueError: a pattern matches nothing, or nothing is left to train.
    """
    c, train = run.config, run.config.train
    adds = bool(run.lora.rank or c.soft.kind)
    if not (adds or train.only or train.freeze):
        return None
    like = workdir.like_params(run.model, mesh, run.lora)
    frozen = masks.freeze_mask(like, tuple(train.freeze))
    if adds:
        also = {"lora.also": run.lora.also} if run.lora.rank else {}
        also |= {"soft.also": tuple(c.soft.also)} if c.soft.kind else {}
        only = loras.trained(like, also)
    else:  # the pattern "" is found everywhere
        only = masks.freeze_mask(like, tuple(train.only) or ("",), "train.only")
    frozen = jax.tree.map(lambda held, kept: held or not kept, frozen, only)
    if all(jax.tree.leaves(frozen)):
        raise ValueError(
            f"train.freeze={tuple(train.freeze)!r} leaves no parameter to train"
        )
    return frozen


def summary(recipe: steps.Recipe, like: steps.TrainState) -> str:
    """Return how many of the parameters are trained, in a line; "" where all are."""
    if recipe.frozen is None:
        return ""
    trained = models.count(masks.split(like.params, recipe.frozen)[0])
    return f"trained: {trained:,} of {models.count(like.params):,} parameters"


def largest(recipe: steps.Recipe, like: steps.TrainState, norms) -> dict[str, float]:
    """Return the largest of a step's `grad_norms` by parameter path, those first that
    are no numbers.
    """
    trained = like.params
    if recipe.frozen is not None:
        trained, _ = masks.split(trained, recipe.frozen)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(trained)]
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p in paths]
    found = zip(names, jax.device_get(norms).tolist(), strict=True)
    size = lambda one: one[1] if math.isfinite(one[1]) else math.inf
    return dict(sorted(found, key=size, reverse=True)[:LARGEST])


def like_state(run: builder.Run, recipe: steps.Recipe, mesh) -> steps.TrainState:
    """Return the state as shapes with shardings."""
    key = jax.random.key(run.config.seed)
    like = workdir.like_params(run.model, mesh, run.lora)
    shapes = jax.eval_shape(lambda p: steps.init_state(recipe, p, key), like)
    shardings = jax.tree.map(lambda x: x.sharding, like)
    trainable = shardings
    if recipe.frozen is not None:
        trainable, _ = masks.split(shardings, recipe.frozen)
    whole = parallel.replicated(mesh)
    placed = steps.TrainState(
        step=whole,
        params=shardings,
        opt_state=parallel.like_params(mesh, trainable, shapes.opt_state),
        ema=None if shapes.ema is None else shardings,
        rng=whole,
    )
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, placed
    )


def fresh_state(
    run: builder.Run,
    recipe: steps.Recipe,
    mesh,
    like: steps.TrainState,
    note,
    imported: Params | None = None,
) -> steps.TrainState:
    """Return the state before step 0: new parameters, those of config.init, or the
    `imported` ones of the work directory.
    """
    init_key, run_key = jax.random.split(jax.random.key(run.config.seed))
    shardings = jax.tree.map(lambda x: x.sharding, like)
    if imported is not None:
        params = drawn = imported
    elif run.config.init and reading.is_checkpoint(run.config.init):
        params = drawn = imports.params_of(run, mesh, init_key, note)
    else:
        params = drawn = _draw(run, mesh, init_key)
        if run.config.init:
            params = feed.take_params(run.config.init, drawn, mesh, note)
    with jax.set_mesh(mesh), parallel.rules():
        make = jax.jit(
            lambda p, key: steps.init_state(recipe, adapted(run, p), key),
            out_shardings=shardings,
        )
        return make(with_prompt(run, params, drawn), run_key)


def _draw(run: builder.Run, mesh, key) -> Params:
    """Return new parameters, without adapters."""
    like = workdir.like_params(run.model, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, like)
    with jax.set_mesh(mesh), parallel.rules():
        init = jax.jit(
            lambda key: models.unbox(run.model.init(key)), out_shardings=shardings
        )
        return init(key)


def with_prompt(run: builder.Run, params: Params, drawn: Params) -> Params:
    """Return the parameters with a soft prompt that is still as it was drawn replaced
    by rows of the token table, which works better (Lester et al., 2021, section 3.2).
    """
    c = run.model.cfg
    if run.config.soft.kind != "prompt" or not run.config.init:
        return params
    old, table = params["soft"]["prompt"], params["embed"]["tokens"]
    if old.shape[1] != table.shape[1] or not jnp.array_equal(
        old, drawn["soft"]["prompt"]
    ):
        return params
    key = jax.random.fold_in(jax.random.key(run.config.seed), PROMPT)
    ids = jax.random.randint(key, old.shape[:1], 0, table.shape[0])
    new = jax.device_put(table[ids] * c.embed_scale, old.sharding)
    return {**params, "soft": {**params["soft"], "prompt": new}}


def adapted(run: builder.Run, params: Params) -> Params:
    """Return plain parameters with the run's fresh adapters; traced in `fresh_state`."""
    if not run.lora.rank:
        return params
    key = jax.random.fold_in(jax.random.key(run.config.seed), ADAPTERS)
    return loras.adapt(params, models.logical_axes(run.model), run.lora, key)
