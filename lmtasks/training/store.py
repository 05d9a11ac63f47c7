"""The saved states of a run: where it begins, and what is kept of it."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from lmtasks import builder
from lmtasks.training import begin
from lmtasks.training import checkpoint
from lmtasks.training import guard as guards
from lmtasks.training import hosts
from lmtasks.training import imports
from lmtasks.training import step as steps
from lmtasks.training import watch as watching
from lmtasks.training import workdir

# Returns to one checkpoint before the run is given up.
MOST = 3


class Store:
    """Restores and saves a run's state, with what it remembers besides.

    Attributes:
        offset: batches left out so far by going back to a checkpoint: step s reads
            batch s + offset.
    """

    def __init__(
        self,
        run: builder.Run,
        path: pathlib.Path,
        mesh,
        recipe: steps.Recipe,
        watch: watching.Watch,
        guard: guards.Guard,
        fingerprint: str,
    ):
        self.run, self.path, self.mesh, self.recipe = run, path, mesh, recipe
        self.watch, self.guard, self.fingerprint = watch, guard, fingerprint
        self.offset = 0
        self._returns = (-1, 0)  # the step gone back to, and how often
        c, split = run.config.checkpoint, watch.split
        self.checkpoints = checkpoint.Checkpoints(
            path / "checkpoints",
            keep=c.keep,
            best=watch.best_name if split else "",
            mode=run.config.eval.mode,
            keep_best=c.keep_best if split else 0,
            asynchronous=c.asynchronous,
        )

    def like(self) -> steps.TrainState:
        """Return the state as shapes with shardings."""
        return begin.like_state(self.run, self.recipe, self.mesh)

    def restore_or_start(self, note: typing.Callable[[str], None]):
        """Return (state, its step): the newest whole one, or a fresh one.

        Raises:
            ValueError: the data has changed since, or no checkpoint is whole.
        """
        like = self.like()
        start = (self.run, self.recipe, self.mesh, like, note)
        if imports.untrained(self.path):
            kept = imports.kept(self.run, self.path, self.mesh)
            return begin.fresh_state(*start, kept), 0
        verify = self.run.config.checkpoint.verify
        found = self.checkpoints.restore(like, verify=verify)
        if found is None:
            init = self.run.config.init
            if init and hosts.is_chief():
                imports.keep_origin(init, self.path)
            return begin.fresh_state(*start), 0
        state, meta, step = found
        if meta["data"] != self.fingerprint:
            raise ValueError(
                f"the data of {self.path} has changed since step {step} (fingerprint "
                f"{meta['data']} then, {self.fingerprint} now); bring back the "
                "same files, tokenizer and data keys, or use a new --workdir"
            )
        self.watch.recall(meta["memory"])
        past = meta.get("guard", {})
        self.offset = past.get("offset", 0)
        self.guard.losses = [tuple(pair) for pair in past.get("losses", ())]
        note(f"resumed at step {step}")
        return state, step

    def go_back(self, bad: int, note: typing.Callable[[str], None]):
        """Return (state, its step) of the last checkpoint; the batches from there to
        that of the bad step are left out from now on.

        Raises:
            ValueError: it was gone back to over and over: other batches do not help.
        """
        behind = bad + self.offset
        self.checkpoints.wait()
        self.offset, self.guard.losses = 0, []
        self.watch.memory = watching.Memory()
        state, first = self.restore_or_start(note)
        self._returns = (
            first,
            self._returns[1] + 1 if first == self._returns[0] else 1,
        )
        if self._returns[1] > MOST:
            raise ValueError(
                f"the run went back to step {first} {MOST} times and its loss is bad "
                f"again at step {bad}, over other batches; lower optim.learning_rate"
            )
        self.offset = behind - first
        note(f"{self.offset} batches are left out, up to that of step {bad}")
        return state, first

    def save(self, done: int, state: steps.TrainState) -> None:
        """Save the state of a step."""
        meta = {
            "data": self.fingerprint,
            "config": self.run.config.to_dict(),
            "versions": workdir.versions(),
            "memory": dataclasses.asdict(self.watch.memory),
            "guard": {"offset": self.offset, "losses": self.guard.losses},
        }
        self.checkpoints.save(done, state, meta, self.watch.fresh(done))
