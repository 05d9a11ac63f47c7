"""What a run would be: config, examples, parameters, memory; nothing is trained."""

from __future__ import annotations

import json

import jax
import numpy as np
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.data import view
from lmtasks.training import begin
from lmtasks.training import feed
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir


def first_rows(run: builder.Run, read: feed.Feed, count: int) -> list[tuple[str, list]]:
    """Return (heading, table) of the first rows of training."""
    labels = run.task.labels if run.model.classes else ()
    views = []
    places = [p for k in range(count) for p in read.train.places(k)][:count]
    for epoch, i in places:
        row = read.train.rows.row(epoch, i)
        ids = read.train.rows.examples(epoch, i)
        shown = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
        heading = f"row {i}, {len(ids)} example(s): {shown}"
        views.append((heading, view.table(row, run.tokenizer, labels)))
    return views


def describe(config: ConfigDict) -> str:
    """Return the text of `lmtasks train --dry_run`."""
    run = builder.build(config)
    mesh = parallel.make_mesh(run.parallel)
    parallel.check_batch(mesh, run.config.train.batch_size, run.config.train.accumulate)
    read = feed.read(run)
    parts = ["# config", json.dumps(run.config.to_dict(), indent=1, sort_keys=True)]
    parts += ["", "# examples: each [[piece]] is what the slot before it must predict"]
    for heading, rows in first_rows(run, read, 3):
        parts += [heading, "  " + view.as_line(rows)]
    parts += ["", "# data", read.summary, "", "# parameters"]
    parts += [
        workdir.param_table(run.model, mesh, run.lora),
        "# memory of the compiled step",
    ]
    parts += [memory(run, mesh, read)]
    return "\n".join(parts)


def memory(run: builder.Run, mesh, read: feed.Feed) -> str:
    """Return bytes on each device of the compiled train step."""
    recipe = begin.recipe_of(run, mesh)
    like = begin.like_state(run, recipe, mesh)
    sharding = parallel.batch_sharding(mesh)
    batch = {
        k: jax.ShapeDtypeStruct(
            (run.config.train.batch_size, *np.shape(v)[1:]), v.dtype, sharding=sharding
        )
        for k, v in read.train.batch(0).items()
    }
    with jax.set_mesh(mesh), parallel.rules():
        compiled = steps.jit_step(recipe).lower(like, batch).compile()
    used = compiled.memory_analysis()
    rows = {
        "state and batch": used.argument_size_in_bytes,
        "temporaries": used.temp_size_in_bytes,
        "together": used.argument_size_in_bytes + used.temp_size_in_bytes,
    }
    return "\n".join(
        f"{name:16} {size / 2**20:10.1f} MiB" for name, size in rows.items()
    )
