"""The compiled train step of a run, from a process's rows to a new state."""

from __future__ import annotations

import typing

import jax
import numpy as np

from lmtasks import builder
from lmtasks.training import parallel
from lmtasks.training import step as steps


def of(run: builder.Run, recipe: steps.Recipe, mesh) -> typing.Callable:
    """Return (state, this process's rows, the loss's limit) -> (state, metrics).

    The limit counts where the run leaves out bad updates (guard.nan or guard.spike is
    skip); elsewhere the program does not know of it.
    """

    def given(limit: float) -> tuple:
        return (np.float32(limit),) if run.guard.in_step else ()

    if run.parallel.mode == "pmap":  # which has a mesh of its own
        mapped = steps.pmap_step(recipe)
        return lambda state, batch, limit: mapped(state, batch, *given(limit))
    compiled, sharding = steps.jit_step(recipe), parallel.batch_sharding(mesh)

    def update(state, batch, limit):
        with jax.set_mesh(mesh), parallel.rules():
            return compiled(state, parallel.put(batch, sharding), *given(limit))

    return update
