"""Fine-tuning on real text: the run as the product builds it, packed or padded."""

from __future__ import annotations

import jax
import numpy as np

from configs import base
from experiments.benchmarks import cases
from lmtasks import builder
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.training import feed


def settings(case: cases.Case):
    """Return a config with the optimizer that both sides run, on one device."""
    c = base.finetune()
    c.architecture = cases.family_of(case).ARCHITECTURE
    c.optim.schedule, c.optim.warmup_steps = "constant", 0
    c.optim.learning_rate = cases.LEARNING_RATE
    c.optim.weight_decay = cases.WEIGHT_DECAY
    c.optim.clip_norm = cases.CLIP_NORM
    c.parallel.data = 1
    c.data.length = case.length
    c.data.source_length = case.source_length or 1
    return c


def build(case: cases.Case, plan: cases.Plan) -> tuple[builder.Run, feed.Feed]:
    """Return the run on the task and its training data."""
    c = settings(case)
    c.task = case.name.split("/")[-1]
    c.data.dir, c.tokenizer.path = plan.data, plan.vocab
    c.data.packing = plan.side == "packed"
    c.model.preset = f"{case.family}/{case.size}"
    c.model.dropout = c.model.attention_dropout = 0.0
    c.model.dtype = plan.dtype
    c.train.steps = plan.steps
    c.train.batch_size = case.batch if c.data.packing else case.examples
    run = builder.build(c)
    return run, feed.read(run)


def save_ids(pieces: features.Pieces, path: str) -> None:
    """Write every example's ids and targets, for the peer to pad as it does."""
    rows = [piece.features for piece in pieces]
    targets = [np.where(r["weights"] > 0, r["targets"], cases.IGNORED) for r in rows]
    np.savez(
        path,
        ids=np.concatenate([row["tokens"] for row in rows]),
        targets=np.concatenate(targets).astype(np.int32),
        lengths=pieces.tokens,
    )


def loss_of_first(run: builder.Run, pieces: features.Pieces, params) -> float:
    """Return the mean loss of the first examples, packed: the peer pads the same."""
    count = min(cases.CHECKED, len(pieces))
    length = run.config.data.length
    bins = pack.plan(pieces.tokens[:count, None], (length,))
    rows = [pack.join([pieces[i].features for i in one]) for one in bins]
    gathered = max(np.count_nonzero(row["weights"]) for row in rows)
    batch = pack.stack(rows, length, 0, gathered)
    loss = jax.jit(lambda p, b: run.objective.loss(run.model.apply, p, b)["loss"])
    total, weight = loss(params, batch)
    assert float(weight) == pieces.weighted[:count].sum()
    return float(total / weight)
