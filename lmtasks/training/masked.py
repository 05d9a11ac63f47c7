"""A trained masked language model in the service of another run."""

from __future__ import annotations

import dataclasses

import jax

from lmtasks import builder
from lmtasks.data import augment
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import records
from lmtasks.objectives import rtd
from lmtasks.training import evaluate
from lmtasks.training import parallel
from lmtasks.training import workdir
from lmtasks.types import Params


def load(folder: str, key: str) -> tuple[builder.Run, Params, jax.sharding.Mesh]:
    """Return (run, parameters, mesh) of a work directory of objective mlm.

    Raises:
        ValueError: config key `key` names no such work directory.
    """
    try:
        run = workdir.load_run(folder)
    except ValueError as error:
        raise ValueError(f"{key}={folder!r}: {error}") from None
    if run.config.objective != "mlm":
        raise ValueError(
            f"{key}={folder!r} was trained by objective={run.config.objective!r}; give "
            "the work directory of a masked language model (objective=mlm)"
        )
    mesh = parallel.make_mesh(run.parallel)
    params, _ = workdir.restore_for_use(folder, run, mesh, None, "params")
    return run, params, mesh


def with_generator(run: builder.Run) -> builder.Run:
    """Return the run with the model of rtd.generator in its objective, if any.

    Its parameters become constants of the compiled step.
    """
    objective = run.objective
    if not (isinstance(objective, rtd.Rtd) and objective.options.generator):
        return run
    other, params, _ = load(objective.options.generator, "rtd.generator")
    if other.tokenizer != run.tokenizer:
        raise ValueError(
            f"rtd.generator={objective.options.generator!r} has another tokenizer; set "
            "tokenizer.path to its tokenizer folder"
        )
    held = jax.device_get(params)
    filled = dataclasses.replace(
        objective, generator=lambda batch: other.model.apply(held, batch)
    )
    return dataclasses.replace(run, objective=filled)


def filler_of(folder: str) -> augment.Filler:
    """Return what fills masks by the model of a work directory (see data.augment).

    A text whose masks do not fit into one row gets no candidates.
    """
    run, params, mesh = load(folder, "augment.model")
    mask = run.objective.mask_of(run.tokenizer)

    def fill(texts: list[str]) -> list:
        asked = [examples.Text(text.replace(augment.MASK, mask)) for text in texts]
        fits = [i for i, one in enumerate(asked) if _fits(run, one)]
        items = [{"text": asked[i].text} for i in fits]
        queries = features.Pieces(
            records.Records(items, "copies", ""),
            lambda record: examples.Text(record["text"]),
            run.objective,
            run.tokenizer,
            query=True,
        )
        found = evaluate.Evaluator(run, mesh).predictions(
            params, queries, jax.random.key(0)
        )
        out: list = [[] for _ in texts]
        for i, said in zip(fits, found, strict=True):
            out[i] = [
                [
                    {
                        "token": run.tokenizer.piece(one["id"]),
                        "text": one["token"],
                        "score": one["score"],
                    }
                    for one in each
                ]
                for each in said["fills"]
            ]
        return out

    return fill


def _fits(run: builder.Run, example: examples.Text) -> bool:
    try:
        return bool(run.objective.query(example, run.tokenizer))
    except ValueError:
        return False
