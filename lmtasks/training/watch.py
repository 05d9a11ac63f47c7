"""The evaluations of a training: when they are due, which is best, when to stop early."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax

from lmtasks import builder
from lmtasks import schema
from lmtasks.training import evaluate
from lmtasks.training import feed
from lmtasks.training import hosts
from lmtasks.training import samples
from lmtasks.training import workdir
from lmtasks.training import yardsticks


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


class Watch:
    """Scores the evaluation split of a run and remembers how that went.

    Attributes:
        split: what is evaluated; None where the data has no validation split.
        best_name: the metric that says which evaluation is best.
        memory: see Memory.
    """

    def __init__(self, run: builder.Run, mesh, asked: Callable[[], bool]):
        self.run, self.mesh, self.config = run, mesh, run.config
        self.evaluator = evaluate.Evaluator(run, mesh, asked)
        self.split = self._split()
        self.best_name = self.config.eval.best or "loss"
        self.memory, self.remark = Memory(), ""  # said of the last evaluation's texts

    def _split(self):
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

    def check_best(self) -> None:
        """Raise ValueError where eval.best names no metric of the evaluation."""
        if not self.split or self.best_name == "loss":
            return
        like = workdir.like_params(self.run.model, self.mesh)
        known = self.evaluator.names(like, self.split)
        if self.best_name not in known:
            raise ValueError(schema.unknown("eval.best", self.best_name, known))

    def recall(self, memory: dict) -> None:
        """Take what a checkpoint remembers."""
        self.memory = Memory(**memory)
        self.memory.best = tuple(self.memory.best)

    def is_due(self, done: int) -> bool:
        """Return whether the split is to be evaluated after step `done`."""
        due = is_due(done, self.config.eval.every, self.config.train.steps)
        return bool(self.split and done and due and self.memory.evaluated != done)

    def ranks(self, done: int) -> bool:
        """Return whether this evaluation may be among the best to keep."""
        keep = self.config.checkpoint.keep_best
        return keep > 1 or (keep == 1 and self.memory.best[1] == done)

    def fresh(self, done: int) -> dict[str, float] | None:
        """Return the metrics measured at this very step, None without: only they rank
        its checkpoint.
        """
        there = self.split and self.memory.evaluated == done
        return self.memory.metrics if there else None

    def is_over(self) -> bool:
        """Return whether no evaluation was better for eval.patience of them."""
        patience = self.config.eval.patience
        return bool(patience) and self.memory.waited >= patience

    def score(self, done: int, state) -> list:
        """Evaluate the state of a step into the memory; return samples to show."""
        params = state.ema if self.config.eval.ema else state.params
        rng = jax.random.key(self.config.seed)
        metrics, said = self.evaluator.score(params, self.split, rng)
        self.remark = self.evaluator.remark() if said else ""
        rows = samples.make(self.run, self.evaluator, self.split, params, said)
        # What decides is one process's: programs that were run may differ in time.
        self.memory.evaluated, self.memory.metrics = done, hosts.agree(metrics)
        return rows

    def judge(self) -> bool:
        """Compare the last evaluation with the best; return whether to stop early."""
        memory, most = self.memory, self.config.eval.mode == "max"
        value, best = memory.metrics[self.best_name], memory.best[0]
        if math.isnan(best) or (value > best if most else value < best):
            memory.best, memory.waited = (value, memory.evaluated), 0
            return False
        memory.waited += 1
        return self.is_over()

    def lines(self, step: int) -> list[str]:
        """Return what there is to say about the split before going on from a step; what
        yardsticks say takes time and is said once.
        """
        if not self.split:
            return ["no validation split: nothing is evaluated"]
        out = [self.split.pieces.summary(self.split.name)]
        return out if step else out + yardsticks.lines(self.run, self.split.pieces)

    def facts(self) -> dict[str, str]:
        """Return what a card says of the evaluations."""
        out = {}
        if self.split:
            value, best = self.memory.best
            out[f"best {self.best_name}"] = f"{value:.6g} at step {best}"
        return out | {k: f"{v:.6g}" for k, v in self.memory.metrics.items()}


def is_due(done: int, every: int, last: int) -> bool:
    """Return whether something done every so many steps, and at the last, is due."""
    return done == last or bool(every and done % every == 0)
