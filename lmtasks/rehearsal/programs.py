"""The programs of a run, compiled for a mesh from shapes alone: nothing is computed."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from lmtasks import builder
from lmtasks import decoding
from lmtasks.training import begin
from lmtasks.training import feed
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program, or why it does not fit.

    Attributes:
        text: the optimized module; "" where it did not fit.
        kept: bytes a device holds before and after a run: state, batch, cache.
        used: bytes it needs at most, those included; None where it is not said.
        seconds: of lowering and compiling. problem: the compiler's words.
    """

    text: str
    kept: float
    used: float | None
    seconds: float
    problem: str = ""


def train_step(run: builder.Run, mesh, read: feed.Feed) -> Program:
    """Return the train step of a run."""
    recipe = begin.recipe_of(run, mesh)
    like = begin.like_state(run, recipe, mesh)
    rows = run.config.train.batch_size
    batch = _batch(read.train.batch(0), rows, mesh)
    return compiled(steps.jit_step(recipe), mesh, like, batch)


def eval_step(run: builder.Run, mesh, read: feed.Feed) -> Program:
    """Return the evaluation step over rows as wide as those of training."""
    rows = rows_of(run.config.eval.batch_size, mesh)
    one = {**read.train.batch(0), "valid": np.zeros(1, np.float32)}
    recipe = steps.Recipe(run.model.apply, run.objective.loss, None, None)
    step = jax.jit(functools.partial(steps.eval_step, recipe))
    like = workdir.like_params(run.model, mesh, run.lora)
    return compiled(step, mesh, like, _batch(one, rows, mesh))


def decode_step(run: builder.Run, mesh) -> Program:
    """Return one step of decoding: a token more in every lane of eval.batch_size rows.

    The cache has room for prompts of data.length and decode.max_tokens; parameters are
    of the model's dtype, spread as in training.
    """
    c, decode = run.config, run.decode
    model = decoding.model_of(run, writes=True)
    rows = rows_of(c.eval.batch_size, mesh)
    like = workdir.like_params(model, mesh)
    kind = jnp.dtype(model.cfg.dtype)
    like = jax.tree.map(lambda x: _shape(x.shape, kind, x.sharding), like)
    ids = jax.ShapeDtypeStruct((rows, 1), jnp.int32)
    prompt = {"tokens": ids, "positions": ids}
    if model.architecture == "encoder_decoder":
        source = jax.ShapeDtypeStruct((rows, c.data.source_length), jnp.int32)
        prompt |= {"source": source, "source_positions": source}
    start = functools.partial(model.start, size=slots_of(run))
    cache = jax.eval_shape(start, like, prompt)[1]
    cache = jax.tree.map(lambda x: _shape(x.shape, x.dtype, _held(x, mesh)), cache)
    lanes = _shape((rows, decode.lanes), jnp.int32, parallel.batch_sharding(mesh))
    slot = _shape((rows,), jnp.int32, parallel.batch_sharding(mesh))

    def step(params, tokens, cache, positions, slot):
        logits, cache = model.step(params, tokens, positions, cache, slot)
        return jnp.argmax(logits, -1), cache

    return compiled(
        jax.jit(step, donate_argnums=2), mesh, like, lanes, cache, lanes, slot
    )


def rows_of(wanted: int, mesh) -> int:
    """Return the rows of an evaluation's batch: as wanted, and as many on each device."""
    ways = parallel.ways(mesh)
    return -(-wanted // ways) * ways


def slots_of(run: builder.Run) -> int:
    """Return the slots of a cache for the longest prompt and all that is written."""
    decoder = run.model.architecture == "decoder"
    return (run.config.data.length if decoder else 1) + run.decode.slots


def compiled(function, mesh, *args) -> Program:
    """Return a jitted function compiled for arguments that are shapes with shardings.

    A program that the compiler finds no room for is an answer, not an error.
    """
    begun = time.perf_counter()
    kept = sum(map(bytes_of, jax.tree.leaves(args)))
    with jax.set_mesh(mesh), parallel.rules():
        lowered = function.lower(*args)
        try:
            made = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            seconds = time.perf_counter() - begun
            said = " ".join(str(error).split())
            return Program("", kept, needed(said), seconds, said)
    seconds = time.perf_counter() - begun
    memory = made.memory_analysis()
    fresh = memory.output_size_in_bytes - memory.alias_size_in_bytes
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes + max(fresh, 0)
    return Program(made.as_text(), memory.argument_size_in_bytes, used, seconds)


def needed(said: str) -> float | None:
    """Return the bytes the compiler says it would need; None where it does not say."""
    found = re.search(r"(?:Used |\()([\d.]+)([KMGT]?)(?: of|\) exceeds)", said)
    if not found:
        return None
    return float(found[1]) * 1024 ** " KMGT".index(found[2] or " ")


def bytes_of(x) -> float:
    """Return the bytes each device holds of a shape with a sharding."""
    shape = x.shape if x.sharding is None else x.sharding.shard_shape(x.shape)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return 8.0
    return math.prod(shape) * jnp.dtype(x.dtype).itemsize


def _batch(arrays: dict, rows: int, mesh) -> dict:
    """Return a batch's arrays with so many rows, as shapes."""
    sharding = parallel.batch_sharding(mesh)
    return {
        name: _shape((rows, *np.shape(x)[1:]), x.dtype, sharding)
        for name, x in arrays.items()
    }


def _shape(shape, dtype, sharding):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _held(x, mesh) -> NamedSharding:
    """Return how devices hold an array of a cache: rows in parts, heads in parts."""
    if x.ndim == 0:
        return parallel.replicated(mesh)
    axes = [parallel.ROWS]
    if x.ndim > 2 and x.shape[1] % mesh.shape["tensor"] == 0:
        axes.append("tensor")
    return NamedSharding(mesh, PartitionSpec(*axes))
