"""The one pure train step of every task, and the evaluation step."""

from __future__ import annotations

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import optax
from flax import struct

from lmtasks.training import masks
from lmtasks.training import optim
from lmtasks.types import Array
from lmtasks.types import Batch
from lmtasks.types import Params


@struct.dataclass
class TrainState:
    """All that a run changes.

    Attributes:
        step: int32[], updates done.
        params: the parameters, frozen ones included.
        opt_state: of the trainable parameters only.
        ema: exponential moving average of the parameters, or None.
        rng: key of the run; a step uses fold_in(rng, step).
    """

    step: Array
    params: Params
    opt_state: typing.Any
    ema: Params | None
    rng: Array


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a step needs besides state and batch; static.

    Attributes:
        apply: (params, batch, rng) -> logits. loss: objective.loss.
        tx: optimizer over the trainable parameters.
        schedule: step -> learning rate.
        frozen: tree of bools, or None when nothing is frozen.
        accumulate: micro-batches a step. ema: decay, 0 = off.
        axis: pmap's axis name, or None under jit.
        whole_batch: the loss needs every example of the batch at once.
        norms: also return "grad_norms", float32[leaves], of each trained parameter:
            the squares are summed for "grad_norm" anyway.
    """

    apply: typing.Callable
    loss: typing.Callable
    tx: optax.GradientTransformation
    schedule: typing.Callable
    frozen: typing.Any = None
    accumulate: int = 1
    ema: float = 0.0
    axis: str | None = None
    whole_batch: bool = False
    norms: bool = False


def init_state(recipe: Recipe, params: Params, rng: Array) -> TrainState:
    """Return the state before the first step."""
    trainable, _ = _split(recipe, params)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=recipe.tx.init(trainable),
        ema=jax.tree.map(jnp.copy, params) if recipe.ema else None,
        rng=rng,
    )


def _split(recipe: Recipe, params: Params):
    if recipe.frozen is None:
        return params, None
    return masks.split(params, recipe.frozen)


def _sums(recipe: Recipe, trainable, frozen, batch: Batch, rng: Array):
    """Return (loss sum, all sums) as `value_and_grad` wants them."""
    params = trainable if frozen is None else masks.merge(trainable, frozen)
    if recipe.whole_batch and recipe.axis is not None:
        # Every device computes the whole loss; their sum counts it once.
        batch = jax.lax.all_gather(batch, recipe.axis, tiled=True)
        sums = recipe.loss(recipe.apply, params, batch, rng)
        share = 1 / jax.lax.axis_size(recipe.axis)
        sums = jax.tree.map(lambda x: x * share, sums)
        return sums["loss"][0], sums
    sums = recipe.loss(recipe.apply, params, batch, rng)
    return sums["loss"][0], sums


def _grads(recipe: Recipe, trainable, frozen, batch: Batch, rng: Array):
    """Return (sums, gradient of the loss sum) over all micro-batches."""
    gradient = jax.grad(functools.partial(_sums, recipe), has_aux=True)
    if recipe.accumulate == 1:
        grads, sums = gradient(trainable, frozen, batch, rng)
        return sums, grads
    # Micro-batch a takes rows a, a + A, ...: each device splits its own rows.
    parts = jax.tree.map(
        lambda x: x.reshape(-1, recipe.accumulate, *x.shape[1:]).swapaxes(0, 1), batch
    )

    def add(total, xs):
        i, part = xs
        grads, sums = gradient(trainable, frozen, part, jax.random.fold_in(rng, i))
        return jax.tree.map(jnp.add, total, (sums, grads)), None

    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(gradient, trainable, frozen, first, rng)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes[::-1])
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(recipe.accumulate), parts))
    return total


def eval_rows(recipe: Recipe, params: Params, batch: Batch) -> dict:
    """Return the sums of `eval_step` of each row: {name: (float32[B], float32[B])}."""

    def one(row):
        alone = jax.tree.map(lambda x: x[None], row)
        return recipe.loss(recipe.apply, params, alone, None)

    return jax.vmap(one)(batch)


def train_step(
    recipe: Recipe, state: TrainState, batch: Batch, limit: Array | None = None
) -> tuple[TrainState, dict[str, Array]]:
    """Return the state after one update and its float32[] metrics.

    The only division of the house: gradients and sums by the weight of the whole
    batch, so that padding, packing, accumulation and sharding change nothing.

    With a `limit`, float32[], a step whose loss is above it, or whose loss or gradient
    is not finite, changes nothing but the step's number: the optimizer's own count
    stays too.

    Returns:
        (state, {"loss", "accuracy", ..., "grad_norm", "learning_rate", "weight"}), and
        with a limit "skipped", 1 or 0.
    """
    rng = jax.random.fold_in(state.rng, state.step)
    if recipe.axis is not None:
        rng = jax.random.fold_in(rng, jax.lax.axis_index(recipe.axis))
    trainable, frozen = _split(recipe, state.params)
    sums, grads = _grads(recipe, trainable, frozen, batch, rng)
    if recipe.axis is not None:
        sums, grads = jax.lax.psum((sums, grads), recipe.axis)
    weight = sums["loss"][1]
    # A product, not a quotient: XLA recomputes it where it is used.
    share = 1 / jnp.maximum(weight, 1)
    grads = jax.tree.map(lambda g: g * share.astype(g.dtype), grads)
    updates, opt_state = recipe.tx.update(grads, state.opt_state, trainable)
    trainable = optax.apply_updates(trainable, updates)
    params = trainable if frozen is None else masks.merge(trainable, frozen)
    ema = state.ema
    if ema is not None:
        ema = optax.incremental_update(params, ema, 1 - recipe.ema)
    metrics = {k: s / jnp.maximum(w, 1) for k, (s, w) in sums.items()}
    if recipe.norms:
        each = jax.tree.leaves(jax.tree.map(optim.global_norm, grads))
        metrics["grad_norms"] = jnp.stack(each)
    metrics |= {
        "grad_norm": optim.global_norm(grads),
        "learning_rate": jnp.asarray(recipe.schedule(state.step), jnp.float32),
        "weight": weight,
    }
    new = TrainState(state.step + 1, params, opt_state, ema, state.rng)
    if limit is not None:
        new, metrics["skipped"] = _unless_bad(state, new, metrics, limit)
    return new, metrics


def _unless_bad(old: TrainState, new: TrainState, metrics: dict, limit: Array):
    """Return (the new state, or the old one where the step is bad; 1 if it is)."""
    good = jnp.isfinite(metrics["loss"] + metrics["grad_norm"])
    good = good & (metrics["loss"] <= limit)
    kept = jax.tree.map(
        lambda a, b: jnp.where(good, a, b),
        (new.params, new.opt_state, new.ema),
        (old.params, old.opt_state, old.ema),
    )
    state = TrainState(new.step, *kept, new.rng)
    return state, 1 - good.astype(jnp.float32)


def eval_step(recipe: Recipe, params: Params, batch: Batch) -> dict:
    """Return the sums of one batch; rows with `valid` 0 count nothing."""
    weights = batch["weights"] * batch["valid"][:, None]
    return recipe.loss(recipe.apply, params, {**batch, "weights": weights}, None)


def jit_step(recipe: Recipe):
    """Return the compiled train step (state, batch[, limit]) -> (state, metrics)."""
    return jax.jit(functools.partial(train_step, recipe), donate_argnums=0)


def pmap_step(recipe: Recipe):
    """Return the same step under pmap, for replicated data parallelism.

    The state stays whole as under jit; the batch is cut into one part a device.
    """
    recipe = dataclasses.replace(recipe, axis="batch")
    mapped = jax.pmap(
        functools.partial(train_step, recipe),
        axis_name="batch",
        in_axes=(None, 0, None),
        out_axes=None,
        donate_argnums=0,
    )
    ways = jax.local_device_count()

    def run(state, batch, limit=None):
        parts = {k: v.reshape(ways, -1, *v.shape[1:]) for k, v in batch.items()}
        return mapped(state, parts, limit)

    return run
