"""The objective of a run: labels found in its data, and the options of the config."""

from __future__ import annotations

import collections
import dataclasses
import math

from ml_collections import ConfigDict

from lmtasks import schema
from lmtasks.data import examples as kinds
from lmtasks.data import features
from lmtasks.data import templates
from lmtasks.decode import plan
from lmtasks.metrics import regression
from lmtasks.metrics import spans
from lmtasks.objectives import base as objectives
from lmtasks.objectives import choice
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import denoise
from lmtasks.objectives import embed
from lmtasks.objectives import generate
from lmtasks.objectives import mlm
from lmtasks.objectives import rtd
from lmtasks.objectives import span
from lmtasks.objectives import tag
from lmtasks.tasks import base as task_base


def default_objective(task: task_base.Task, config: ConfigDict) -> str:
    """Return what trains the task on the architecture when the config is silent."""
    kind, architecture = task.kind.__name__, config.architecture
    if config.classify.kind in ("regression", "multi") and architecture != "encoder":
        return "generate"  # there is no one label to choose
    return objectives.supported(kind, architecture) or task.objective


def with_kind(task: task_base.Task, config: ConfigDict) -> task_base.Task:
    """Return the task with what its labels are written into config.classify.kind where
    it is not said; a regression is scored as one.
    """
    _set_kind(task, config)
    measures_numbers = set(regression.METRICS) & set(task.metrics)
    if config.classify.kind == "regression" and not measures_numbers:
        return dataclasses.replace(task, metrics=regression.METRICS)
    return task


def _set_kind(task, config: ConfigDict) -> None:
    if task.kind is not kinds.Labelled or config.classify.kind or not task.samples:
        return
    label = task.example(task.samples[0]).label
    if isinstance(label, tuple):
        config.classify.kind = "multi"
    elif isinstance(label, float):
        config.classify.kind = "regression"
    else:
        config.classify.kind = "single"


def needs_labels(task: task_base.Task, config: ConfigDict) -> bool:
    """Return whether the labels of the task are to be found in its training data."""
    if task.labels:
        return False
    if task.kind is kinds.Tagged:
        return True  # what is written names the types of the tags
    return task.kind is kinds.Labelled and config.classify.kind != "regression"


def counted(task, config: ConfigDict, records) -> task_base.Task:
    """Return the task with the labels found in its training records, if it has none;
    they, and the weights that balance them, are stored in config.
    """
    found = _found(task, config, records)
    if needs_labels(task, config):
        task = _with_labels(task, config, found, len(records))
    if tuple(config.classify.weights) == ("balanced",):
        _balance(task, config, found, len(records))
    return task


def _with_labels(task, config: ConfigDict, found, count: int) -> task_base.Task:
    labels = tuple(sorted(found))
    key = "tags" if task.kind is kinds.Tagged else "label"
    if len(labels) < 2:
        raise ValueError(
            f"the training split has {len(labels)} different labels "
            f"({', '.join(labels) or 'none'}); classification needs at least 2: check "
            f"config.data.fields.{key}"
        )
    if len(labels) > max(count // 2, 100):
        raise ValueError(
            f"the training split has {len(labels)} different labels in {count} "
            f"records; this does not look like classes: check config.data.fields.{key}, "
            "or set config.classify.kind=regression where they are numbers"
        )
    config.data.labels = labels
    return dataclasses.replace(task, labels=labels)


def _found(task, config: ConfigDict, records) -> collections.Counter:
    """Return how often each label stands in the records."""
    found: collections.Counter = collections.Counter()
    for i in range(len(records)):
        example = features.read_example(records, i, task.example)
        if task.kind is kinds.Tagged:
            found.update(example.tags)
        elif isinstance(example.label, tuple):
            if config.classify.kind != "multi":
                raise ValueError(
                    f"{records.where(i)}: more than one label "
                    f"({', '.join(example.label)}); set config.classify.kind=multi"
                )
            found.update(example.label)
        elif example.label is not None:
            found[str(example.label)] += 1
    return found


def _balance(task, config: ConfigDict, found, count: int) -> None:
    """Replace config.classify.weights=balanced by a number for each label.

    A class of n_c of the n training examples in C classes weighs n / (C n_c), as in
    scikit-learn; one of several labels (n - n_c) / n_c where it is given, so that both
    answers weigh alike. The numbers are stored.
    """
    total, classes = sum(found.values()), len(task.labels)
    counts = [max(found[label], 1) for label in task.labels]
    if config.classify.kind == "multi":
        weights = [max(count - n, 1) / n for n in counts]
    else:
        weights = [total / (classes * n) for n in counts]
    config.classify.weights = tuple(round(w, 6) for w in weights)


def marks_of(config: ConfigDict, tokenizer=None) -> tuple[tuple[str, ...], int]:
    """Return (special tokens, sentinels) the objective needs that a tokenizer lacks."""
    if config.objective != "denoise":
        return (), 0
    options = schema.typed(denoise.Options, config.denoise)
    kind = denoise.kind_of(options, config.architecture)
    return denoise.lacks(kind, tokenizer)


def objective_of(name: str, config: ConfigDict, task, decode: plan.Decode, tokenizer):
    """Return the objective with its hyper-parameters."""
    setting = objectives.Setting(
        architecture=config.architecture,
        length=config.data.length,
        source_length=config.data.source_length,
        labels=task.labels,
        prompt=task.prompt,
        template=templates.template_of(config.prompt.template),
        label_smoothing=config.loss.label_smoothing,
        z_loss=config.loss.z_loss,
    )
    if name == "clm":
        return clm.Clm(setting, decode)
    if name == "denoise":
        options = schema.typed(denoise.Options, config.denoise)
        return denoise.make(setting, options, decode, tokenizer)
    if name == "generate":
        return generate.Generate(setting, decode)
    if name == "choice":
        return choice.make(setting, config.prompt.label_norm)
    if name == "classify":
        options = schema.typed(classify.Options, config.classify)
        return classify.make(setting, config.prompt.label_norm, options)
    if name == "span":
        return span.Span(setting, _span_options(config, task))
    kind, options = {
        "mlm": (mlm.Mlm, mlm.Options),
        "rtd": (rtd.Rtd, rtd.Options),
        "tag": (tag.Tag, tag.Options),
        "embed": (embed.Embed, embed.Options),
    }[name]
    return kind(setting, schema.typed(options, config[name]))


def _span_options(config: ConfigDict, task) -> span.Options:
    """Return the options; where every question has an answer, "" is none."""
    options = schema.typed(span.Options, config.span)
    if config.span.no_answer is None and spans.squad_v2 not in task.metrics:
        options = dataclasses.replace(options, no_answer=math.inf)
    return options
