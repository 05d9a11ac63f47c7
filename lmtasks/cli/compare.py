"""`lmtasks compare`: is one run better than another?"""

from __future__ import annotations

import dataclasses
import json
import pathlib

from absl import flags

from lmtasks.cli import common
from lmtasks.rendering import text

HELP = "whether one run is better than another, example by example"
USAGE = """
lmtasks compare RUN RUN... [--split=validation] [--metrics=accuracy,loss] [flags]

Compares runs that `lmtasks eval` scored on the same examples with the first one. Runs
whose configs differ in the seed alone are one system. Says the difference, its 95%
interval (paired bootstrap), whether it is chance (approximate randomization over
examples, corrected for all comparisons by Holm; McNemar for right or wrong; a t-test
over seeds), and the smallest difference that this many examples can show.

  --by=FIELD         the same for groups of examples: length, label, or a short field of
                     the records
  --changed=N        N examples of each side that one system has better than the other
  --resamples=10000  of the bootstrap and of the randomization
  --apart            take every run for a system of its own
  --json=FILE        everything, for a program

    lmtasks compare runs/pre-0 runs/pre-1 runs/post-0 runs/post-1 --by=length
"""
# Scores that are shown unless some are named.
_SHOWN = 4


def main(argv: list[str]) -> int:
    """Print what the runs' scores say."""
    fv = common.flag_values()
    flags.DEFINE_string("split", "validation", "what was scored", flag_values=fv)
    flags.DEFINE_list("metrics", [], "scores to compare", flag_values=fv)
    flags.DEFINE_string("by", "", "field to group by", flag_values=fv)
    flags.DEFINE_integer("changed", 0, "examples to show", flag_values=fv)
    flags.DEFINE_integer("resamples", 10_000, "how many", flag_values=fv)
    flags.DEFINE_bool("apart", False, "no grouping of seeds", flag_values=fv)
    flags.DEFINE_string("json", "", "file to write", flag_values=fv)
    folders = common.parse(fv, argv, USAGE)
    if len(folders) < 2:
        raise ValueError("compare needs two runs or more: lmtasks compare RUN RUN...")
    if fv.resamples < 100:
        raise ValueError(f"--resamples={fv.resamples} must be at least 100")
    from lmtasks.studies import compare
    from lmtasks.studies import groups as grouping
    from lmtasks.studies import remarks

    found = compare.systems(folders, fv.split, apart=fv.apart)
    if len(found) < 2:
        raise ValueError(
            "all these runs are seeds of one config; name runs of another too, or say "
            "--apart"
        )
    metrics = compare.metrics_of(found, fv.metrics)
    if not fv.metrics:  # the task's first, and the loss
        loss = ["loss"] if "loss" in metrics[_SHOWN:] else []
        metrics = metrics[: _SHOWN - len(loss)] + loss
    groups = grouping.of(found[0].scores[0], fv.by) if fv.by else None
    rows = compare.table(found, metrics, count=fv.resamples)
    parts = []
    if groups:
        parts = compare.table(found, metrics[:1], count=fv.resamples, groups=groups)
    changed = {}
    if fv.changed:
        changed = {
            other.name: compare.changes(found[0], other, metrics[0])
            for other in found[1:]
        }
    print("\n".join(_said(found, metrics, rows, parts, fv)))
    notes = remarks.of(found, apart=fv.apart)
    for note in notes:
        print(f"{note[0].upper()}{note[1:]}.")
    for name, changes in changed.items():
        print("\n".join(_changed(found[0].name, name, metrics[0], changes, fv.changed)))
    if fv.json:
        _write(fv.json, found, metrics, [*rows, *parts], changed, notes)
    return 0


def _said(found, metrics, rows, parts, fv) -> list[str]:
    """Return what is printed of systems and comparisons."""
    one = found[0].scores[0]
    lines = [f"{len(one.examples):,} examples of {one.task} {one.split}", ""]
    head = ["system", "seeds", *metrics]
    body = [
        [system.name, str(len(system.seeds)), *[_value(system, m) for m in metrics]]
        for system in found
    ]
    lines += text.columns([head, *body])
    lines += ["", *text.columns(_comparisons(rows, "compared"))]
    if parts:
        lines += ["", *text.columns(_comparisons(parts, f"by {fv.by}"))]
    smallest = {}
    for row in rows:
        smallest.setdefault(row.metric, row.paired.smallest)
    said = ", ".join(f"{k} {v:.2g}" if v else f"{k} -" for k, v in smallest.items())
    lines += [
        "",
        f"The smallest difference these examples show in four of five tries: {said}.",
        f"{fv.resamples:,} resamples; p by approximate randomization; Holm's correction "
        f"over {len(rows)}" + (f", and over {len(parts)} groups." if parts else "."),
    ]
    if any(row.paired.p_seeds is not None for row in rows):
        lines.append(
            "p asks whether these trained models differ, over seeds whether their recipes "
            "do."
        )
    return lines


def _value(system, metric: str) -> str:
    """Return the mean of a score over seeds, and its deviation."""
    values = system.values(metric)
    spread = f" +- {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{spread}"


def _comparisons(rows, title: str) -> list[list[str]]:
    head = [title, "score", "difference", "95% interval", "p", "Holm"]
    exact = any(row.paired.p_exact is not None for row in rows)
    seeds = any(row.paired.p_seeds is not None for row in rows)
    head += ["McNemar"] * exact + ["over seeds"] * seeds + ["verdict"]
    table = [head]
    for row in rows:
        p = row.paired
        name = f"{row.group} ({row.count}): " if row.group else ""
        line = [f"{name}{row.b} - {row.a}", row.metric, f"{p.difference:+.4f}"]
        line += [f"[{p.low:+.4f}, {p.high:+.4f}]", _chance(p.p), _chance(row.holm)]
        line += [_chance(p.p_exact)] * exact + [_chance(row.holm_seeds)] * seeds
        table.append([*line, row.verdict])
    return table


def _chance(p: float | None) -> str:
    if p is None:
        return "-"
    return "<.0001" if p < 1e-4 else f"{p:.4f}"


def _changed(a: str, b: str, metric: str, changes, count: int) -> list[str]:
    """Return the examples that gain and lose most, side by side."""
    better = [one for one in changes if one.gain > 0]
    worse = [one for one in changes if one.gain < 0][::-1]
    lines = []
    for title, some in (("higher", better), ("lower", worse)):
        lines += ["", f"{metric} {title} with {b} than with {a}: {len(some)} examples"]
        for one in some[:count]:
            lines.append(f"  {one.example['text'][-160:]!r}")
            if one.example["target"] is not None:
                lines.append(f"    target  {one.example['target'][:120]!r}")
            if any(one.said):
                lines.append(f"    {a}: {one.said[0][:120]!r}")
                lines.append(f"    {b}: {one.said[1][:120]!r}")
    return lines


def _write(file: str, found, metrics, rows, changed, notes) -> None:
    """Write all there is as json."""
    out = {
        "systems": [
            {
                "name": system.name,
                "runs": list(system.folders),
                "seeds": list(system.seeds),
                "scores": {m: system.values(m).tolist() for m in metrics},
            }
            for system in found
        ],
        "comparisons": [dataclasses.asdict(r) | {"verdict": r.verdict} for r in rows],
        "notes": notes,
        "changed": {k: [dataclasses.asdict(c) for c in v] for k, v in changed.items()},
    }
    pathlib.Path(file).write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")
