"""Training from a config to a score, resumable at any step."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pathlib
import time
import typing

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks import schema
from lmtasks.training import begin
from lmtasks.training import checkpoint
from lmtasks.training import chips
from lmtasks.training import evaluate
from lmtasks.training import feed
from lmtasks.training import imports
from lmtasks.training import masked
from lmtasks.training import parallel
from lmtasks.training import report
from lmtasks.training import runtime
from lmtasks.training import samples
from lmtasks.training import step as steps
from lmtasks.training import track
from lmtasks.training import workdir

# Steps whose metrics may still be on their way: enough to keep the device busy.
IN_FLIGHT = 2
# Metrics on the line that an evaluation prints; metrics.jsonl has them all.
SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        step: updates done. metrics: of the last evaluation.
        stopped: "" | "early" | "preempted".
    """

    step: int
    metrics: dict[str, float]
    stopped: str = ""


@dataclasses.dataclass
class Memory:
    """What a run remembers besides its state; saved with every checkpoint.

    Attributes:
        evaluated: the last evaluated step. metrics: of that evaluation.
        best: (value, step) of the best evaluation.
        waited: evaluations since then.
    """

    evaluated: int = 0
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    best: tuple[float, int] = (math.nan, 0)
    waited: int = 0


def train(config: ConfigDict, folder: str) -> Outcome:
    """Train the run of a config in a work directory; resumes what is there.

    Raises:
        ValueError: a config, file or work directory that cannot work, or a loss that
            is no longer finite.
    """
    new = not pathlib.Path(folder).exists()
    path = workdir.open_new(folder)
    try:
        return _train(config, folder, path)
    except ValueError:
        if new:  # nothing is left of a run that cannot begin
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _train(config: ConfigDict, folder: str, path: pathlib.Path) -> Outcome:
    workdir.check_tokenizer(path, config)
    runtime.enable_compile_cache()
    runtime.keep_memory()
    run = masked.with_generator(builder.build(config, folder))
    mesh = parallel.make_mesh(run.parallel)
    parallel.check_batch(mesh, run.config.train.batch_size, run.config.train.accumulate)
    with runtime.Interrupts() as interrupts:
        trainer = Trainer(run, path, mesh, interrupts)
        try:
            return trainer.run_all()
        finally:
            trainer.close()


class Trainer:
    """One training: its data, its state, and what it writes."""

    def __init__(self, run: builder.Run, path: pathlib.Path, mesh, interrupts):
        self.run, self.path, self.mesh, self.config = run, path, mesh, run.config
        self.chief = jax.process_index() == 0
        self.interrupts = interrupts
        self.feed = feed.read(run)
        self.evaluator = evaluate.Evaluator(run, mesh, lambda: interrupts.asked)
        self.split = self._eval_split()
        self.recipe = begin.recipe_of(run, mesh)
        c = run.config.checkpoint
        self.checkpoints = checkpoint.Checkpoints(
            path / "checkpoints",
            keep=c.keep,
            best=self._best_name() if self.split else "",
            mode=run.config.eval.mode,
            keep_best=c.keep_best if self.split else 0,
            asynchronous=c.asynchronous,
        )
        self.progress = track.Progress(
            run.config.train.steps, process_index=jax.process_index()
        )
        self.tracker: track.Tracker | None = None
        self.memory = Memory()
        self.pending: list[tuple[int, dict]] = []
        self.latest: dict[str, float] = {}
        self.peak = self._peak()

    def close(self) -> None:
        """Write what is still on its way."""
        self.progress.close()
        if self.tracker:
            self.tracker.close()
        self.checkpoints.close()

    def _best_name(self) -> str:
        return self.config.eval.best or "loss"

    def _check_best(self):
        name = self._best_name()
        if not self.split or name == "loss":
            return
        like = workdir.like_params(self.run.model, self.mesh)
        known = self.evaluator.names(like, self.split)
        if name not in known:
            raise ValueError(schema.unknown("eval.best", name, known))

    def _eval_split(self):
        name = self.config.eval.split
        if not feed.has_split(self.run, name):
            if name != "validation":
                raise ValueError(
                    f"eval.split={name!r}: the data has no such split; the usual "
                    "ones are validation and test"
                )
            return None
        predict = self.config.eval.predict and bool(self.run.task.metrics)
        return evaluate.read_split(self.run, name, predict=predict)

    def _peak(self) -> float:
        """Return peak FLOP/s of all devices: by table, or measured on a CPU."""
        device = jax.devices()[0]
        dtype = jnp.dtype(self.run.model.cfg.dtype)
        if device.platform == "cpu":
            # The "devices" of one CPU share its cores.
            return chips.measured_matmul_peak(0.2)
        return (chips.peak_flops(device, dtype) or 0.0) * jax.device_count()

    def run_all(self) -> Outcome:
        """Train to the last step; evaluate, sample and save on the way."""
        log, note = self.config.log, self.progress.note
        track.check(tensorboard=log.tensorboard, wandb=log.wandb)
        # First: a config that does not fit what is there must not replace its own.
        self._check_best()
        state, first = self._restore_or_start()
        if self.chief:
            report.announce(self.run, self.path, self.mesh, self._lines(), note)
        if self.chief:
            again = self.split.name if self._eval_due(first) else ""
            report.cut(self.path, first, again)
        self.tracker = track.Tracker(
            self.path,
            resume_step=first,
            tensorboard=log.tensorboard,
            wandb=log.wandb,
            process_index=jax.process_index(),
        )
        try:
            state, stopped = self._steps(state, first)
        except evaluate.Stopped:
            state, stopped = self.last, "preempted"
        step = int(jax.device_get(state.step))
        if stopped == "preempted":
            self._save(step, state)
            self.progress.note(f"preempted: saved step {step}; run again to go on")
        self.checkpoints.wait()
        self._write_card(step, stopped)
        return Outcome(step, self.memory.metrics, stopped)

    def _lines(self) -> list[str]:
        """Return what there is to say about the data."""
        like = begin.like_state(self.run, self.recipe, self.mesh)
        lines = [self.feed.summary]
        if trained := begin.summary(self.recipe, like):
            lines.append(trained)
        if not self.split:
            lines.append("no validation split: nothing is evaluated")
        if self.split:
            lines.append(self.split.pieces.summary(self.split.name))
        if self.split and self.config.eval.xz:
            lines.append(feed.xz_line(self.run, self.split.pieces.examples))
        return lines

    def _write_card(self, step: int, stopped: str):
        if not self.chief:
            return
        facts: dict[str, typing.Any] = {
            "steps": step,
            "stopped": stopped or "at the last step",
            "training data": self.feed.summary,
        }
        if self.split:
            value, best = self.memory.best
            facts[f"best {self._best_name()}"] = f"{value:.6g} at step {best}"
        facts |= {k: f"{v:.6g}" for k, v in self.memory.metrics.items()}
        report.write_card(self.path, self.run, facts)

    def _restore_or_start(self):
        like = begin.like_state(self.run, self.recipe, self.mesh)
        start = (self.run, self.recipe, self.mesh, like, self.progress.note)
        if imports.untrained(self.path):
            kept = imports.kept(self.run, self.path, self.mesh)
            return begin.fresh_state(*start, kept), 0
        found = self.checkpoints.restore(like)
        if found is None:
            if self.chief and self.config.init:
                imports.keep_origin(self.config.init, self.path)
            return begin.fresh_state(*start), 0
        state, meta, step = found
        if meta["data"] != self.feed.fingerprint:
            raise ValueError(
                f"the data of {self.path} has changed since step {step} (fingerprint "
                f"{meta['data']} then, {self.feed.fingerprint} now); bring back the "
                "same files, tokenizer and data keys, or use a new --workdir"
            )
        self.memory = Memory(**meta["memory"])
        self.memory.best = tuple(self.memory.best)
        self.progress.note(f"resumed at step {step}")
        return state, step

    def _steps(self, state, first: int):
        """Return (state, why it stopped) after the steps from `first` on."""
        c, self.last = self.config, state
        pmap = self.run.parallel.mode == "pmap"
        update = (steps.pmap_step if pmap else steps.jit_step)(self.recipe)
        sharding = parallel.batch_sharding(self.mesh)
        batches = self.feed.train.batches(first, c.train.steps, threads=c.data.threads)
        clock = runtime.Clock()
        self.progress.start("training", first)
        patience = c.eval.patience
        if patience and self.memory.waited >= patience:
            return state, "early"
        if self._eval_due(first):  # it was asked to stop while it was evaluating
            stop = self._evaluate(first, state)
            if stop or self._ranks(first):
                self._save(first, state)
            if stop:
                return state, "early"
        for done in range(first + 1, c.train.steps + 1):
            batch = next(batches)
            with contextlib.ExitStack() as around:
                if not pmap:  # which has a mesh of its own
                    around.enter_context(jax.set_mesh(self.mesh))
                    around.enter_context(parallel.rules())
                placed = batch if pmap else parallel.put(batch, sharding)
                state, metrics = update(state, placed)
            self.last = state
            self.pending.append((done, metrics))
            if len(self.pending) > IN_FLIGHT:
                jax.block_until_ready(self.pending[-1 - IN_FLIGHT][1])
            clock.count(_slots(batch) * jax.process_count())
            if done == first + 1:
                jax.block_until_ready(metrics)
                self.progress.update(done, {})
                clock.restart()
            if done % c.log.every == 0 or done == c.train.steps:
                self._log(done, clock)
            stop = save = False
            if self._eval_due(done):
                stop = self._evaluate(done, state)
                save = stop or self._ranks(done)
                clock.restart()
            if save or _due(done, c.checkpoint.every, c.train.steps):
                self._save(done, state)
            if stop:
                return state, "early"
            if self.interrupts.asked and done < c.train.steps:
                return state, "preempted"
        return state, ""

    def _ranks(self, done: int) -> bool:
        """Return whether this evaluation may be among the best to keep."""
        keep = self.config.checkpoint.keep_best
        return keep > 1 or (keep == 1 and self.memory.best[1] == done)

    def _eval_due(self, done: int) -> bool:
        due = _due(done, self.config.eval.every, self.config.train.steps)
        return bool(self.split and done and due and self.memory.evaluated != done)

    def _log(self, done: int, clock: runtime.Clock):
        self._check_finite()
        values = dict(self.latest)
        if clock.slots:
            values["tokens_per_s"] = clock.rate()
            if self.peak:
                share = clock.rate() * self.feed.flops_per_slot / self.peak
                values["mfu"] = share
        self.tracker.write(done, "train", values)
        self.progress.update(done, values)
        clock.restart()

    def _check_finite(self):
        """Fetch all pending metrics; stop at the first loss that is not finite."""
        for done, metrics in self.pending:
            self.latest = {k: float(v) for k, v in jax.device_get(metrics).items()}
            if not math.isfinite(self.latest["loss"] + self.latest["grad_norm"]):
                self._stop_at_nan(done)
        self.pending.clear()

    def _stop_at_nan(self, done: int):
        ids = self.feed.train.example_ids(done - 1)
        row = {"step": done, "metrics": self.latest, "examples": ids}
        self.tracker.write(done, "train", self.latest)
        workdir.write_text(self.path / "nan.json", json.dumps(row) + "\n")
        self.checkpoints.wait()
        kept = self.checkpoints.latest()
        raise ValueError(
            f"the loss of step {done} is {self.latest['loss']} (gradient norm "
            f"{self.latest['grad_norm']}); the last good checkpoint is "
            f"{'none' if kept is None else f'step {kept}'}, the batch's examples are "
            f"in {self.path / 'nan.json'}; lower optim.learning_rate or look at them"
        )

    def _evaluate(self, done: int, state) -> bool:
        """Score the evaluation split; return whether to stop early."""
        self._check_finite()
        started = time.perf_counter()
        params = state.ema if self.config.eval.ema else state.params
        rng = jax.random.key(self.config.seed)
        metrics, said = self.evaluator.score(params, self.split, rng)
        rows = samples.make(self.run, self.evaluator, self.split, params, said)
        self.memory.evaluated, self.memory.metrics = done, metrics
        self.tracker.write(done, self.split.name, metrics)
        first = list(metrics.items())[:SHOWN]
        shown = ", ".join(f"{name} {value:.4f}" for name, value in first)
        seconds = time.perf_counter() - started
        self.progress.note(f"step {done} {self.split.name}: {shown} ({seconds:.1f} s)")
        if self.chief:
            report.write_samples(self.path, done, rows, self.progress.note)
        return self._patience(done, metrics)

    def _patience(self, done: int, metrics: dict) -> bool:
        name, e, memory = self._best_name(), self.config.eval, self.memory
        value, best = metrics[name], memory.best[0]
        if math.isnan(best) or (value > best if e.mode == "max" else value < best):
            memory.best, memory.waited = (value, done), 0
            return False
        memory.waited += 1
        return bool(e.patience) and memory.waited >= e.patience

    def _save(self, done: int, state):
        self._check_finite()
        meta = {
            "data": self.feed.fingerprint,
            "config": self.config.to_dict(),
            "versions": workdir.versions(),
            "memory": dataclasses.asdict(self.memory),
        }
        # Only numbers measured at this very step rank the checkpoint.
        fresh = self.memory.evaluated == done and self.split
        self.checkpoints.save(done, state, meta, self.memory.metrics if fresh else None)


def _due(done: int, every: int, last: int) -> bool:
    return done == last or bool(every and done % every == 0)


def _slots(batch) -> int:
    return batch["tokens"].size + batch.get("source", np.zeros(0)).size
