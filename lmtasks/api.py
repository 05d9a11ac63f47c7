"""The typed functions that the commands are built on; `import lmtasks` offers them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.decode import score as scoring
from lmtasks.objectives import generate as generating
from lmtasks.tasks import base
from lmtasks.training import begin
from lmtasks.training import evaluate as evaluating
from lmtasks.training import loop
from lmtasks.training import masked
from lmtasks.training import parallel
from lmtasks.training import runtime
from lmtasks.training import workdir
from lmtasks.training import writing

Loaded = writing.Loaded


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
    run = masked.with_generator(workdir.load_run(folder, config))
    mesh = parallel.make_mesh(run.parallel)
    run, _ = begin.on_devices(run, mesh)
    part = "ema" if run.config.eval.ema else "params"
    with parallel.following(run.parallel):
        params, step = workdir.restore_for_use(folder, run, mesh, step, part)
    draft = None
    if run.config.decode.draft:
        draft = _draft_of(run)
    return Loaded(run, params, step, mesh, draft)


def _draft_of(run: builder.Run) -> Loaded:
    """Return the run of decode.draft, which must have the same tokens."""
    folder = run.config.decode.draft
    found = load(folder)
    if found.run.tokenizer != run.tokenizer:
        raise ValueError(
            f"decode.draft={folder!r} has another tokenizer; a draft must read and "
            "write the same tokens"
        )
    if found.run.model.architecture != run.model.architecture:
        raise ValueError(
            f"decode.draft={folder!r} is a {found.run.model.architecture}, the run a "
            f"{run.model.architecture}; use a draft of the same architecture"
        )
    return found


def predict(loaded: Loaded, given: Sequence[examples.Example]) -> list[dict | None]:
    """Return one prediction per example, in order; None for an empty text.

    The form is the task's: {"label", "score", "scores"}, {"text"}, ...
    """
    run = loaded.run
    queries = features.Pieces(
        writing.Given(given),
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

    `writing.Writer` also gives log-probabilities, several texts, and streams.

    Raises:
        ValueError: the model writes no text (an encoder), or a prompt is empty.
    """
    rows = writing.Writer(loaded).write(prompts)
    return ["" if row is None else row["text"] for row in rows]


def score(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[dict]:
    """Return the log-likelihood of each (prompt, target) under the model.

    Rows {"log_prob", "tokens", "token_log_probs"}: nats of the target given the prompt,
    its end-of-sequence included where the tokenizer has one; how many tokens it has,
    and the log-probability of each. A target without text has 0 tokens and nan.
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
        writing.Given(given),
        lambda example: example,
        objective,
        run.tokenizer,
        on_long=run.config.data.on_long,
    )
    evaluator = evaluating.Evaluator(setting, loaded.mesh)
    rng = jax.random.key(run.config.seed)
    rows = evaluator.predictions(loaded.params, pieces, rng)
    none = {"log_prob": float("nan"), "tokens": 0, "token_log_probs": []}
    return [row or dict(none) for row in rows]


@dataclasses.dataclass(frozen=True)
class _Likelihood:
    """Predicts the log-likelihood of the targets instead of writing them."""

    objective: generating.Generate
    gather = True
    writes = False

    @property
    def loss(self):
        return self.objective.loss

    def predict(self, model, params, batch, rng, tables=None):
        scores = scoring.targets(functools.partial(model.apply, params), batch)
        return {"total": scores.total, "each": scores.per_token, "there": scores.there}

    def answer(self, outputs, example, tokenizer):
        row = outputs[0]
        each = [float(x) for x in row["each"][row["there"]]]
        total = float(row["total"])
        return {"log_prob": total, "tokens": len(each), "token_log_probs": each}


def evaluate(
    loaded: Loaded,
    split: str,
    metrics: Sequence[base.Metric] = (),
    note: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, float], list]:
    """Return ({metric: value}, predictions) of a split; see `lmtasks eval`.

    Args:
        loaded: the run.
        split: its task's split.
        metrics: further ones beside the task's own, such as `zero_shot.metric(nli)`.
        note: told of texts that were cut.
    """
    evaluator, rows = evaluator_of(loaded, split, metrics)
    rng = jax.random.key(loaded.run.config.seed)
    found = evaluator.score(loaded.params, rows, rng)
    if evaluator.cut:
        note(evaluator.remark())
    return found


def evaluator_of(
    loaded: Loaded, split: str, metrics: Sequence[base.Metric] = ()
) -> tuple[evaluating.Evaluator, evaluating.Split]:
    """Return what scores a split of a run, and the split; arguments as `evaluate`."""
    run = loaded.run
    task = dataclasses.replace(run.task, metrics=(*run.task.metrics, *metrics))
    run = dataclasses.replace(run, task=task)
    predict_too = run.config.eval.predict and bool(run.task.metrics)
    rows = evaluating.read_split(run, split, predict=predict_too)
    return evaluating.Evaluator(run, loaded.mesh), rows


# Stands for what a row lacks while its prompt is made.
_LACKING = "\0"


def _asked(task, row: dict) -> examples.Turns | None:
    """Return the prompt of a record without its reply, or of the prompt's own fields;
    None where the row has neither.
    """
    filled = dict(row)
    for _ in range(4):
        try:
            found = task.example(filled)
        except KeyError as error:
            filled[error.args[0]] = _LACKING
        except (TypeError, ValueError, IndexError):
            break
        else:
            turns, _ = chat.split_reply(found)
            said = " ".join([*(turn.text for turn in turns), *found.fields.values()])
            if turns and _LACKING not in said:
                return examples.Turns(turns, fields=found.fields)
            break
    with contextlib.suppress(KeyError):
        if task.prompt:
            turn = examples.Turn("user", task.prompt.format(**row))
            return examples.Turns((turn,))
    return None


def read_input(kind: type, task, row: dict) -> examples.Example:
    """Return a user's row as an example of the task, its answer not needed.

    Accepted: the fields of the kind (`text`, `pair`, `question`, ...), `prompt` for
    tasks that write, or a record as the task's own files have it.
    """
    fields = dataclasses.fields(kind)
    names = [field.name for field in fields]
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    if kind is examples.Turns and isinstance(row.get("prompt"), str):
        return examples.Turns((examples.Turn("user", str(row["prompt"])),))
    given = {name: row[name] for name in names if name in row}
    for name in {"text", "pair", "question", "context", "prompt"} & row.keys():
        if not isinstance(row[name], str):
            raise ValueError(f"{name}={row[name]!r} is not a text")
    if kind is examples.Pair and isinstance(row.get("text"), str):
        return examples.Text(row["text"])  # one text alone
    # A record with more than the kind's fields, such as the places of two entities.
    if given and (set().union(*task.samples) - set(names)) & row.keys():
        with contextlib.suppress(KeyError):
            return task.example(row)
    if kind is examples.Tagged:  # words may be a string, and a text has words
        row, given = {"tags": (), **row}, {}
    if kind is not examples.Turns and needed <= given.keys():
        lists = (tuple(v) if isinstance(v, list) else v for v in given.values())
        return kind(**dict(zip(given, lists, strict=True)))
    try:
        return task.example(row)
    except ValueError as error:
        raise ValueError(f"the row cannot be used: {error}") from None
    except (KeyError, TypeError):
        asked = _asked(task, row) if kind is examples.Turns else None
        if asked is not None:
            return asked
        wanted = "prompt" if kind is examples.Turns else ", ".join(sorted(needed))
        raise ValueError(
            f"a row with the keys {', '.join(row)} is not understood; a {kind.__name__} "
            f"task reads {wanted}, or a record of its own files"
        ) from None
