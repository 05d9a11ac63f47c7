"""`lmtasks plot`: learning curves of one or many runs as a picture."""

from __future__ import annotations

import difflib
import pathlib

from absl import flags

from lmtasks.cli import common
from lmtasks.rendering import curves
from lmtasks.training import track

HELP = "draw the learning curves of one or many runs"
USAGE = """Draw the learning curves of one or many runs from their metrics.jsonl.

  lmtasks plot WORKDIR... [flags]

One panel a metric, one colour a run; training solid, validation dashed, test dotted.

  --metrics=loss,accuracy   what to draw; default: loss and what was validated
  --to=FILE.png             default: WORKDIR/plots/curves.png of the first run; the
                            ending chooses the format (png, svg, pdf)
  --smooth=0.9              average training curves over about 1 / (1 - 0.9) points
  --log                     logarithmic metric axis

Examples:
  lmtasks plot runs/sst2
  lmtasks plot runs/lr3e-4 runs/lr1e-3 --metrics=loss,grad_norm --smooth=0.95 --log
"""

MOST_PANELS = 6
Rows = list[dict]


def main(argv: list[str]) -> int:
    """Draw, and print where the picture is."""
    fv = common.flag_values()
    flags.DEFINE_list("metrics", [], "what to draw", flag_values=fv)
    flags.DEFINE_string("to", "", "file to write", flag_values=fv)
    flags.DEFINE_float("smooth", 0.0, "weight of the past, below 1", flag_values=fv)
    flags.DEFINE_bool("log", False, "logarithmic metric axis", flag_values=fv)
    folders = [pathlib.Path(name) for name in common.parse(fv, argv, USAGE)]
    if not folders:
        raise ValueError(
            "plot needs at least one work directory: lmtasks plot WORKDIR..."
        )
    if not 0 <= fv.smooth < 1:
        raise ValueError(f"--smooth={fv.smooth} must be at least 0 and below 1.")
    runs = dict(zip(track.short_names(folders), map(_rows, folders)))
    chosen = _chosen(fv.metrics, runs)
    picture, lost = curves.draw(runs, chosen, smooth=fv.smooth, log=fv.log)
    to = pathlib.Path(fv.to) if fv.to else folders[0] / "plots" / "curves.png"
    to.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(to, dpi=150)
    if lost:
        print(f"{lost} values that are not finite are left out")
    print(to)
    return 0


def _rows(folder: pathlib.Path) -> Rows:
    path = folder / track.NAME
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {track.NAME}; give work directories that `lmtasks train` "
            "wrote."
        )
    rows = track.read(path)
    if not rows:
        raise ValueError(f"{path} has no rows yet; wait for the first logged step.")
    return rows


def _measured(rows: Rows) -> dict[str, set[str]]:
    """Metric -> the splits it was measured on, in order of appearance."""
    found = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and curves.is_number(value):
                found.setdefault(name, set()).add(str(row.get("split", "train")))
    return found


def _chosen(names: list[str], runs: dict[str, Rows]) -> list[str]:
    measured = _measured([row for rows in runs.values() for row in rows])
    for name in names:
        if name not in measured:
            near = difflib.get_close_matches(name, measured, n=3, cutoff=0.0)
            raise ValueError(
                f"--metrics: {name!r} is in none of the runs; the nearest are "
                f"{', '.join(near)}."
            )
    if names:
        return list(dict.fromkeys(names))
    first = ["loss"] if "loss" in measured else []
    judged = [n for n, splits in measured.items() if splits - {"train"}]
    found = list(dict.fromkeys([*first, *judged])) or list(measured)
    return found[:MOST_PANELS]
