"""What a run would be: config, examples, parameters, memory; nothing is trained."""

from __future__ import annotations

import json

from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.data import view
from lmtasks.rehearsal import programs
from lmtasks.training import feed
from lmtasks.training import parallel
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
    made = programs.train_step(run, mesh, read)
    rows = {
        "state and batch": made.kept,
        "temporaries": made.used - made.kept,
        "together": made.used,
    }
    return "\n".join(
        f"{name:16} {size / 2**20:10.1f} MiB" for name, size in rows.items()
    )
