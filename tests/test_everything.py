"""Every task on every architecture: rows, one step, predictions, scores; and learning.

One byte tokenizer and one set of shapes, so that a step and a prediction are compiled
once per objective and architecture.
"""

import dataclasses
import functools
import importlib
import json
import math
import subprocess
import sys
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs
import tiny

from configs import base
from lmtasks import builder
from lmtasks import schema
from lmtasks import tasks
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import pipeline
from lmtasks.data import records
from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.models import model as models
from lmtasks.objectives import base as objectives
from lmtasks.training import evaluate
from lmtasks.training import optim
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.types import ARCHITECTURES

NAMES = schema.modules_of(tasks)
LENGTH, ROWS, GATHERED, CLASSES = 256, 4, 160, 20
BYTE = tokenizers.train("byte", ())
CELLS = [(name, architecture) for name in NAMES for architecture in ARCHITECTURES]


def task_of(name):
    """Return a task by its name."""
    return importlib.import_module(f"lmtasks.tasks.{name}").TASK


def trained_by(name, architecture):
    """Return what trains a task on an architecture, or None."""
    task = task_of(name)
    first = task.example(task.samples[0])
    if isinstance(getattr(first, "label", None), float) and architecture != "encoder":
        return "generate"  # a number is written
    return objectives.supported(task_of(name).kind.__name__, architecture)


POSSIBLE = [cell for cell in CELLS if trained_by(*cell)]
IMPOSSIBLE = [cell for cell in CELLS if not trained_by(*cell)]


def config(name, architecture, **changes):
    """Return the config of a tiny run of a task; `__` stands for a dot."""
    c = base.finetune()
    c.task, c.architecture = name, architecture
    c.data.length = c.data.source_length = LENGTH
    c.model.width, c.model.layers, c.model.mlp = 16, 1, 32
    c.model.attention.heads, c.model.attention.head_dim = 2, 0
    c.model.dropout = c.model.attention_dropout = 0.0
    c.eval.batch_size, c.decode.max_tokens, c.data.buckets = ROWS, 4, (LENGTH,)
    for key, value in changes.items():
        schema.override(c, key.replace("__", "."), str(value))
    return c


def in_memory(name):
    """Return a task whose splits are its samples, with the labels they have."""
    task = task_of(name)
    made = [task.example(record) for record in task.samples]
    found = {one for e in made for one in labels_of(e)}
    if found and not task.labels:
        task = dataclasses.replace(task, labels=tuple(sorted(found)))
    split = list(task.samples)
    source = sources.Source.memory({"train": split, "validation": split})
    return dataclasses.replace(task, source=source)


def labels_of(example):
    """Return the names that an example is labelled with."""
    if isinstance(example, examples.Tagged):
        return example.tags
    label = getattr(example, "label", None)
    if isinstance(label, (tuple, str)):
        return label if isinstance(label, tuple) else (label,)
    return ()


@functools.cache
def run_of(name, architecture):
    """Return the run of a task on an architecture, on its samples."""
    task = in_memory(name)
    c = config(name, architecture)
    if task.labels:
        c.data.labels = task.labels
    run = builder.build(c)
    return dataclasses.replace(
        run, task=dataclasses.replace(run.task, source=task.source)
    )


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is compiled once per objective and architecture."""

    model: models.Model
    params: typing.Any
    recipe: steps.Recipe
    step: typing.Callable
    sums: typing.Callable
    predict: typing.Callable


TOYS = {
    "clm": "toy_text", "mlm": "toy_text", "rtd": "toy_text", "generate": "toy_turns",
    "classify": "toy_labelled", "tag": "toy_tagged", "span": "toy_span",
    "choice": "toy_choice", "embed": "toy_pair", "denoise": "toy_text",
}  # fmt: skip


@functools.cache
def compiled(objective, architecture, kind=""):
    """Return the programs of a cell, with room for every task's labels; `kind` is
    that of a classification.
    """
    labels = [f"label {i}" for i in range(CLASSES)]
    given = {"objective": objective}
    if objective in ("classify", "tag"):
        given["data__labels"] = ",".join(labels)
    if objective == "classify":
        given["classify__kind"] = kind
    run = builder.build(config(TOYS[objective], architecture, **given))
    loss, predict = run.objective.loss, run.objective.predict
    # Parameters that a step changes visibly: no warm-up.
    setting = optim.Optim(learning_rate=1e-2, schedule="constant")
    recipe = steps.Recipe(
        run.model.apply, loss, optim.build(setting, 10), optim.schedule(setting, 10)
    )
    return Cell(
        run.model,
        tiny.draw(run.model),
        recipe,
        jax.jit(functools.partial(steps.train_step, recipe)),
        jax.jit(functools.partial(steps.eval_step, recipe)),
        jax.jit(functools.partial(predict, run.model.for_decoding())),
    )


def shape_of(run):
    """Return the one shape of all batches of a cell."""
    source = (LENGTH,) if run.config.architecture == "encoder_decoder" else ()
    return pack.Shape((LENGTH,), source, GATHERED if run.objective.gather else 0)


def rows_of(run):
    """Return the training rows of a run, packed where it packs."""
    found = records.Records(list(run.task.samples), run.config.task, "mark")
    pieces = features.Pieces(found, run.task.example, run.objective, run.tokenizer)
    if run.objective.packs:
        return pieces, pack.PackedRows(pieces, LENGTH, LENGTH)
    return pieces, pack.PaddedRows(pieces)


def evaluator_of(run, cell):
    """Return the run's evaluator with the cell's programs and shape."""
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    found = evaluate.Evaluator(run, mesh)
    found._shape = lambda pieces: shape_of(run)
    found._sums = cell.sums
    found._predict = functools.partial(_some_classes, run, cell)
    return found


def _some_classes(run, cell, params, batch, rng, tables):
    """Return the cell's predictions for the labels the task has."""
    said = cell.predict(params, batch, rng, tables)
    count = len(run.task.labels)
    if "probabilities" in said and count:
        some = said["probabilities"][..., :count]
        if run.config.classify.kind != "multi":
            some = some / some.sum(axis=-1, keepdims=True)
        said = {"probabilities": some}
    some = ("log_probs", "tag_scores") if count else ()
    return {k: v[..., :count] if k in some else v for k, v in said.items()}


@pytest.mark.parametrize(("name", "architecture"), POSSIBLE)
def test_a_task_trains_predicts_and_is_scored(name, architecture):
    run = run_of(name, architecture)
    assert run.config.objective == trained_by(name, architecture)
    cell = compiled(run.config.objective, architecture, kind_of(run))
    pieces, rows = rows_of(run)
    assert len(pieces) >= len(run.task.samples) and not pieces.counts["empty"]
    order = pipeline.Shuffled(len(rows), 0)
    batch = pipeline.TrainData(rows, order, ROWS, shape_of(run)).batch(0)
    state = steps.init_state(cell.recipe, cell.params, jax.random.key(1))
    after, metrics = cell.step(state, batch)
    assert np.isfinite(metrics["loss"]) and metrics["grad_norm"] > 0
    # A choice weighs 1, not what its options do.
    options = run.config.objective == "choice" and architecture == "encoder"
    assert metrics["weight"] > 0
    assert options or metrics["weight"] == batch["weights"].sum()
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(cell.params), jax.tree.leaves(after.params), strict=True
        )
    ]
    assert sum(moved) > len(moved) // 2
    _scored(run, cell, after.params, pieces)


def _scored(run, cell, params, pieces):
    """Assert that a split of the task is predicted and scored."""
    found = evaluator_of(run, cell)
    split = evaluate.read_split(run, "validation", predict=bool(run.task.metrics))
    metrics, said = found.score(params, split, jax.random.key(0))
    assert metrics and all(isinstance(v, float) for v in metrics.values())
    assert all(math.isfinite(v) for v in metrics.values())
    if not run.task.metrics:
        assert "perplexity" in metrics
        return
    assert len(said) == len(run.task.samples)
    named = set().union(*(m(said, split.queries.examples) for m in run.task.metrics))
    assert named <= metrics.keys()
    json.dumps(said)  # what `lmtasks predict` writes
    for record, prediction in zip(run.task.samples, said, strict=True):
        _formed(run, run.task.example(record), prediction)


def kind_of(run):
    """Return what the labels of a classification are, "" elsewhere."""
    return run.config.classify.kind if run.config.objective == "classify" else ""


def _formed(run, example, prediction):
    """Assert that a prediction has the form of its kind of example."""
    name, labels = run.config.objective, run.task.labels
    if name == "classify" and kind_of(run) == "regression":
        assert isinstance(prediction["label"], float)
    elif name == "classify" and kind_of(run) == "multi":
        assert set(prediction["label"]) <= set(labels) == set(prediction["scores"])
    elif name == "classify":
        assert prediction["label"] in labels
        assert sum(prediction["scores"].values()) == pytest.approx(1, abs=1e-5)
    elif isinstance(example, examples.Tagged):
        unread = run.config.objective == "generate" and prediction["tags"] is None
        assert unread or len(prediction["tags"]) == len(example.words)
    elif isinstance(example, examples.Pair):
        assert -1.001 <= prediction["similarity"] <= 1.001
    elif name == "choice":
        assert prediction["text"] == example.options[prediction["choice"]]
    elif name == "span":
        where = slice(prediction["start"], prediction["end"])
        assert prediction["text"] == example.context[where]
    else:
        assert isinstance(prediction["text"], str) or run.task.metrics


@pytest.mark.parametrize(("name", "architecture"), IMPOSSIBLE)
def test_a_cell_that_is_not_there_fails_at_build_with_the_reason(name, architecture):
    with pytest.raises(ValueError) as error:
        builder.build(config(name, architecture))
    said = str(error.value)
    reasons = ("planned", "cannot write text", "one stack")
    assert any(reason in said for reason in reasons) and "\n" not in said


def test_what_is_planned_is_not_passed_off_as_working():
    working = {trained_by(*cell) for cell in POSSIBLE}
    assert working == set(TOYS) - {"rtd"}
    assert not working & set(objectives.PLANNED)
    assert not any(objectives.supported("Preference", a) for a in ARCHITECTURES)


# One of each kind; how a task's prompt is filled does not depend on the architecture.
FEW = ("classification", "pairs", "sst2", "stsb", "choice", "mnli")


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
@pytest.mark.parametrize("name", [n for n in NAMES if n in FEW])
def test_a_classification_may_be_trained_by_writing_too(name, architecture):
    task = in_memory(name)
    c = config(name, architecture, objective="generate")
    c.data.labels = task.labels
    run = builder.build(c)
    cell = compiled("generate", architecture)
    row = run.objective.featurize(task.example(task.samples[0]), BYTE)[0]
    assert row.pop("cut") == 0 and row["weights"].sum() > 1
    state = steps.init_state(cell.recipe, cell.params, jax.random.key(1))
    source = LENGTH if architecture == "encoder_decoder" else 0
    batch = pack.stack([pack.join([row])] * ROWS, LENGTH, source, GATHERED)
    assert np.isfinite(cell.step(state, batch)[1]["loss"])


# Learning: one small thing per objective and architecture.

COLOURS = {"sky": "blue", "grass": "green", "coal": "black", "snow": "white"}


def lesson(objective):
    """Return (task, records): what a tiny model can learn in a second."""
    if objective in ("clm", "mlm", "denoise"):
        return "text", [{"text": f"the {a} is {b}"} for a, b in COLOURS.items()]
    if objective == "tag":
        rows = [
            {"words": f"the {a} is", "tags": f"O B-{b} O"} for a, b in COLOURS.items()
        ]
        return "tagging", rows
    if objective == "span":
        return "extractive_qa", [
            {"question": a, "context": f"{' '.join(COLOURS.values())}", "answer": b}
            for a, b in COLOURS.items()
        ]
    if objective == "choice":
        options = list(COLOURS.values())
        return "choice", [
            {"context": a, "options": options, "answer": b} for a, b in COLOURS.items()
        ]
    if objective == "embed":
        return "toy_pair", [{"first": a, "second": b} for a, b in COLOURS.items()]
    if objective == "generate":
        return "seq2seq", [{"source": a, "target": b} for a, b in COLOURS.items()]
    rows = [{"text": a, "label": b} for a, b in COLOURS.items()]
    return "classification", rows


@functools.cache
def learned(objective, architecture):
    """Return (run, parameters, pieces) after some steps on a lesson."""
    name, rows = lesson(objective)
    length = 64 if objective in ("span", "choice") else 32
    small = {"data__length": length, "data__source_length": 32, "model__width": 32}
    c = config(name, architecture, decode__max_tokens=8, **small)
    c.data.buckets = (length,)
    if objective == "classify":
        c.data.labels = tuple(COLOURS.values())
    if objective == "tag":
        c.data.labels = ("O", *(f"B-{name}" for name in COLOURS.values()))
    run = builder.build(c)
    pieces = features.Pieces(
        records.Records(rows, "lesson", "mark"),
        run.task.example,
        run.objective,
        run.tokenizer,
    )
    setting = optim.Optim(learning_rate=1e-2, schedule="linear", warmup_steps=10)
    tx, rate = optim.build(setting, 200), optim.schedule(setting, 200)
    recipe = steps.Recipe(run.model.apply, run.objective.loss, tx, rate)
    # Drawn in numpy: compiling the initialization takes longer than the lesson.
    params = jax.tree.map(lambda x: jnp.asarray(x) / 2, tiny.draw(run.model))
    state = steps.init_state(recipe, params, jax.random.key(1))
    source = 32 if architecture == "encoder_decoder" else 0
    batch = pack.stack([p.features for p in pieces], length, source, 0)
    update = steps.jit_step(recipe)
    for _ in range(200):
        state, metrics = update(state, batch)
    return run, state.params, pieces, float(metrics["loss"])


@pytest.mark.parametrize(
    ("objective", "architecture"),
    [
        ("generate", "decoder"),
        ("generate", "encoder_decoder"),
        ("classify", "encoder"),
        ("classify", "decoder"),
        ("classify", "encoder_decoder"),
        ("choice", "encoder"),
        ("choice", "decoder"),
        ("span", "encoder"),
        ("tag", "encoder"),
        ("embed", "encoder"),
    ],
)
def test_a_tiny_model_learns_colours_by_heart(objective, architecture):
    run, params, pieces, loss = learned(objective, architecture)
    assert loss < 0.1
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    queries = features.Pieces(
        pieces.records, run.task.example, run.objective, run.tokenizer, query=True
    )
    found = evaluate.Evaluator(run, mesh)
    said = found.predictions(params, queries, jax.random.key(0))
    if objective == "embed":  # each is nearest to its own, as the loss says
        assert all(row["similarity"] > 0.5 for row in said)
        return
    if objective == "tag":
        said = [{"text": row["tags"][1].removeprefix("B-")} for row in said]
    key = "label" if objective == "classify" else "text"
    assert [row[key] for row in said] == list(COLOURS.values())


def test_a_tiny_model_puts_ends_back():
    run, params, pieces, loss = learned("denoise", "encoder_decoder")
    assert loss < 0.1
    whole = [f"the {a} is {b}" for a, b in COLOURS.items()]
    hidden = [int(p.features["weights"].sum()) - 2 for p in pieces]  # sentinel and end
    asked = [f"{t[:-n]}<extra_id_0>" for t, n in zip(whole, hidden, strict=True)]
    queries = features.Pieces(
        records.Records([{"text": text} for text in asked], "lesson", "mark"),
        run.task.example,
        run.objective,
        run.tokenizer,
        query=True,
    )
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    found = evaluate.Evaluator(run, mesh)
    said = found.predictions(params, queries, jax.random.key(0))
    assert hidden == [2, 3, 3, 3]
    assert [row["text"] for row in said] == whole
    assert [row["spans"] for row in said] == [["ue"], ["een"], ["ack"], ["ite"]]


def test_a_tiny_model_learns_a_text_by_heart():
    run, params, pieces, loss = learned("clm", "decoder")
    # Which of the four comes is log 4 nats of about 20 tokens; the rest is known.
    tokens = pieces.weighted.sum() / 4
    assert loss < 1.3 * math.log(4) / tokens + 0.02
    query = features.Pieces(
        records.Records([{"text": "the sky is"}], "lesson", "mark"),
        run.task.example,
        run.objective,
        run.tokenizer,
        query=True,
    )
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    found = evaluate.Evaluator(run, mesh)
    assert found.predictions(params, query, jax.random.key(0))[0]["text"] == " blue"


# Long proofs, on worlds that training never saw.


def toy_metrics(tmp_path, argument, *flags):
    """Return the last evaluation of `lmtasks train --config=toy:ARGUMENT`."""
    work = tmp_path / "run"
    command = [sys.executable, "-m", "lmtasks", "train", f"--config=toy:{argument}"]
    # Fake devices share the cores: one is fastest.
    env = runs.environment() | {"JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run([*command, f"--workdir={work}", *flags], env=env, check=True)
    return [row for row in runs.rows(work) if row["split"] == "validation"][-1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("argument", "metric"),
    [
        ("toy_labelled,encoder", "accuracy"),
        ("toy_labelled,decoder", "accuracy"),
        ("toy_labelled,encoder_decoder", "accuracy"),
        ("toy_turns,decoder", "exact_match"),
        ("toy_turns,encoder_decoder", "exact_match"),
        ("toy_tagged,encoder", "strict_f1"),
        ("toy_span,encoder", "exact_match"),
        ("toy_choice,encoder", "accuracy"),
        ("toy_choice,decoder", "accuracy"),
        ("toy_pair,encoder", "recall@1"),
    ],
)
def test_unseen_toy_worlds_are_understood(tmp_path, argument, metric):
    percent = 100 if argument.startswith("toy_span") else 1
    assert toy_metrics(tmp_path, argument)[metric] >= 0.95 * percent


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_unseen_toy_text_is_predicted_far_better_than_by_counts(tmp_path):
    found = toy_metrics(tmp_path, "toy_text,decoder")
    tokenizer = tokenizers.load(str(tmp_path / "run" / "tokenizer"))

    def counts(split):
        made = toy.toy_text(split, 0)
        ids = [i for row in made for i in tokenizer.encode(row["text"])]
        return np.bincount(ids, minlength=tokenizer.size)

    odds = (counts("train") + 1.0) / (counts("train") + 1.0).sum()
    held_out = counts("validation")
    unigram = -(held_out * np.log(odds)).sum() / held_out.sum()
    assert found["loss"] < 0.5 * unigram
