"""The only reader of ConfigDict: config sections to typed objects, checked.

Everything a user can get wrong in a config is found here, before the first compile.
"""

from __future__ import annotations

import dataclasses
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
from lmtasks import taskdata
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
from lmtasks.training import guard as guards
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
        parts: the tasks of a mixture; () = the task is one. guard: as named.
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
    guard: guards.Options = guards.Options()


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
    mixed = taskdata.parts_of(config, folder)
    task = (
        mixing.task_of(mixed, config.eval.limit) if mixed else taskdata.task_of(config)
    )
    task = cells.with_kind(task, config)
    name = config.objective or cells.default_objective(task, config)
    objectives.check_cell(name, task.kind.__name__, config.architecture)
    config.objective = name
    options = taskdata.data_options(config, folder)
    if mixed:  # the limit is that of each part
        options = dataclasses.replace(options, limit=0)
    decoding.resolve(config, task)
    decode = decoding.plan_of(config)
    optim = schema.typed(optimizers.Optim, config.optim)
    mesh = schema.typed(parallel.Parallel, config.parallel)
    guard = schema.typed(guards.Options, config.guard)
    lora, vectors = (
        schema.typed(loras.Lora, config.lora),
        schema.typed(soft.Soft, config.soft),
    )
    cfg = presets.shape_of(config)  # checked before any data is read
    optimizers.schedule(optim, config.train.steps)
    labelled = task.kind is kinds.Labelled
    balanced = labelled and tuple(config.classify.weights) == ("balanced",)
    if cells.needs_labels(task, config) or balanced:
        records = taskdata.records_of(task, "train", options)
        task = cells.counted(task, config, records)
    tokenizer = tokenizer_of(config, task, options, folder)
    if config.prompt.shots:
        task = taskdata.with_shots(task, config, options)
        decode = decoding.plan_of(config)  # ends where another shot would begin
    decode = dataclasses.replace(decode, stop_ids=decoding.stop_ids(config, tokenizer))
    objective = cells.objective_of(name, config, task, decode, tokenizer)
    checks.check_objective(config, name, objective)
    model = presets.model_of(config, cfg, objective, tokenizer)
    model = dataclasses.replace(model, soft=vectors)
    if lora.rank:
        loras.like(model, lora)  # a target that matches nothing is found here
    tables = constraints.Tables()
    if model.head == "lm":
        decoding.check_size(decode, model.cfg.vocab)
        tables = decoding.tables_of(config, task, decode, objective, tokenizer, model)
    parts = (task, tokenizer, objective, model, options, optim, mesh, decode)
    return Run(config, *parts, tables, lora, mixed, guard)


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
    prepared = filter(token_files.is_folder, (config.data.dir, *config.mix.dirs))
    if not config.tokenizer.path:
        places += [pathlib.Path(where) / "tokenizer" for where in prepared]
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
    records = taskdata.records_of(task, "train", options)
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
