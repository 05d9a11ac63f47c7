"""The task of a config, or those of a mixture, and their data."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import importlib
import os

from ml_collections import ConfigDict

from lmtasks import mixing
from lmtasks import schema
from lmtasks import shots
from lmtasks import tasks
from lmtasks.data import chat
from lmtasks.data import sources
from lmtasks.tasks import base as task_base


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


def parts_of(config: ConfigDict, folder: str | None = None) -> tuple[mixing.Part, ...]:
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
    _check_mix(config)
    found, names = [], collections.Counter()
    for name, place in zip(mix.tasks, dirs, strict=True):
        one = config.copy_and_resolve_references()
        one.task, one.data.dir = name, place
        names[name] += 1
        called = name if names[name] == 1 else f"{name}_{names[name]}"
        options = data_options(one, folder, called)
        found.append(mixing.Part(called, task_of(one), options))
    return tuple(found)


def _check_mix(config: ConfigDict) -> None:
    """Raise ValueError for keys that do nothing with a mixture, or without one."""
    mix, data = config.mix, config.data
    if not mix.tasks:
        idle = [key for key in ("dirs", "rates", "limit") if mix[key]]
        idle += ["temperature"] if mix.temperature != 1 else []
        if idle:
            raise ValueError(f"mix.{idle[0]} does nothing without mix.tasks; unset it")
        return
    given = [f"data.{key}" for key in ("dir", "format", "labels") if data[key]]
    given += [f"data.files.{split}" for split, file in data.files.items() if file]
    given += ["augment.copies"] if config.augment.copies else []
    given += ["prompt.text"] if config.prompt.text else []
    if given:
        raise ValueError(
            f"{given[0]} is for one task; a mixture takes mix.dirs, and each task's data "
            "and prompt as they are"
        )
    if mix.rates and (mix.limit or mix.temperature != 1):
        raise ValueError(
            f"mix.rates={tuple(mix.rates)!r} are fixed; leave mix.temperature and "
            "mix.limit, or mix.rates"
        )


def with_shots(task, config: ConfigDict, options) -> task_base.Task:
    """Return the task with config.prompt.shots solved examples before its prompt; a
    text ends where the model would write the next one.
    """
    count, order = config.prompt.shots, config.prompt.shots_order
    if not task.prompt:
        raise ValueError(
            f"prompt.shots={count} does nothing for task={config.task!r}, whose records "
            "hold whole prompts; set it to 0"
        )
    records = records_of(task, "train", options)
    found = shots.with_shots(task, records, count, config.prompt.shots_seed, order)
    if not config.decode.stop:
        config.decode.stop = found.decode["stop"]
    return found


def data_options(
    config: ConfigDict, folder: str | None = None, part: str = ""
) -> sources.DataOptions:
    """Return the options of the sources of a run, or of one part of its mixture.

    Malformed records are set apart in the work directory's folder quarantine; without
    a work directory they are only counted.
    """
    d = config.data
    apart = os.path.join(folder, "quarantine", part) if folder else ""
    return sources.DataOptions(
        dir=d.dir,
        files={split: file for split, file in d.files.items() if file},
        fields=dict(d.fields),
        format=d.format,
        on_error=d.on_error,
        seed=config.seed,
        limit=d.limit,
        quarantine=apart,
    )


def records_of(task: task_base.Task, split: str, options: sources.DataOptions):
    """Return the records of a split; one the task cannot read is malformed."""
    return sources.open_split(task.source, split, options, check=task.example)
