"""What a training does about a loss that is not finite, or that jumps."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import statistics

# Bad steps one after another that end a run, whatever the policy.
MOST = 10
FILE = "bad_steps.jsonl"


class Rollback(Exception):
    """Go back to the last checkpoint and leave out the batches up to a step."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


@dataclasses.dataclass(frozen=True)
class Options:
    """What is done about a bad step.

    Attributes:
        nan: stop, skip (the update is left out) or rollback (to the last checkpoint,
            and the batches since then are left out): a loss or gradient not finite.
        spike: the same, or ignore: a loss above the mean of the `window` losses before
            it by more than `factor` times their standard deviation.
    """

    nan: str = "stop"
    spike: str = "ignore"
    factor: float = 6.0
    window: int = 128

    def __post_init__(self):
        known = ("stop", "skip", "rollback")
        if self.nan not in known:
            raise ValueError(f"guard.nan={self.nan!r} is not one of {', '.join(known)}")
        if self.spike not in (*known, "ignore"):
            raise ValueError(
                f"guard.spike={self.spike!r} is not one of ignore, {', '.join(known)}"
            )
        if self.window < 2 or self.factor <= 0:
            raise ValueError(
                f"guard.window={self.window} and guard.factor={self.factor}: the window "
                "is at least 2 steps, the factor above 0"
            )

    @property
    def in_step(self) -> bool:
        """Whether the compiled step itself leaves out bad updates."""
        return "skip" in (self.nan, self.spike)


class Guard:
    """Remembers the losses of a run and judges each new one.

    The limit of a step is made of losses at least `lag` steps older than the one
    before it: those are known whatever is still on its way, so a resumed run judges
    as the undisturbed one did.
    """

    def __init__(self, options: Options, folder: pathlib.Path, lag: int):
        self.options, self._path, self._lag = options, folder / FILE, lag
        self.losses: list[tuple[int, float]] = []
        self._row = 0  # bad steps one after another

    def limit(self, step: int) -> float:
        """Return the loss above which a step is a spike; infinity while unknown."""
        if self.options.spike == "ignore":
            return math.inf
        known = [loss for at, loss in self.losses if at < step - self._lag]
        known = known[-self.options.window :]
        if len(known) < self.options.window:
            return math.inf
        deviation = statistics.pstdev(known)
        return statistics.fmean(known) + self.options.factor * deviation

    def judge(self, step: int, metrics: dict) -> str:
        """Return "" for a good step, else the policy: stop, skip or rollback."""
        bad = self._badness(step, metrics)
        if bad:
            self._row += 1
            policy = getattr(self.options, bad)
            return "stop" if self._row >= MOST else policy
        self._row = 0
        if self.options.spike != "ignore":
            self.losses.append((step, metrics["loss"]))
            del self.losses[: -self.options.window - self._lag - 1]
        return ""

    def _badness(self, step: int, metrics: dict) -> str:
        if not math.isfinite(metrics["loss"] + metrics["grad_norm"]):
            return "nan"
        # In float32, as the step itself compares.
        spike = metrics.get("skipped") or metrics["loss"] > self.limit(step)
        return "spike" if spike else ""

    def write(self, step: int, metrics: dict, *, policy: str, ids: list[int], norms):
        """Append a bad step to bad_steps.jsonl, with the largest gradients' norms."""
        row = {"step": step, "policy": policy, "metrics": metrics, "examples": ids}
        row["grad_norms"] = norms
        with open(self._path, "a") as out:
            out.write(json.dumps(row) + "\n")

    def reason(self, said: str, kept: int | None) -> str:
        """Return why the run stops, and what to do; `kept` is the last saved step."""
        return (
            f"{said}; the last good checkpoint is "
            f"{'none' if kept is None else f'step {kept}'}, the batch's examples are "
            f"in {self._path}; lower optim.learning_rate or look at them, or set "
            "guard.nan (guard.spike) to skip or rollback"
        )
