"""The state a run begins with: its recipe, its shapes and shardings, its values."""

from __future__ import annotations

import jax

from lmtasks import builder
from lmtasks.models import model as models
from lmtasks.training import feed
from lmtasks.training import masks
from lmtasks.training import optim
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir


def recipe_of(run: builder.Run, mesh) -> steps.Recipe:
    """Return what the train step needs besides state and batch."""
    train = run.config.train
    frozen = None
    if train.freeze:
        like = workdir.like_params(run.model, mesh)
        frozen = masks.freeze_mask(like, tuple(train.freeze))
    return steps.Recipe(
        apply=run.model.apply,
        loss=run.objective.loss,
        tx=optim.build(run.optim, train.steps),
        schedule=optim.schedule(run.optim, train.steps),
        frozen=frozen,
        accumulate=train.accumulate,
        ema=train.ema,
    )


def like_state(run: builder.Run, recipe: steps.Recipe, mesh) -> steps.TrainState:
    """Return the state as shapes with shardings."""
    key = jax.random.key(run.config.seed)
    like = workdir.like_params(run.model, mesh)
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
    run: builder.Run, recipe: steps.Recipe, mesh, like: steps.TrainState, note
) -> steps.TrainState:
    """Return the state before step 0: new parameters, or those of config.init."""
    init_key, run_key = jax.random.split(jax.random.key(run.config.seed))
    shardings = jax.tree.map(lambda x: x.sharding, like)
    with jax.set_mesh(mesh), parallel.rules():
        draw = jax.jit(
            lambda key: models.unbox(run.model.init(key)),
            out_shardings=shardings.params,
        )
        params = draw(init_key)
    if run.config.init:
        params = feed.take_params(run.config.init, params, mesh, note)
    with jax.set_mesh(mesh), parallel.rules():
        make = jax.jit(
            lambda p, key: steps.init_state(recipe, p, key), out_shardings=shardings
        )
        return make(params, run_key)
