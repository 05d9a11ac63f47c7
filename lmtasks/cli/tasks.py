"""`lmtasks tasks`: which task trains on which architecture, and by which objective."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import textwrap

from lmtasks import tasks
from lmtasks.cli import common
from lmtasks.data import sources
from lmtasks.types import ARCHITECTURES

HELP = "the tasks, and what trains each on which architecture"
USAGE = """
lmtasks tasks [NAME]

Prints every task with the objective that trains it on an encoder (E), a decoder (D) and
an encoder-decoder (ED): `planned` = not there yet, - = makes no sense. With NAME: the
task's data, prompt and labels, and a record with the example it becomes.

    lmtasks tasks
    lmtasks tasks sst2
"""

# Cells that make sense; those that objectives.base does not support are to come.
SENSIBLE = {
    "Text": ARCHITECTURES,
    "Turns": ("decoder", "encoder_decoder"),
    "Labelled": ARCHITECTURES,
    "Choice": ARCHITECTURES,
    "Tagged": ARCHITECTURES,
    "Span": ARCHITECTURES,
    "Preference": ARCHITECTURES,
    "Pair": ("encoder", "decoder"),
}
# Rows without a task of their own yet: (name, architectures, about).
PLANNED = (
    ("(retrieval)", ("decoder", "encoder_decoder"), "answers from retrieved passages"),
    ("(multimodal)", ("decoder",), "questions about images, captions"),
    ("(preference)", ARCHITECTURES, "tuning by preferences: DPO, reward models"),
)


def main(argv: list[str]) -> int:
    """Print the table, or one task."""
    names = common.parse(common.flag_values(), argv, USAGE)
    common.no_more(names[1:])
    if names:
        _print_task(names[0])
    else:
        _print_table()
    return 0


def task_names() -> list[str]:
    """Return the names of all tasks: the modules of lmtasks.tasks."""
    found = (module.name for module in pkgutil.iter_modules(tasks.__path__))
    return sorted(name for name in found if name != "base")


def cell(kind: str, architecture: str) -> str:
    """Return the objective that trains the kind, "planned" or "-"."""
    from lmtasks.objectives import base as objectives

    planned = "planned" if architecture in SENSIBLE[kind] else "-"
    return objectives.supported(kind, architecture) or planned


def _module(name: str):
    if name not in task_names():
        near = difflib.get_close_matches(name, task_names(), n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise ValueError(f"there is no task {name!r}{hint}; see `lmtasks tasks`")
    return importlib.import_module(f"{tasks.__name__}.{name}")


def _print_table() -> None:
    rows = [("task", "kind", "E", "D", "ED", "about")]
    for name in task_names():
        module = _module(name)
        kind = module.TASK.kind.__name__
        cells = [cell(kind, architecture) for architecture in ARCHITECTURES]
        rows.append((name, kind, *cells, _about(module)))
    for name, sensible, about in PLANNED:
        cells = ["planned" if a in sensible else "-" for a in ARCHITECTURES]
        rows.append((name, "", *cells, about))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        fixed = (text.ljust(width) for text, width in zip(row, widths, strict=False))
        print("  ".join([*fixed, row[-1]]))
    print("\nlmtasks tasks NAME shows one; how to add one is in the README.")


def _about(module) -> str:
    """Return the first line of a task's docstring, without its source."""
    line = module.__doc__.splitlines()[0].partition(" (")[0]
    return textwrap.shorten(line, 52, placeholder=" ..")


def _print_task(name: str) -> None:
    module = _module(name)
    task = module.TASK
    kind = task.kind.__name__
    cells = [f"{cell(kind, a)} on {a}" for a in ARCHITECTURES if cell(kind, a) != "-"]
    metrics = [f"{m.__module__.rpartition('.')[2]}.{m.__name__}" for m in task.metrics]
    sample = task.samples[0]
    facts = {
        "kind": kind,
        "objectives": ", ".join(cells),
        "metrics": ", ".join(metrics) or "those of the objective",
        "prompt": repr(task.prompt) if task.prompt else "the example's own turns",
        "prompts": ", ".join(f"{k} {v!r}" for k, v in task.prompts.items()) or "one",
        "labels": ", ".join(task.labels) or _no_labels(kind),
        "data": _data(task.source),
        "record": repr(sample),
        "example": repr(task.example(sample)),
    }
    print(f"{name}: {module.__doc__.strip()}\n")
    for fact, text in facts.items():
        print(textwrap.fill(f"{fact:11} {text}", 88, subsequent_indent=" " * 12))


def _no_labels(kind: str) -> str:
    found = "found in the training data, or config.data.labels"
    return found if kind in ("Labelled", "Tagged") else "none"


def _data(source: sources.Source) -> str:
    """Return where the records come from, in words."""
    ways = []
    if source.make is not None:
        ways.append("made by the task itself")
    if source.files:
        named = [f"{split}: {file}" for split, file in source.files.items()]
        said = ", ".join(named).replace("*: ", "")
        ways.append(f"config.data.dir with {said}")
    if source.tfds:
        ways.append(f"TFDS {source.tfds}")
    return "; or ".join(ways) or "files of your own: config.data.dir or data.files"
