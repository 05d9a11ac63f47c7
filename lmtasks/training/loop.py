"""Training from a config to a score, resumable at any step."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.training import begin
from lmtasks.training import chips
from lmtasks.training import evaluate
from lmtasks.training import feed
from lmtasks.training import guard as guards
from lmtasks.training import hosts
from lmtasks.training import locks
from lmtasks.training import masked
from lmtasks.training import parallel
from lmtasks.training import report
from lmtasks.training import runtime
from lmtasks.training import store
from lmtasks.training import track
from lmtasks.training import updates
from lmtasks.training import watch as watching
from lmtasks.training import watchdog
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


def train(config: ConfigDict, folder: str, profile: range | None = None) -> Outcome:
    """Train the run of a config in a work directory; resumes what is there.

    Args:
        config: of the run. folder: its work directory.
        profile: steps to trace into its folder profile.

    Raises:
        ValueError: a config, file or work directory that cannot work, or a loss that
            is no longer finite.
    """
    new = not pathlib.Path(folder).exists()
    path = workdir.open_new(folder)
    try:
        with locks.locked(path):
            return _train(config, folder, path, profile)
    except ValueError:
        if new:  # nothing is left of a run that cannot begin
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _train(config: ConfigDict, folder: str, path: pathlib.Path, profile) -> Outcome:
    workdir.check_tokenizer(path, config)
    runtime.enable_compile_cache()
    runtime.keep_memory()
    with runtime.leaving(lambda: report.mark_preempted(path, config)):
        run = masked.with_generator(builder.build(config, folder))
    mesh = parallel.make_mesh(run.parallel)
    run, kernel = begin.on_devices(run, mesh)
    parallel.check_batch(mesh, run.config.train.batch_size, run.config.train.accumulate)
    rules = parallel.following(run.parallel)
    with runtime.Interrupts() as interrupts, rules:
        read = feed.read(run, parallel.Rows(mesh))
        begin.check_alike(run, path, read.fingerprint)
        stuck = run.config.train.stuck_after
        with watchdog.Watchdog(stuck, path, jax.process_index()) as dog:
            trainer = Trainer(run, path, mesh, read, interrupts, dog)
            trainer.profile, trainer.kernel = runtime.Profile(profile, path), kernel
            try:
                return trainer.run_all()
            finally:
                trainer.close()


class Trainer:
    """One training: its data, its state, and what it writes."""

    def __init__(self, run: builder.Run, path, mesh, read: feed.Feed, interrupts, dog):
        self.run, self.path, self.mesh, self.config = run, path, mesh, run.config
        self.interrupts, self.dog, self.feed = interrupts, dog, read
        self.watch = watching.Watch(run, mesh, self._asked)
        self.split = self.watch.split
        self.recipe = begin.recipe_of(run, mesh)
        self.guard = guards.Guard(run.guard, path, IN_FLIGHT)
        self.store = store.Store(
            run, path, mesh, self.recipe, self.watch, self.guard, read.fingerprint
        )
        self.host = jax.process_index()
        self.progress = track.Progress(run.config.train.steps, process_index=self.host)
        self.tracker: track.Tracker | None = None
        self.pending, self.latest = [], {}  # (step, metrics); of the last judged
        self.profile, self.kernel = runtime.Profile(None, path), ""
        self.peak = chips.peak_of_all(jnp.dtype(run.model.cfg.dtype))

    def close(self) -> None:
        """Write what is still on its way."""
        self.profile.close()
        self.progress.close()
        if self.tracker:
            self.tracker.close()
        self.store.checkpoints.close()

    def _asked(self) -> bool:
        """Return whether to stop; called after each step and batch of an evaluation."""
        self.dog.beat()
        return self.interrupts.asked()

    def run_all(self) -> Outcome:
        """Train to the last step; evaluate, sample and save on the way."""
        log, note = self.config.log, self.progress.note
        track.check(tensorboard=log.tensorboard, wandb=log.wandb)
        # First: a config that does not fit what is there must not replace its own.
        self.watch.check_best()
        state, first = self.store.restore_or_start(note)
        if hosts.is_chief():
            report.announce(self.run, self.path, self.mesh, self._lines(first), note)
        while True:
            try:
                state, stopped = self._from(state, first)
                break
            except guards.Rollback as bad:
                state = self.last = None  # room for the one that comes
                state, first = self.store.go_back(bad.step, note)
        step = int(jax.device_get(state.step))
        self.store.checkpoints.wait()
        self._write_card(step, stopped)
        return Outcome(step, self.watch.memory.metrics, stopped)

    def _from(self, state, first: int):
        """Return (state, why it stopped); what was written after `first` is cut off."""
        if self.tracker:
            self.tracker.close()
        self.pending.clear()
        if hosts.is_chief():
            again = self.split.name if self.watch.is_due(first) else ""
            report.cut(self.path, first, again)
        self.tracker = track.Tracker(
            self.path,
            resume_step=first,
            tensorboard=self.config.log.tensorboard,
            wandb=self.config.log.wandb,
            process_index=self.host,
        )
        try:
            state, stopped = self._steps(state, first)
        except evaluate.Stopped:
            state, stopped = self.last, "preempted"
        if stopped == "preempted":
            self._save(step := int(jax.device_get(state.step)), state)
            self.progress.note(f"preempted: saved step {step}; run again to go on")
        return state, stopped

    def _lines(self, step: int) -> list[str]:
        """Return what there is to say about the data before going on from a step."""
        trained = begin.summary(self.recipe, self.store.like())
        mfu = chips.convention(self.peak, self.run.model.cfg.dtype)
        first = filter(None, [self.feed.summary, trained, self.kernel, mfu])
        whole = workdir.undivided(self.run.model, self.mesh, self.run.lora)
        return [*first, *whole, *self.watch.lines(step)]

    def _write_card(self, step: int, stopped: str):
        if not hosts.is_chief():
            return
        facts = {"steps": step, "stopped": stopped or "at the last step"}
        facts |= {"training data": self.feed.summary} | self.watch.facts()
        report.write_card(self.path, self.config, facts)

    def _steps(self, state, first: int):
        """Return (state, why it stopped) after the steps from `first` on."""
        c, self.last = self.config, state
        update, offset = updates.of(self.run, self.recipe, self.mesh), self.store.offset
        batches = self.feed.train.batches(
            first + offset, c.train.steps + offset, threads=c.data.threads
        )
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
            self.profile.before(done)
            state, metrics = update(state, batch, self.guard.limit(done))
            self.last = state
            self.pending.append((done, metrics))
            if len(self.pending) > IN_FLIGHT:
                jax.block_until_ready(self.pending[-1 - IN_FLIGHT][1])
            if said := self.profile.after(done, metrics):
                self.progress.note(said)
            clock.count(_slots(batch) * self.feed.parts)
            if done == first + 1:
                jax.block_until_ready(metrics)
                self.progress.update(done, {})
                clock.restart()
            if self.guard.options.spike != "ignore":
                self._judge(IN_FLIGHT)
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
            if done < c.train.steps and (self._asked() or done >= c.train.stop_at > 0):
                return state, "preempted"
        return state, ""

    def _log(self, done: int, clock: runtime.Clock):
        self._judge()
        values = self.latest | clock.values(self.feed.flops_per_slot, self.peak)
        self.tracker.write(done, "train", values)
        self.progress.update(done, values)
        clock.restart()

    def _judge(self, left: int = 0):
        """Fetch the metrics on their way but for the last `left`, and judge them."""
        while len(self.pending) > left:
            done, metrics = self.pending.pop(0)
            norms = metrics.pop("grad_norms")  # fetched of bad steps alone
            self.latest = {k: float(v) for k, v in jax.device_get(metrics).items()}
            if policy := self.guard.judge(done, self.latest):
                self._bad(done, policy, norms)

    def _bad(self, done: int, policy: str, norms):
        """Write down a bad step and do as the policy says."""
        norms = begin.largest(self.recipe, self.store.like(), norms)
        ids = self.feed.train.example_ids(done - 1 + self.store.offset)
        loss, norm = self.latest["loss"], self.latest["grad_norm"]
        said = f"the loss of step {done} is {loss} (gradient norm {norm})"
        if hosts.is_chief():
            self.guard.write(done, self.latest, policy=policy, ids=ids, norms=norms)
        if policy == "skip":
            self.progress.note(f"{said}: its update is left out")
            return
        if policy == "rollback":
            self.progress.note(f"{said}: back to the last checkpoint")
            raise guards.Rollback(done)
        self.tracker.write(done, "train", self.latest)
        self.store.checkpoints.wait()
        kept = self.store.checkpoints.latest()
        raise ValueError(self.guard.reason(said, kept))

    def _evaluate(self, done: int, state) -> bool:
        """Score the evaluation split; return whether to stop early."""
        self._judge()
        started = time.perf_counter()
        self.dog.compiling()
        rows = self.watch.score(done, state)
        metrics = self.watch.memory.metrics
        self.tracker.write(done, self.split.name, metrics)
        shown = [f"{name} {value:.4f}" for name, value in metrics.items()][:SHOWN]
        shown = ", ".join(filter(None, [*shown, self.watch.remark]))
        seconds = time.perf_counter() - started
        self.progress.note(f"step {done} {self.split.name}: {shown} ({seconds:.1f} s)")
        if hosts.is_chief():
            report.write_samples(self.path, done, rows, self.progress.note)
        return self.watch.judge()

    def _save(self, done: int, state):
        self._judge()
        self.store.save(done, state)
        self.dog.beat()


def _slots(batch) -> int:
    return batch["tokens"].size + batch.get("source", np.zeros(0)).size
