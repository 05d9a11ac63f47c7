"""The only reader of ConfigDict: config sections to typed objects, checked.

Everything a user can get wrong in a config is found here, before the first compile.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import itertools
import pathlib
import typing

from ml_collections import ConfigDict

from lmtasks import cells
from lmtasks import checks
from lmtasks import decoding
from lmtasks import mixing
from lmtasks import presets
from lmtasks import pretrained
from lmtasks import schema
from lmtasks import shots
from lmtasks import tasks
from lmtasks import tokenizers
from lmtasks.data import chat
from lmtasks.data import examples as kinds
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import sources
from lmtasks.data import templates
from lmtasks.data import token_files
from lmtasks.decode import constraints
from lmtasks.decode import plan
from lmtasks.hf import reading
from lmtasks.models import model as models
from lmtasks.models import soft
from lmtasks.objectives import base as objectives
from lmtasks.tasks import base as task_base
from lmtasks.training import lora as loras
from lmtasks.training import optim as optimizers
from lmtasks.training import parallel


@dataclasses.dataclass(frozen=True)
class Run:
    """A config as typed objects: what training, evaluation and prediction read.

    Attributes:
        config: the resolved config; labels found in the data are written into it.
        task, tokenizer, objective, model: the four parts of a cell.
        data: options of the sources. optim, mesh, decode: as named.
        tables: what the run's texts may be. lora: its adapters.
        parts: the tasks of a mixture; () = the task is one.
    """

    config: ConfigDict
    task: task_base.Task
    tokenizer: tokenizers.Tokenizer
    objective: typing.Any
    model: models.Model
    data: sources.DataOptions
    optim: optimizers.Optim
    parallel: parallel.Parallel
    decode: plan.Decode
    tables: constraints.Tables = constraints.Tables()
    lora: loras.Lora = loras.Lora()
    parts: tuple[mixing.Part, ...] = ()


def build(config: ConfigDict, folder: str | None = None) -> Run:
    """Return the run a config describes.

    Args:
        config: as configs/base.py lists it.
        folder: a work directory whose tokenizer and labels are taken; None trains
            the tokenizer and finds the labels in the training split.

    Raises:
        ValueError: a value that cannot work, with what is accepted.
    """
    config = config.copy_and_resolve_references()
    checks.check_values(config)
    config.prompt.template = templates.text_of(config.prompt.template)
    pretrained.derive(config, folder)
    checks.check_init(config)
    mixed = parts_of(config)
    task = mixing.task_of(mixed, config.eval.limit) if mixed else task_of(config)
    task = cells.with_kind(task, config)
    name = config.objective or cells.default_objective(task, config)
    objectives.check_cell(name, task.kind.__name__, config.architecture)
    config.objective = name
    options = data_options(config)
    if mixed:  # the limit is that of each part
        options = dataclasses.replace(options, limit=0)
    if config.prompt.shots and not config.decode.stop:
        config.decode.stop = (shots.BETWEEN,)  # the model would write the next one
    decoding.resolve(config, task)
    decode = decoding.plan_of(config)
    optim = schema.typed(optimizers.Optim, config.optim)
    mesh = schema.typed(parallel.Parallel, config.parallel)
    lora, vectors = (
        schema.typed(loras.Lora, config.lora),
        schema.typed(soft.Soft, config.soft),
    )
    cfg = presets.shape_of(config)  # checked before any data is read
    optimizers.schedule(optim, config.train.steps)
    labelled = task.kind is kinds.Labelled
    balanced = labelled and tuple(config.classify.weights) == ("balanced",)
    if cells.needs_labels(task, config) or balanced:
        task = cells.counted(task, config, records_of(task, "train", options))
    tokenizer = tokenizer_of(config, task, options, folder)
    task = with_shots(task, config, options)
    decode = dataclasses.replace(decode, stop_ids=decoding.stop_ids(config, tokenizer))
    objective = cells.objective_of(name, config, task, decode, tokenizer)
    checks.check_objective(config, objective)
    model = presets.model_of(config, cfg, objective, tokenizer)
    model = dataclasses.replace(model, soft=vectors)
    if lora.rank:
        loras.like(model, lora)  # a target that matches nothing is found here
    tables = constraints.Tables()
    if model.head == "lm":
        decoding.check_size(decode, model.cfg.vocab)
        tables = decoding.tables_of(config, task, decode, objective, tokenizer, model)
    parts = (task, tokenizer, objective, model, options, optim, mesh, decode)
    return Run(config, *parts, tables, lora, mixed)


def parts_of(config: ConfigDict) -> tuple[mixing.Part, ...]:
    """Return the tasks of task "mixture", () for one task alone."""
    mix = config.mix
    if (config.task == mixing.NAME) != bool(mix.tasks):
        raise ValueError(
            f"task={config.task!r} and mix.tasks={tuple(mix.tasks)!r}: a mixture has task="
            f"{mixing.NAME!r} and names its tasks in mix.tasks"
        )
    dirs = tuple(mix.dirs) or ("",) * len(mix.tasks)
    if len(dirs) != len(mix.tasks):
        raise ValueError(
            f"mix.dirs={dirs!r} takes a folder for each of the {len(mix.tasks)} tasks, "
            '"" for one that needs none'
        )
    given = [key for key in ("dir", "format") if mix.tasks and config.data[key]]
    given += [f"files.{s}" for s, f in config.data.files.items() if mix.tasks and f]
    if given or (mix.tasks and config.augment.copies):
        key = f"data.{given[0]}" if given else "augment.copies"
        raise ValueError(
            f"{key} is for one task; a mixture takes mix.dirs, and its data as it is"
        )
    found = []
    for name, folder in zip(mix.tasks, dirs, strict=True):
        one = config.copy_and_resolve_references()
        one.task, one.data.dir, one.data.labels, one.prompt.text = name, folder, (), ""
        options = data_options(one)
        found.append(mixing.Part(name, task_of(one), options))
    return tuple(found)


def task_of(config: ConfigDict) -> task_base.Task:
    """Return the task module's TASK, with labels and prompt of the config."""
    names = schema.modules_of(tasks)
    if config.task not in names:
        near = difflib.get_close_matches(config.task, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"task={config.task!r} is none of the {len(names)} tasks{hint}; see "
            "`lmtasks tasks`"
        )
    task = importlib.import_module(f"{tasks.__name__}.{config.task}").TASK
    if config.data.labels:
        labels = tuple(str(label) for label in config.data.labels)
        task = dataclasses.replace(task, labels=labels)
    if config.prompt.text and not task.prompt:
        raise ValueError(
            f"prompt.text does nothing for task={config.task!r}, whose records hold "
            "whole prompts; leave it unset or change the records"
        )
    if config.prompt.text:
        text = task.prompts.get(config.prompt.text, config.prompt.text)
        task = dataclasses.replace(task, prompt=text)
    if task.samples and task.prompt:
        # A prompt that names a missing field fails here, not in step 1.
        chat.prompt_text(task.example(task.samples[0]), task.prompt)
    return task


def with_shots(task, config: ConfigDict, options) -> task_base.Task:
    """Return the task with config.prompt.shots solved examples before its prompt."""
    count = config.prompt.shots
    if not count:
        return task
    if not task.prompt:
        raise ValueError(
            f"prompt.shots={count} does nothing for task={config.task!r}, whose records "
            "hold whole prompts; set it to 0"
        )
    records = records_of(task, "train", options)
    return shots.with_shots(task, records, count, config.prompt.shots_seed)


def data_options(config: ConfigDict) -> sources.DataOptions:
    """Return the options of the sources."""
    d = config.data
    return sources.DataOptions(
        dir=d.dir,
        files={split: file for split, file in d.files.items() if file},
        fields=dict(d.fields),
        format=d.format,
        on_error=d.on_error,
        seed=config.seed,
        limit=d.limit,
    )


def records_of(task: task_base.Task, split: str, options: sources.DataOptions):
    """Return the records of a split; one the task cannot read is malformed."""
    return sources.open_split(task.source, split, options, check=task.example)


def texts_of(example: kinds.Example, prompt: str, labels=()) -> list[str]:
    """Return all text of an example, for training a tokenizer."""
    if isinstance(example, kinds.Text):
        return [example.text]
    if isinstance(example, kinds.Pair):
        return [example.first, example.second, *example.negatives]
    if isinstance(example, kinds.Choice):
        return [chat.prompt_text(example, prompt), *example.options]
    if isinstance(example, kinds.Labelled):
        label = example.label
        words = [str(label)] if label is not None else []
        return [chat.prompt_text(example, prompt), *words]
    turns = chat.as_turns(example, prompt, labels).turns
    return [turn.text for turn in turns]


def tokenizer_of(config, task, options, folder: str | None) -> tokenizers.Tokenizer:
    """Return the work directory's tokenizer, that of `init`, the one at a path, or a
    trained one; it knows the template's markers.
    """
    template = templates.template_of(config.prompt.template)
    places = [pathlib.Path(f) / "tokenizer" for f in (folder, config.init) if f]
    if token_files.is_folder(config.data.dir) and not config.tokenizer.path:
        places.append(pathlib.Path(config.data.dir) / "tokenizer")
    path = next((str(p) for p in places if p.exists()), config.tokenizer.path)
    published = not path and config.init and reading.is_checkpoint(config.init)
    if path or published:
        found = (
            pretrained.tokenizer_of(config.init) if published else tokenizers.load(path)
        )
        templates.check(template, found)
        names, sentinels = cells.marks_of(config, found)
        missing = [m for m in (*template.special, *names) if m not in found.names]
        if not (missing or sentinels):
            return found
        return tokenizers.extend(found, extra=missing, sentinels=sentinels)
    if template.own:
        raise ValueError(
            "prompt.template='tokenizer' needs a published tokenizer with a chat "
            "template; set tokenizer.path, or use another prompt.template"
        )
    names, sentinels = cells.marks_of(config)
    marks = {"extra": (*template.special, *names), "sentinels": sentinels}
    if config.tokenizer.kind == "byte":
        return tokenizers.train("byte", (), **marks)
    records = records_of(task, "train", options)
    texts = (
        text
        for i in range(len(records))
        for text in texts_of(
            features.read_example(records, i, task.example), task.prompt, task.labels
        )
    )
    texts = itertools.chain(template.texts, texts)
    # A cap, not a demand: small data does not have that many pieces.
    options = tokenizers.Options(exact=False)
    kind, size = config.tokenizer.kind, config.tokenizer.size
    return tokenizers.train(kind, texts, size=size, options=options, **marks)


def buckets_of(config: ConfigDict, length: int) -> tuple[int, ...]:
    """Return the lengths batches are padded to."""
    given = tuple(sorted(b for b in config.data.buckets if b < length))
    return (*given, length) if config.data.buckets else pack.default_buckets(length)
