"""Suites: several tasks with one config, and one table of their scores."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from ml_collections import ConfigDict

from lmtasks import schema


@dataclasses.dataclass(frozen=True)
class Member:
    """One task of a suite.

    Attributes:
        task: module of lmtasks.tasks.
        scores: its metrics; their mean is the task's score.
        folder: where the suite's own download has the task.
        splits: that are scored; the mean of them counts.
        files: config keys that the files of that folder need.
    """

    task: str
    scores: tuple[str, ...] = ("accuracy",)
    folder: str = ""
    splits: tuple[str, ...] = ("validation",)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


_SST2 = {
    "data.files.validation": "dev.tsv",
    "data.fields.sentence": "sentence",
    "data.fields.label": "label",
}
_PAIR = ("accuracy", "f1")
# The nine tasks and their scores as Wang et al., 2019 (arXiv:1804.07461) define them.
GLUE = (
    Member("cola", ("mcc",), "CoLA"),
    Member("sst2", folder="SST-2", files=_SST2),
    Member("mrpc", _PAIR, "MRPC"),
    Member("stsb", ("pearson", "spearman"), "STS-B"),
    Member("qqp", _PAIR, "QQP"),
    Member("mnli", folder="MNLI", splits=("validation", "validation_mismatched")),
    Member("qnli", folder="QNLI"),
    Member("rte", folder="RTE", files={"data.files.validation": "dev.tsv"}),
    Member("wnli", folder="WNLI"),
)
SUITES = {"glue": GLUE}


def members(name: str) -> tuple[Member, ...]:
    """Return the tasks of a suite."""
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"--suite={name!r} is not one of {', '.join(SUITES)}{hint}")
    return SUITES[name]


def config_of(config: ConfigDict, member: Member) -> ConfigDict:
    """Return the config of one task of a suite.

    Its data lies in the member's folder of data.dir, or in the folder there that is
    named as the task, or is what TFDS has prepared. What the config says of another
    task's labels, prompt, objective and kind is left out.
    """
    out = config.copy_and_resolve_references()
    out.task, out.objective, out.classify.kind = member.task, "", ""
    out.data.labels, out.prompt.text = (), ""
    root = config.data.dir
    if not root:
        return out
    names = [n for n in (member.folder, member.task) if n]
    found = [n for n in names if os.path.isdir(os.path.join(root, n))]
    if not found:
        raise ValueError(
            f"data.dir={root!r} holds neither {' nor '.join(names)}; a suite's data lies "
            "in a folder per task, or in TFDS (leave data.dir unset)"
        )
    out.data.dir = os.path.join(root, found[0])
    if found[0] == member.folder:
        for key, value in member.files.items():
            schema.override(out, key, value)
    return out


def folder_of(workdir: str, member: Member) -> str:
    """Return the work directory of one task of a suite."""
    return os.path.join(workdir, member.task)


def train(name: str, config: ConfigDict, workdir: str) -> bool:
    """Train every task of a suite in a folder of its own; what is finished is skipped
    by resuming it. Return False when preempted.
    """
    from lmtasks.training import loop

    # Every config is checked for its data before the first task takes its time.
    configs = [(member, config_of(config, member)) for member in members(name)]
    for number, (member, one) in enumerate(configs, 1):
        print(f"{name} {number} of {len(configs)}: {member.task}", flush=True)
        if loop.train(one, folder_of(workdir, member)).stopped == "preempted":
            return False
    return True


def evaluate(name: str, workdir: str, load: Callable) -> dict:
    """Return {task: {split: {metric: value}}} of the tasks of a suite that are trained.

    Args:
        name: of the suite. workdir: that it was trained in.
        load: work directory -> api.Loaded.
    """
    from lmtasks import api

    found = {}
    for member in members(name):
        folder = folder_of(workdir, member)
        if os.path.isdir(folder):
            loaded = load(folder)
            found[member.task] = {
                split: api.evaluate(loaded, split)[0] for split in member.splits
            }
    if not found:
        raise ValueError(
            f"{workdir} holds no task of the suite {name}; train it there first: "
            f"lmtasks train --suite={name} --workdir={workdir} --config=..."
        )
    return found


def score(member: Member, found: Mapping[str, Mapping[str, float]]) -> float:
    """Return the score of a task, 0-100, from {split: {metric: value}}."""
    values = [found[split][name] for split in member.splits for name in member.scores]
    return 100 * sum(values) / len(values)


def table(
    name: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Sequence[str]:
    """Return the lines of the table of {task: {split: {metric: value}}}.

    The last line is the mean over the tasks that are there; it says so where some of
    the suite are missing.
    """
    there = [member for member in members(name) if member.task in found]
    rows, scores = [("task", "metrics", "values", "score")], []
    for member in there:
        splits = found[member.task]
        values = [
            f"{100 * splits[s][m]:.1f}" for s in member.splits for m in member.scores
        ]
        scores.append(score(member, splits))
        names = "/".join(
            m if s == "validation" else f"{m} ({s})"
            for s in member.splits
            for m in member.scores
        )
        rows.append((member.task, names, "/".join(values), f"{scores[-1]:.1f}"))
    missing = [m.task for m in members(name) if m.task not in found]
    mean = f"{sum(scores) / len(scores):.1f}" if scores else "-"
    rows.append((f"{name} average", "", "", mean))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]
    if missing:
        lines.append(
            f"of {len(there)} of {len(members(name))} tasks; without {', '.join(missing)}"
        )
    return lines
