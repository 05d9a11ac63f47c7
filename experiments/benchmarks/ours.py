"""Our side of the table: the product's train step, in a process of its own."""

from __future__ import annotations

import contextlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from experiments.benchmarks import cases
from experiments.benchmarks import convert
from experiments.benchmarks import fixed
from experiments.benchmarks import real
from experiments.benchmarks import sides
from lmtasks.models import model as models
from lmtasks.training import begin
from lmtasks.training import chips
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import runtime
from lmtasks.training import step as steps

# Steps on their way, as in training.loop.
IN_FLIGHT = 2


def shape_key(batch) -> tuple:
    """Return what a compiled step is looked up by."""
    return tuple(sorted((k, v.shape) for k, v in batch.items()))


class Training:
    """One case, trained step by step as training.loop does."""

    def setup(self, plan: dict) -> dict:
        """Build, fill the parameters, compile; return what was done and how long.

        Compiling is tracing, lowering and XLA's part, of all batch shapes together.
        """
        runtime.enable_compile_cache()
        runtime.keep_memory()
        # Small programs too: the table shows what the cache saves.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        self.plan = cases.Plan(**plan)
        self.case = cases.choose(self.plan.case)[0]
        batches = self._read()
        device = jax.devices()[0]
        self.mesh = parallel.make_mesh(self.built.parallel, [device])
        self.sharding = parallel.batch_sharding(self.mesh)
        self._fill()
        seconds = self._compile(batches)
        return {
            "compile_s": seconds,
            "shapes": len(self.compiled),
            "platform": device.platform,
            "device": device.device_kind,
            "parameters": models.count(self.state.params),
            "jax": jax.__version__,
            "cores": sides.cores(),
            "data": self.feed.summary if self.feed else "",
        }

    def _read(self):
        """Set the run and its batches; return one of each shape there will be."""
        self.repeated = self.feed = None
        if self.case.kind == "step":
            self.built = fixed.build(self.case, self.plan.dtype)
            gather = self.plan.side != "ungathered"
            self.repeated = fixed.batch_of(self.case, self.built, gather=gather)
            return [self.repeated]
        self.built, self.feed = real.build(self.case, self.plan)
        train = self.feed.train
        self.batches = train.batches(0, self.plan.steps)
        return [train.batch(k) for k in range(self.plan.steps)]

    @contextlib.contextmanager
    def _context(self):
        with jax.set_mesh(self.mesh), parallel.rules():
            yield

    def _fill(self):
        """Make the state, with parameters as random_value has them."""
        self.recipe = begin.recipe_of(self.built, self.mesh)
        like = begin.like_state(self.built, self.recipe, self.mesh)
        cfg = self.built.model.cfg

        def value(path, x):
            drawn = convert.random_value(masks.name_of(path), x.shape, cfg)
            return jax.device_put(drawn, x.sharding)

        params = jax.tree_util.tree_map_with_path(value, like.params)
        make = jax.jit(
            lambda p, key: steps.init_state(self.recipe, p, key),
            out_shardings=jax.tree.map(lambda x: x.sharding, like),
        )
        with self._context():
            self.state = make(params, jax.random.key(0))

    def _compile(self, batches) -> float:
        jitted, seconds, self.compiled = steps.jit_step(self.recipe), 0.0, {}
        for batch in batches:
            if shape_key(batch) in self.compiled:
                continue
            placed = parallel.put(batch, self.sharding)
            start = time.perf_counter()
            with self._context():
                compiled = jitted.lower(self.state, placed).compile()
            seconds += time.perf_counter() - start
            self.compiled[shape_key(batch)] = compiled
        return seconds

    def export(self) -> dict:
        """Write the parameters under the peer's names, and the examples' ids."""
        arrays = masks.flat(jax.device_get(self.state.params))
        found = convert.to_peer(self.case.family, self.built.model, arrays)
        save_file(found, self.plan.weights)
        if self.feed:
            real.save_ids(self.feed.train.rows.pieces, self.plan.ids)
        return {}

    def check(self) -> dict:
        """Return the loss before the first step, on the examples both sides read."""
        pieces, params = self.feed.train.rows.pieces, self.state.params
        return {"losses": [real.loss_of_first(self.built, pieces, params)]}

    def run(self, warm: int, steps: int, seconds: float) -> dict:
        """Return the time of `steps` steps, fewer where they outlast `seconds`.

        `warm` steps go before, untimed. `slots` count padding, `tokens` do not.
        """
        for _ in range(warm):
            self._step()
        jax.block_until_ready(self.state)
        losses, counts = [], np.zeros(3, np.int64)
        start = time.perf_counter()
        while len(losses) < steps:
            if losses and time.perf_counter() - start > seconds:
                break
            loss, batch = self._step()
            losses.append(loss)
            counts += _counts(batch)
            if len(losses) > IN_FLIGHT:
                jax.block_until_ready(losses[-1 - IN_FLIGHT])
        jax.block_until_ready(self.state)
        elapsed = time.perf_counter() - start
        slots, tokens, examples = counts.tolist()
        if self.feed:
            done = self.feed.flops_per_slot * slots
        else:
            done = fixed.flops_of(self.built, self.repeated) * len(losses)
        return {
            "seconds": elapsed,
            "losses": [float(loss) for loss in losses],
            "slots": slots,
            "tokens": tokens,
            "examples": examples,
            "flops": done,
        }

    def _step(self):
        batch = next(self.batches) if self.repeated is None else self.repeated
        with self._context():
            placed = parallel.put(batch, self.sharding)
            update = self.compiled[shape_key(batch)]
            self.state, metrics = update(self.state, placed)
        return metrics["loss"], batch

    def peak(self, seconds: float) -> dict:
        """Return FLOP/s: the chip's published ones, or measured by a product here."""
        dtype = jnp.dtype(self.built.model.cfg.dtype)
        known = chips.peak_flops(jax.devices()[0], dtype)
        return {
            "peak": known or chips.measured_matmul_peak(seconds),
            "known": bool(known),
        }

    def memory(self) -> dict:
        """Return the peak memory in MiB, of a GPU where there is one."""
        stats = jax.devices()[0].memory_stats() or {}
        used = stats.get("peak_bytes_in_use")
        return {"peak_mb": used / 2**20 if used else sides.peak_memory()}


def _counts(batch) -> np.ndarray:
    """Return (slots, slots with a token, examples)."""
    places = [v for k, v in batch.items() if k in ("positions", "source_positions")]
    slots = sum(p.size for p in places)
    tokens = sum(int((p >= 0).sum()) for p in places)
    # An example is a segment of a packed row, or a padded row.
    segments = batch.get("segments", batch["positions"][:, :1] >= 0)
    return np.asarray([slots, tokens, segments.max(axis=1).sum()], np.int64)


def main() -> None:
    """Answer the parent until it closes the pipe."""
    training = Training()
    names = ("setup", "export", "check", "run", "peak", "memory")
    sides.serve({name: getattr(training, name) for name in names})


if __name__ == "__main__":
    main()
