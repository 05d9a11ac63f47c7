"""A study as a table: what each variant scores, costs, and whether it differs."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Sequence

import numpy as np

from lmtasks.studies import compare
from lmtasks.studies import remarks
from lmtasks.studies import runner
from lmtasks.studies import scores
from lmtasks.studies import statistics
from lmtasks.training import files


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
        parameters: of its model.
        tokens: read in training, padding included. tflops: of the products, 1e12.
        seconds: of the training steps. The first step of each start, which compiles,
            is left out of all three.
    """

    parameters: int
    tokens: float
    tflops: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Study:
    """All that a report shows.

    Attributes:
        root: the folder. split: what was scored.
        systems: the first is what the others are compared with.
        metrics: the scores shown. keys: of the config in which systems differ.
        rows: the comparisons. costs: of every run, by folder.
        curves: rows of metrics.jsonl of every run, by folder.
        notes: runs that are not scored, or not at their end; seeds that are missing.
        commands: one a run. evaluations: what then gives the scores of each.
    """

    root: str
    split: str
    systems: list[compare.System]
    metrics: list[str]
    keys: list[str]
    rows: list[compare.Row]
    costs: dict[str, Cost]
    curves: dict[str, list[dict]]
    notes: list[str]
    commands: list[str]
    evaluations: list[str]


def read(
    root: str,
    split: str,
    *,
    metrics: Sequence[str] = (),
    baseline: str = "",
    count: int = statistics.RESAMPLES,
) -> Study:
    """Return what lies in the work directories below a folder.

    Args:
        root: of a sweep, or any folder of work directories.
        split: what they were scored on. metrics: "" = the task's first and its loss.
        baseline: the system all others are compared with; "" = the first.
        count: resamples.

    Raises:
        ValueError: no finished runs, or runs that cannot be paired.
    """
    found = sorted(path.parent for path in pathlib.Path(root).glob("*/config.json"))
    if not found:
        raise ValueError(
            f"{root} holds no work directories; give the folder of a sweep (lmtasks "
            "sweep --workdir=...)"
        )
    done = [one for one in found if scores.path_of(str(one), split).exists()]
    notes = [
        f"{one.name} is not scored on {split} ({runner.state_of(one).kind}), left out"
        for one in found
        if one not in done
    ]
    if not done:
        raise ValueError(
            f"none of the {len(found)} runs of {root} is scored on {split}; run lmtasks "
            f"eval --workdir={found[0]} --split={split}, or the sweep to its end"
        )
    systems = compare.systems([str(one) for one in sorted(done, key=_place)], split)
    systems = _first(systems, baseline)
    notes += remarks.of(systems)
    shown = compare.metrics_of(systems, metrics)
    if not metrics:
        shown = [*shown[:1], *(["loss"] if "loss" in shown[1:] else [])]
    folders = [folder for one in systems for folder in one.folders]
    curves = {folder: runner.rows_of(pathlib.Path(folder)) for folder in folders}
    return Study(
        root,
        split,
        systems,
        shown,
        _keys(systems),
        compare.table(systems, shown, count=count) if len(systems) > 1 else [],
        {folder: _cost(folder, curves[folder]) for folder in folders},
        curves,
        notes,
        [_command(folder) for folder in folders],
        [
            _evaluation(one, i, split)
            for one in systems
            for i in range(len(one.folders))
        ],
    )


def _place(folder: pathlib.Path) -> tuple[int, str]:
    """Return where a run stands in its sweep, then by name."""
    plan = runner.plan_of(folder)
    return (plan.get("index", 0) if plan else 0, folder.name)


def _first(systems: list[compare.System], name: str) -> list[compare.System]:
    names = [one.name for one in systems]
    if name and name not in names:
        raise ValueError(f"--baseline={name!r} is none of {', '.join(names)}")
    return sorted(systems, key=lambda one: one.name != name) if name else systems


def _keys(systems: list[compare.System]) -> list[str]:
    """Return the keys in which the systems' configs differ."""
    first, found = systems[0].config, {}
    for one in systems[1:]:
        found |= files.differences(first, one.config)
    return [key for key in found if key != "train.stop_at"]


def value_of(config: dict, key: str):
    """Return the value of a dotted key."""
    for part in key.split("."):
        config = config.get(part, {}) if isinstance(config, dict) else {}
    return config


def _cost(folder: str, rows: list[dict]) -> Cost:
    table = pathlib.Path(folder) / "params.txt"
    total = re.search(r"^total\s+([\d,]+)", table.read_text(), re.MULTILINE)
    steps = [row for row in rows if row["split"] == "train" and "tokens" in row]
    tokens = sum(row["tokens"] for row in steps)
    seconds = sum(row["tokens"] / row["tokens_per_s"] for row in steps)
    flops = sum(row["tflops"] for row in steps)
    return Cost(int(total[1].replace(",", "")) if total else 0, tokens, flops, seconds)


def _command(folder: str) -> str:
    plan = runner.plan_of(pathlib.Path(folder))
    if plan and "command" in plan:
        return plan["command"]
    file = pathlib.Path(folder) / "command.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return lines[0] if lines else f"# {folder}: no command.txt"


def _evaluation(system: compare.System, i: int, split: str) -> str:
    """Return the command that scores run i of a system as the table has it."""
    folder = pathlib.Path(system.folders[i])
    plan, step = runner.plan_of(folder) or {}, system.scores[i].step
    found = re.search(r"--workdir=(\S+)", _command(str(folder)))
    place = found[1] if found else shlex.quote(f"runs/{folder.name}")
    words = f"lmtasks eval --workdir={place} --split={split}"
    if step == system.config["train"]["steps"]:
        return words
    best = "step" in plan and plan["step"] == "best"
    return f"{words} --step={'best' if best else step}"


def header(study: Study) -> list[str]:
    """Return the names of the table's columns."""
    first = study.metrics[0]
    return [
        "variant",
        *study.keys,
        "seeds",
        "parameters",
        *study.metrics,
        *([f"{first}: difference, 95%", "p (Holm)", "verdict"] if study.rows else []),
        "Mtokens",
        "TFLOPs",
        "seconds",
    ]


def lines(study: Study) -> list[list[str]]:
    """Return a row of cells for each system."""
    out = []
    rows = {row.b: row for row in study.rows if row.metric == study.metrics[0]}
    for system in study.systems:
        costs = [study.costs[folder] for folder in system.folders]
        cells = [system.name]
        cells += [_short(value_of(system.config, key)) for key in study.keys]
        cells += [str(len(system.seeds)), f"{costs[0].parameters:,}"]
        cells += [_mean(system.values(metric)) for metric in study.metrics]
        if study.rows:
            cells += _against(rows.get(system.name))
        cells += [f"{np.mean([c.tokens for c in costs]) / 1e6:.3g}"]
        cells += [f"{np.mean([c.tflops for c in costs]):.3g}"]
        out.append([*cells, f"{np.mean([c.seconds for c in costs]):.1f}"])
    return out


def _short(value) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else f"{text[:10]}...{text[-10:]}"


def _mean(values: np.ndarray) -> str:
    spread = f" \N{PLUS-MINUS SIGN} {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{spread}"


def _against(row: compare.Row | None) -> list[str]:
    if row is None:
        return ["", "", "compared with"]
    p = row.paired
    said = f"{p.difference:+.4f} [{p.low:+.4f}, {p.high:+.4f}]"
    chance = f"{row.holm:.4f}"
    if row.holm_seeds is not None:
        chance += f", seeds {row.holm_seeds:.4f}"
    return [said, chance, row.verdict]


def _others(study: Study, metric: str) -> str:
    """Return what is known of the other systems in a further score."""
    said = []
    for row in study.rows:
        if row.metric == metric:
            change, chance, verdict = _against(row)
            said.append(f"{row.b} {change}, p {chance}, {verdict}")
    return "; ".join(said)


def facts(study: Study) -> list[str]:
    """Return what is said below the table."""
    one = study.systems[0].scores[0]
    out = [
        f"{len(one.examples):,} examples of {one.task} {one.split}, each scored for all runs."
    ]
    if study.rows:
        least = {}
        for row in study.rows:
            least.setdefault(row.metric, row.paired.smallest)
        shown = ", ".join(f"{name} {v:.2g}" for name, v in least.items() if v)
        out.append(
            f"Differences are from {study.systems[0].name}: intervals by the paired "
            "bootstrap over examples, widened by what seeds scatter, p by approximate "
            "randomization over examples and, where there are seeds, by a t-test over "
            f"them; corrected for all {len(study.rows)} comparisons by Holm."
        )
        for metric in study.metrics[1:]:
            out.append(f"{metric}: {_others(study, metric)}.")
        if shown:
            out.append(
                f"The smallest difference these examples show in four of five tries: {shown}."
            )
    out.append(
        "Costs are means over seeds: tokens read in training with padding, FLOPs of its "
        "products, seconds of its steps; the first step of each start and steps "
        "that a stop kept from being logged are left out."
    )
    return out + [f"{note[0].upper()}{note[1:]}." for note in study.notes]
