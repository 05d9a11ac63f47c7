"""Training on one batch again and again: its run, its rows, and its FLOPs."""

from __future__ import annotations

import numpy as np

from experiments.benchmarks import cases
from experiments.benchmarks import real
from lmtasks import builder
from lmtasks import schema
from lmtasks.data import pack
from lmtasks.models import flops
from lmtasks.models import model as models
from lmtasks.objectives import base as objectives
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate
from lmtasks.objectives import mlm
from lmtasks.training import feed
from lmtasks.training import optim as optimizers
from lmtasks.training import parallel

# (architecture, head) -> objective.
OBJECTIVES = {
    ("encoder", "classify"): classify.ClassifyHead,
    ("encoder", "lm"): mlm.Mlm,
    ("decoder", "lm"): clm.Clm,
    ("encoder_decoder", "lm"): generate.Generate,
}


def build(case: cases.Case, dtype: str) -> builder.Run:
    """Return the run of a step case; it has neither task nor tokenizer."""
    config = real.settings(case)
    setting = objectives.Setting(
        architecture=config.architecture,
        length=case.length,
        source_length=case.source_length,
        labels=cases.LABELS,
    )
    objective = OBJECTIVES[config.architecture, case.head](setting)
    return builder.Run(
        config=config,
        task=None,
        tokenizer=None,
        objective=objective,
        model=models.Model(
            config.architecture,
            cases.shape_of(case, dtype),
            objective.head,
            objective.classes,
        ),
        data=None,
        optim=schema.typed(optimizers.Optim, config.optim),
        parallel=schema.typed(parallel.Parallel, config.parallel),
        decode=None,
    )


def features_of(row: cases.Row, architecture: str) -> dict[str, np.ndarray]:
    """Return a row as the objective of the architecture makes it."""
    n = len(row.ids)
    places = np.arange(n, dtype=np.int32)
    if architecture == "decoder":
        # The last token has no next one.
        return objectives.next_token_features([*row.ids, 0], [True] * n + [False])
    if architecture == "encoder_decoder":
        target = objectives.next_token_features(
            [0, *row.reply], [True] * (len(row.reply) + 1)
        )
        return target | {"source": row.ids, "source_positions": places}
    said = row.targets != cases.IGNORED
    return {
        "tokens": row.ids,
        "positions": places,
        "token_types": np.zeros(n, np.int32),
        "targets": np.where(said, row.targets, 0).astype(np.int32),
        "weights": said.astype(np.float32),
    }


def batch_of(
    case: cases.Case, run: builder.Run, *, gather: bool = True
) -> dict[str, np.ndarray]:
    """Return the batch of a step case: packed rows of one example each.

    Without `gather` every position goes through the head.
    """
    architecture = run.model.architecture
    rows = [
        pack.join([features_of(row, architecture)])
        for row in cases.rows_of(case, run.model.cfg.vocab)
    ]
    gathered = max(np.count_nonzero(row["weights"]) for row in rows)
    too_many = gathered > feed.GATHER_BELOW * case.length
    if not (gather and run.objective.gather) or too_many:
        gathered = 0
    return pack.stack(rows, case.length, case.source_length, gathered)


def flops_of(run: builder.Run, batch: dict[str, np.ndarray]) -> float:
    """Return the FLOPs of one training step by formula; see models.flops."""
    rows, length = batch["tokens"].shape
    source_length = batch["source"].shape[1] if "source" in batch else 0
    return 3 * flops.forward(
        run.model.architecture,
        run.model.cfg,
        tokens=rows * length,
        length=length,
        sources=rows * source_length,
        source_length=source_length,
        heads=batch["at"].size if "at" in batch else None,
        classes=run.model.classes,
    )
