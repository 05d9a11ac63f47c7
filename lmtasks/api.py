"""The typed functions that the commands are built on; `import lmtasks` offers them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks import losses
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.objectives import generate as generating
from lmtasks.training import evaluate as evaluating
from lmtasks.training import loop
from lmtasks.training import parallel
from lmtasks.training import runtime
from lmtasks.training import workdir
from lmtasks.types import Params


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained run, ready to use.

    Attributes:
        run: task, tokenizer, objective and model. params: its parameters.
        step: of the checkpoint. mesh: the devices it lies on.
    """

    run: builder.Run
    params: Params
    step: int
    mesh: jax.sharding.Mesh


class _Given:
    """Examples in memory, in the form of a split's records."""

    fingerprint, skipped = "given", 0

    def __init__(self, given: Sequence[examples.Example]):
        self._given = given

    def __len__(self):
        return len(self._given)

    def __getitem__(self, i):
        return self._given[i]

    def where(self, i: int) -> str:
        """Return how a message names example i."""
        return f"input {i + 1}"


def build(config: ConfigDict) -> builder.Run:
    """Return the task, tokenizer, objective and model a config describes.

    Raises:
        ValueError: a value that cannot work.
    """
    return builder.build(config)


def train(config: ConfigDict, folder: str) -> loop.Outcome:
    """Train a config in a work directory, or resume it; see `lmtasks train`."""
    return loop.train(config, folder)


def load(
    folder: str, step: int | None = None, config: ConfigDict | None = None
) -> Loaded:
    """Return the run of a work directory with its newest parameters, verified.

    Args:
        folder: the work directory.
        step: a saved step; None = the newest.
        config: replaces the stored config (overridden decode or eval keys).

    Raises:
        ValueError: no work directory, no such step, or a checkpoint of another shape.
    """
    runtime.enable_compile_cache()
    runtime.keep_memory()
    run = workdir.load_run(folder, config)
    mesh = parallel.make_mesh(run.parallel)
    part = "ema" if run.config.eval.ema else "params"
    params, step = workdir.restore_for_use(folder, run, mesh, step, part)
    return Loaded(run, params, step, mesh)


def predict(loaded: Loaded, given: Sequence[examples.Example]) -> list[dict | None]:
    """Return one prediction per example, in order; None for an empty text.

    The form is the task's: {"label", "score", "scores"}, {"text"}, ...
    """
    run = loaded.run
    queries = features.Pieces(
        _Given(given),
        lambda example: example,
        run.objective,
        run.tokenizer,
        on_long=run.config.data.on_long,
        query=True,
    )
    rng = jax.random.key(run.config.seed)
    evaluator = evaluating.Evaluator(run, loaded.mesh)
    said = evaluator.predictions(loaded.params, queries, rng)
    pairs = zip(said, given, strict=True)
    return [None if p is None else evaluator.parsed(p, e) for p, e in pairs]


def generate(loaded: Loaded, prompts: Sequence[str]) -> list[str]:
    """Return the text the model writes after each prompt, by config.decode.

    Raises:
        ValueError: the model writes no text (an encoder).
    """
    run = loaded.run
    if run.model.head != "lm":
        raise ValueError(
            f"architecture={run.model.architecture!r} with objective="
            f"{run.config.objective!r} writes no text; use predict"
        )
    objective = run.objective
    if not objective.writes:
        objective = generating.Generate(objective.setting, run.decode)
    writer = dataclasses.replace(
        loaded, run=dataclasses.replace(run, objective=objective)
    )
    plain = run.task.kind is examples.Text
    turn = functools.partial(examples.Turn, "user")
    given = [examples.Text(p) if plain else examples.Turns((turn(p),)) for p in prompts]
    said = predict(writer, given)
    return ["" if row is None else row["text"] for row in said]


def score(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[dict]:
    """Return the log-likelihood of each (prompt, target): {"log_prob", "tokens"}.

    "log_prob" is in nats and includes the end-of-sequence where the tokenizer has one.
    """
    run = loaded.run
    if run.model.head != "lm":
        raise ValueError("only a model with a vocabulary head scores text")
    objective = generating.Generate(run.objective.setting)
    given = [
        examples.Turns((examples.Turn("user", p), examples.Turn("assistant", t)))
        for p, t in pairs
    ]
    setting = dataclasses.replace(run, objective=_Likelihood(objective))
    pieces = features.Pieces(
        _Given(given),
        lambda example: example,
        objective,
        run.tokenizer,
        on_long=run.config.data.on_long,
    )
    evaluator = evaluating.Evaluator(setting, loaded.mesh)
    rng = jax.random.key(run.config.seed)
    rows = evaluator.predictions(loaded.params, pieces, rng)
    return [row or {"log_prob": float("nan"), "tokens": 0} for row in rows]


@dataclasses.dataclass(frozen=True)
class _Likelihood:
    """Predicts the log-likelihood of the targets instead of writing them."""

    objective: generating.Generate
    gather = True

    @property
    def loss(self):
        return self.objective.loss

    def predict(self, model, params, batch, rng):
        at = batch.get("at")
        log_p, _ = losses.log_likelihood(
            model.apply(params, batch), losses.gather_at(batch["targets"], at)
        )
        weights = losses.gather_at(batch["weights"], at)
        kept = jax.numpy.where(weights > 0, log_p, 0.0)
        return {"log_prob": kept.sum(axis=1), "tokens": (weights > 0).sum(axis=1)}

    def answer(self, outputs, example, tokenizer):
        row = outputs[0]
        return {"log_prob": float(row["log_prob"]), "tokens": int(row["tokens"])}


def evaluate(loaded: Loaded, split: str) -> tuple[dict[str, float], list]:
    """Return ({metric: value}, predictions) of a split; see `lmtasks eval`."""
    run = loaded.run
    predict_too = run.config.eval.predict and bool(run.task.metrics)
    rows = evaluating.read_split(run, split, predict=predict_too)
    evaluator = evaluating.Evaluator(run, loaded.mesh)
    rng = jax.random.key(run.config.seed)
    return evaluator.score(loaded.params, rows, rng)


def read_input(kind: type, task, row: dict) -> examples.Example:
    """Return a user's row as an example of the task, its answer not needed.

    Accepted: the fields of the kind (`text`, `pair`, `question`, ...), `prompt` for
    tasks that write, or a record as the task's own files have it.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    if kind is examples.Turns and isinstance(row.get("prompt"), str):
        return examples.Turns((examples.Turn("user", str(row["prompt"])),))
    given = {name: row[name] for name in names if name in row}
    for name in {"text", "pair", "question", "context", "prompt"} & row.keys():
        if not isinstance(row[name], str):
            raise ValueError(f"{name}={row[name]!r} is not a text")
    if kind is not examples.Turns and names[0] in given:
        lists = (tuple(v) if isinstance(v, list) else v for v in given.values())
        return kind(**dict(zip(given, lists, strict=True)))
    try:
        return task.example(row)
    except (KeyError, TypeError, ValueError):
        wanted = "prompt" if kind is examples.Turns else ", ".join(names[:2])
        raise ValueError(
            f"a row with the keys {', '.join(row)} is not understood; a {kind.__name__} "
            f"task reads {wanted}, or a record of its own files"
        ) from None
