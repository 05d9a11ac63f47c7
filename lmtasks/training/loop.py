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
from lmtasks.training import step as steps
from lmtasks.training import track
from lmtasks.training import watch as watching
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
        self.watch = watching.Watch(run, mesh, interrupts)
        self.split = self.watch.split
        self.recipe = begin.recipe_of(run, mesh)
        c = run.config.checkpoint
        self.checkpoints = checkpoint.Checkpoints(
            path / "checkpoints",
            keep=c.keep,
            best=self.watch.best_name if self.split else "",
            mode=run.config.eval.mode,
            keep_best=c.keep_best if self.split else 0,
            asynchronous=c.asynchronous,
        )
        self.progress = track.Progress(
            run.config.train.steps, process_index=jax.process_index()
        )
        self.tracker: track.Tracker | None = None
        self.pending: list[tuple[int, dict]] = []
        self.latest: dict[str, float] = {}
        self.peak = chips.peak_of_all(jnp.dtype(run.model.cfg.dtype))

    def close(self) -> None:
        """Write what is still on its way."""
        self.progress.close()
        if self.tracker:
            self.tracker.close()
        self.checkpoints.close()

    def run_all(self) -> Outcome:
        """Train to the last step; evaluate, sample and save on the way."""
        log, note = self.config.log, self.progress.note
        track.check(tensorboard=log.tensorboard, wandb=log.wandb)
        # First: a config that does not fit what is there must not replace its own.
        self.watch.check_best()
        state, first = self._restore_or_start()
        if self.chief:
            report.announce(self.run, self.path, self.mesh, self._lines(), note)
            again = self.split.name if self.watch.is_due(first) else ""
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
        return Outcome(step, self.watch.memory.metrics, stopped)

    def _lines(self) -> list[str]:
        """Return what there is to say about the data."""
        like = begin.like_state(self.run, self.recipe, self.mesh)
        trained = begin.summary(self.recipe, like)
        first = [self.feed.summary, trained] if trained else [self.feed.summary]
        return [*first, *self.watch.lines()]

    def _write_card(self, step: int, stopped: str):
        if not self.chief:
            return
        facts: dict[str, typing.Any] = {
            "steps": step,
            "stopped": stopped or "at the last step",
            "training data": self.feed.summary,
        }
        report.write_card(self.path, self.run, facts | self.watch.facts())

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
        self.watch.recall(meta["memory"])
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
        if self.watch.is_over():
            return state, "early"
        if self.watch.is_due(first):  # it was asked to stop while it was evaluating
            stop = self._evaluate(first, state)
            if stop or self.watch.ranks(first):
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
            if self.watch.is_due(done):
                stop = self._evaluate(done, state)
                save = stop or self.watch.ranks(done)
                clock.restart()
            if save or watching.is_due(done, c.checkpoint.every, c.train.steps):
                self._save(done, state)
            if stop:
                return state, "early"
            if self.interrupts.asked and done < c.train.steps:
                return state, "preempted"
        return state, ""

    def _log(self, done: int, clock: runtime.Clock):
        self._check_finite()
        values = dict(self.latest)
        if clock.slots:
            values["tokens_per_s"] = clock.rate()
            if self.peak:
                values["mfu"] = clock.rate() * self.feed.flops_per_slot / self.peak
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
        rows = self.watch.score(done, state)
        metrics = self.watch.memory.metrics
        self.tracker.write(done, self.split.name, metrics)
        shown = [f"{name} {value:.4f}" for name, value in metrics.items()][:SHOWN]
        shown = ", ".join(filter(None, [*shown, self.watch.remark]))
        seconds = time.perf_counter() - started
        self.progress.note(f"step {done} {self.split.name}: {shown} ({seconds:.1f} s)")
        if self.chief:
            report.write_samples(self.path, done, rows, self.progress.note)
        return self.watch.judge()

    def _save(self, done: int, state):
        self._check_finite()
        meta = {
            "data": self.feed.fingerprint,
            "config": self.config.to_dict(),
            "versions": workdir.versions(),
            "memory": dataclasses.asdict(self.watch.memory),
        }
        self.checkpoints.save(done, state, meta, self.watch.fresh(done))


def _slots(batch) -> int:
    return batch["tokens"].size + batch.get("source", np.zeros(0)).size
