"""Tokens a second against length: an LSTM beside a transformer of equal parameters.

    python -m experiments.benchmarks.recurrent [--lengths=64,256,1024] [--json=FILE]

The two models of experiments/ablations/lstm_writing. `train` is a whole step of the
product's, 2,048 tokens in rows of the length. `decode` writes one text, a token a step,
behind a prompt of the length. Blocks of both take turns; figures are medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import statistics
import time

import jax
import numpy as np

from experiments.ablations.lstm_writing import sweep
from lmtasks import builder
from lmtasks import schema
from lmtasks.models import model as models
from lmtasks.training import begin
from lmtasks.training import parallel
from lmtasks.training import step as steps

TOKENS = 2048
WRITTEN = 64


def run_of(variant: str, length: int) -> builder.Run:
    """Return the study's run of a variant over rows of a length, without its data."""
    study = sweep.get_sweep()
    config = schema.load(study.config)
    changes = {"tokenizer.kind": "byte", "model.vocab": 1024, "data.length": length}
    changes |= {"train.batch_size": TOKENS // length, "eval.xz": False}
    changes |= study.variants[variant] | {"model.positions.size": 2 * length}
    for key, value in changes.items():
        schema.override(config, key, str(value))
    return builder.build(config)


def rows_of(length: int, rows: int) -> dict[str, np.ndarray]:
    """Return full rows of random tokens."""
    tokens = np.random.default_rng(0).integers(1, 1000, (rows, length + 1))
    tokens = tokens.astype(np.int32)
    places = np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length))
    return {
        "tokens": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "weights": np.ones((rows, length), np.float32),
        "positions": places,
        "segments": np.ones((rows, length), np.int32),
    }


def training(run: builder.Run, length: int):
    """Return a function that trains one step and the number of parameters."""
    mesh = parallel.make_mesh(run.parallel, jax.devices()[:1])
    recipe = begin.recipe_of(run, mesh)
    like = begin.like_state(run, recipe, mesh)
    state = begin.fresh_state(run, recipe, mesh, like, print)
    batch = parallel.put(
        rows_of(length, TOKENS // length), parallel.batch_sharding(mesh)
    )
    jitted, count = steps.jit_step(recipe), models.count(like.params)

    def one():
        nonlocal state
        with jax.set_mesh(mesh), parallel.rules():
            state, _ = jitted(state, batch)
        jax.block_until_ready(state)

    return one, count


def writing(run: builder.Run, length: int):
    """Return a function that writes WRITTEN tokens behind a prompt."""
    model = run.model.for_decoding()
    params = models.unbox(jax.jit(model.init)(jax.random.key(0)))
    prompt = {k: rows_of(length, 1)[k] for k in ("tokens", "positions")}
    start = jax.jit(model.start, static_argnums=2)
    cache = jax.block_until_ready(start(params, prompt, length + WRITTEN)[1])

    @jax.jit
    def text(params, cache):
        def step(carry, n):
            cache, token = carry
            place = (length + n)[None]
            logits, cache = model.step(params, token, place[None], cache, place)
            return (cache, logits[:, -1:].argmax(-1).astype("int32")), None

        first = (cache, np.zeros((1, 1), np.int32))
        return jax.lax.scan(step, first, np.arange(WRITTEN, dtype=np.int32))[0][1]

    return lambda: jax.block_until_ready(text(params, cache))


def seconds_of(sides: dict, blocks: int, least: float = 1.0) -> dict[str, float]:
    """Return the median seconds of a call of each side, taking turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for name, call in itertools.chain(*[sides.items()] * (blocks + 1)):
        call()
        count, begun = 0, time.perf_counter()
        while not count or time.perf_counter() - begun < least:
            call()
            count += 1
        found[name].append((time.perf_counter() - begun) / count)
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def main() -> None:
    """Print a row for each length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", default="64,256,1024")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    for length in map(int, given.lengths.split(",")):
        runs = {name: run_of(name, length) for name in ("transformer", "lstm")}
        trained = {name: training(run, length) for name, run in runs.items()}
        step = seconds_of({n: call for n, (call, _) in trained.items()}, given.blocks)
        writes = {name: writing(run, length) for name, run in runs.items()}
        text = seconds_of(writes, given.blocks)
        row = {"length": length, "device": jax.devices()[0].device_kind}
        row |= {"jax": jax.__version__}
        row |= {f"parameters_{name}": count for name, (_, count) in trained.items()}
        row |= {f"train_{name}": TOKENS / s for name, s in step.items()}
        row |= {f"decode_{name}": WRITTEN / s for name, s in text.items()}
        print(row, flush=True)
        if given.json:
            with open(given.json, "a") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
