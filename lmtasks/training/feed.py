"""The training side of a run's data: rows, their order, and their static shape."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np

from lmtasks import builder
from lmtasks import mixing
from lmtasks import schema
from lmtasks import taskdata
from lmtasks.data import augment
from lmtasks.data import features
from lmtasks.data import mixture
from lmtasks.data import pack
from lmtasks.data import pipeline
from lmtasks.data import sources
from lmtasks.data import token_files
from lmtasks.models import flops
from lmtasks.models import layout
from lmtasks.training import files
from lmtasks.training import masked
from lmtasks.training import masks
from lmtasks.training import workdir

# Gathering pays where the head reads well under all positions.
GATHER_BELOW = 0.7


@dataclasses.dataclass(frozen=True)
class Feed:
    """What training reads.

    Attributes:
        train: batches by step.
        summary: one line about the split and how it is laid out.
        fingerprint: of data, tokenizer, features and plan; resuming checks it.
        flops_per_slot: training FLOPs per slot of a full row (see models.flops).
        parts: of a batch as large as what this process reads of it.
    """

    train: pipeline.TrainData
    summary: str
    fingerprint: str
    flops_per_slot: float
    parts: int = 1


def read(run: builder.Run, host: pipeline.Rows | None = None) -> Feed:
    """Return the training data of a run, for a process that reads some rows of each
    batch; all of them unless `host` says which.
    """
    c = run.config
    if run.parts:
        rows, order, summary = _mixed(run)
    else:
        records = taskdata.records_of(run.task, "train", run.data)
        rows, summary = _laid_out(run, records, run.task.example)
        order = _order(run, rows)
        epochs = c.train.steps * c.train.batch_size / len(rows)
        summary += f", {len(rows)} rows, {c.train.steps} steps = {epochs:.2f} epochs"
    size, host = c.train.batch_size, host or pipeline.Host()
    parts = size // len(np.arange(size)[host.block(size)])
    shape = _shape(run, rows)
    data = pipeline.TrainData(rows, order, c.train.batch_size, shape, host)
    mark = features.fingerprint(rows.fingerprint, c.train.batch_size, c.seed)
    return Feed(data, summary, mark, _flops_per_slot(run, shape), parts)


def _laid_out(run: builder.Run, records, example_of):
    """Return (rows, what is said of them) of the records of one data set."""
    if len(records) == 0:
        raise ValueError("the training split has no records")
    lay_out = _stream if _streams(run) else _rows
    return lay_out(run, records, example_of)


def _order(run: builder.Run, rows) -> pipeline.Grouped | pipeline.Shuffled:
    c = run.config
    if isinstance(rows, pack.PaddedRows):
        lengths = rows.pieces.tokens + rows.pieces.sources
        return pipeline.Grouped(lengths, c.train.batch_size, c.seed)
    return pipeline.Shuffled(len(rows), c.seed)


def _mixed(run: builder.Run):
    """Return (rows, order, a line for each task) of a mixture."""
    c, found, lines = run.config, [], []
    for number, part in enumerate(run.parts):
        example_of = functools.partial(mixing.turned, run.parts, number)
        rows, summary = _laid_out(run, part.records("train"), example_of)
        found.append(rows)
        without = [split for split in run.task.source.splits if not part.has(split)]
        note = f", no {' and no '.join(without)} split" if without else ""
        lines.append(summary.removeprefix("train: ") + note)
    sizes = tuple(map(len, found))
    rates = mixture.rates_of(
        sizes, given=c.mix.rates, temperature=c.mix.temperature, limit=c.mix.limit
    )
    order = mixture.Mixed(sizes, rates, c.seed)
    epochs = order.epochs(c.train.steps * c.train.batch_size)
    about = zip(run.parts, lines, sizes, rates, epochs, strict=True)
    said = [
        f"  {part.name}: {line}, {size} rows, rate {rate:.4f} = {count:.2f} epochs"
        for part, line, size, rate, count in about
    ]
    rows = mixture.Joined(found, order.quotas)
    return rows, order, "\n".join([f"train, {c.train.steps} steps:", *said])


def has_split(run: builder.Run, name: str) -> bool:
    """Return whether the run's data has the split."""
    return sources.has_split(run.task.source, name, run.data)


def _streams(run: builder.Run) -> bool:
    return run.objective.stream and run.config.data.packing


def _stream(run: builder.Run, records, example_of):
    objective, tokenizer = run.objective, run.tokenizer
    key = (records.fingerprint, tokenizer.fingerprint, features.data_key(objective))
    given = {"length": run.config.data.length, "seed": run.config.seed, "key": key}
    mapped = token_files.stream_of(records, tokenizer)
    if mapped is not None:
        rows = pack.StreamRows(mapped.ids, mapped.begins, **given)
        said = f"train: {len(mapped)} documents, {len(mapped.ids)} tokens from disk"
        return rows, f"{said}, {_share(rows)}"
    documents, numbers = [], []
    for i in range(len(records)):
        example = features.read_example(records, i, example_of)
        if example.text:
            documents.append(objective.ids(example, tokenizer))
            numbers.append(i)
    stream, begins = pack.concatenate(documents, objective.start_id(tokenizer))
    rows = pack.StreamRows(stream, begins, numbers=numbers, **given)
    empty = len(records) - len(documents)
    notes = f" ({empty} without text)" if empty else ""
    said = f"train: {len(documents)} documents{notes}, {len(rows.stream)} tokens"
    return rows, f"{said}, {_share(rows)}"


def _share(rows: pack.StreamRows) -> str:
    """Return how much of a stream an epoch reads; its rows have no padding."""
    share = len(rows) * rows.length / len(rows.stream)
    return f"{share:.1%} of them in full rows"


def _rows(run: builder.Run, records, example_of):
    changed = ""
    options = schema.typed(augment.Options, run.config.augment)
    if options.copies:
        filler = masked.filler_of(options.model) if options.fill else None
        records, example_of = augment.wrap(
            records, example_of, options, run.config.seed, filler
        )
        changed = f", {records.summary()}"
    pieces = features.Pieces(
        records,
        example_of,
        run.objective,
        run.tokenizer,
        on_long=run.config.data.on_long,
    )
    if not len(pieces):
        raise ValueError(
            f"the training split gives no row with a target: {pieces.summary('train')}; "
            "look at it with `lmtasks inspect`"
        )
    summary = pieces.summary("train") + changed
    data = run.config.data
    varied = features.Varied(pieces, run.objective, run.tokenizer, run.config.seed)
    if not (data.packing and run.objective.packs):
        return pack.PaddedRows(pieces, varied), summary
    rows = pack.PackedRows(pieces, data.length, data.source_length, varied)
    return rows, f"{summary}, packed {100 * rows.fill:.0f}% full"


def _shape(run: builder.Run, rows) -> pack.Shape:
    data, objective = run.config.data, run.objective
    padded = not (data.packing and (objective.packs or objective.stream))
    lengths = (data.length,)
    if padded:  # what is never packed may hold several texts of that length
        longest = max(data.length, rows.widest[0])
        lengths = builder.buckets_of(run.config, longest)
    sources_ = ()
    if run.model.architecture == "encoder_decoder":
        if padded:
            sources_ = builder.buckets_of(run.config, data.source_length)
        else:
            lengths, sources_ = ((-(-n // 8) * 8,) for n in rows.widest)
    gathered = rows.weighted if objective.gather else 0
    if gathered > GATHER_BELOW * lengths[-1]:
        gathered = 0
    return pack.Shape(lengths, sources_, gathered)


def _flops_per_slot(run: builder.Run, shape: pack.Shape) -> float:
    source = shape.source_buckets[-1] if shape.source_buckets else 0
    return 3 * forward_flops(run, shape) / (shape.buckets[-1] + source)


def forward_flops(run: builder.Run, shape: pack.Shape, projections=False) -> float:
    """Return the FLOPs of a full row, forward; with `projections`, of the products by
    the layers' weights alone.
    """
    length = shape.buckets[-1]
    source = shape.source_buckets[-1] if shape.source_buckets else 0
    seen = not projections
    return flops.forward(
        run.model.architecture,
        run.model.cfg,
        tokens=length,
        length=length * seen,
        sources=source,
        source_length=source * seen,
        heads=0 if projections or run.model.head == "none" else shape.gathered or None,
        classes=2 if run.model.head == "span" else run.model.classes,
    )


def take_params(folder: str, params, mesh, note) -> dict:
    """Return `params` with all that fits taken from another work directory.

    What is missing there, or of another shape (a new head), stays fresh and is named.
    """
    stored = files.read_config(folder)
    if stored is None:
        raise ValueError(
            f"init={folder!r} is not a work directory: there is no config.json"
        )
    other = builder.build(schema.from_stored(stored), folder)
    theirs, step = workdir.restore_for_use(folder, other, mesh, None, "params")
    theirs = masks.flat(layout.unstack_layers(theirs))
    stacked = any("layers" in path.split("/") for path in masks.flat(params))
    mine = masks.flat(layout.unstack_layers(params))
    fits = {k for k in mine if k in theirs and theirs[k].shape == mine[k].shape}
    if not fits:
        raise ValueError(f"init={folder!r} has no parameter that fits this model")
    fresh = sorted(mine.keys() - fits)
    note(f"init: {len(fits)} of {len(mine)} parameters from {folder}, step {step}")
    if left := sorted(theirs.keys() - mine.keys()):
        note(f"init: left out, not in this model: {', '.join(left)}")
    if fresh:
        note(f"init: fresh parameters: {', '.join(fresh)}")
    taken = {k: theirs[k] if k in fits else mine[k] for k in mine}
    tree = jax.tree.unflatten(
        jax.tree.structure(layout.unstack_layers(params)), list(taken.values())
    )
    tree = layout.stack_layers(tree) if stacked else tree
    return jax.tree.map(lambda x, p: jax.device_put(x, p.sharding), tree, params)
