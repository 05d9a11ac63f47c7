"""What is checked, and what a check finds: a run's model with parameters that count."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from lmtasks import builder
from lmtasks.models import model as models
from lmtasks.training import feed
from lmtasks.types import Batch
from lmtasks.types import Params

# Of a difference, in deviations of what is compared: float32 sums in another order.
CLOSE = 2e-4
ROWS = 4


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: of the check. state: "ok" | "wrong" | "skipped". said: why.
    """

    name: str
    state: str
    said: str = ""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is checked: a run in float32 without kernels, rows of it, parameters."""

    run: builder.Run
    batch: Batch
    params: Params

    def logits(self, batch: Batch, run: builder.Run | None = None, params=None):
        """Return float32 logits as numpy, of every position."""
        model = (run or self.run).model
        plain = {k: v for k, v in batch.items() if k != "at"}
        given = self.params if params is None else params
        return np.asarray(jax.jit(model.apply)(given, plain), np.float32)


def subject_of(run: builder.Run) -> Subject:
    """Return a run's model and the first rows of its training data."""
    attention = dataclasses.replace(run.model.cfg.attention, implementation="xla")
    run = with_model(
        run, dtype="float32", matmul="", cache_dtype="", attention=attention
    )
    batch = feed.read(run).train.batch(0)
    some = {k: np.asarray(v)[:ROWS] if np.ndim(v) else v for k, v in batch.items()}
    params = models.unbox(run.model.init(jax.random.key(0)))
    return Subject(run, some, _stirred(params, run.model.cfg.width))


def with_model(run: builder.Run, **changes) -> builder.Run:
    """Return the run with fields of its model's shape replaced."""
    cfg = dataclasses.replace(run.model.cfg, **changes)
    return dataclasses.replace(run, model=dataclasses.replace(run.model, cfg=cfg))


def _stirred(params: Params, width: int) -> Params:
    """Return parameters away from 0 and 1, and weights large enough that every layer
    and every key has a say in the logits: leaving any out shows.
    """
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))

    def drawn(x, key):
        noise = jax.random.normal(key, x.shape)
        return x + 0.3 * noise if x.ndim < 2 else 1.5 * width**-0.5 * noise

    return jax.tree.unflatten(tree, map(drawn, leaves, keys))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference in deviations of the first."""
    if not a.size:
        return 0.0
    return float(np.max(np.abs(a - b)) / max(np.std(a), 1e-6))


def same(name: str, a, b, what: str) -> Finding:
    """Return whether two arrays are the same but for rounding."""
    far = _apart(np.asarray(a, np.float32), np.asarray(b, np.float32))
    if far <= CLOSE and np.isfinite(far):
        return Finding(name, "ok", f"within {far:.0e} deviations")
    return Finding(name, "wrong", f"{what} (by {far:.2g} deviations)")


def grads(s: Subject, run: builder.Run, batch=None, params=None) -> Params:
    """Return the gradient of the loss sum."""

    def loss(p):
        sums = run.objective.loss(run.model.apply, p, batch or s.batch, None)
        return sums["loss"][0]

    return jax.jit(jax.grad(loss))(s.params if params is None else params)


def same_trees(name: str, a: Params, b: Params, what: str) -> Finding:
    """Compare each parameter's array by its length; tiny ones by that of all."""
    flat = [[np.asarray(x) for x in jax.tree.leaves(tree)] for tree in (a, b)]
    sizes = [np.linalg.norm(x) for x in flat[0]]
    least = 1e-3 * np.linalg.norm(sizes)
    parts = zip(*flat, sizes, strict=True)
    far = max(np.linalg.norm(x - y) / max(size, least, 1e-12) for x, y, size in parts)
    if far <= CLOSE:
        return Finding(name, "ok", f"within {far:.0e} of their length")
    return Finding(name, "wrong", f"{what} (by {far:.2g} of their length)")
