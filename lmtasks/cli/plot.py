"""`lmtasks plot`: learning curves of one or many runs as a picture."""

from __future__ import annotations

import difflib
import math
import pathlib

from absl import flags
from matplotlib import figure
from matplotlib import lines
from matplotlib import ticker

from lmtasks.cli import common
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
STYLES = {"train": "-", "validation": "--", "test": ":"}
MARKERS = {"train": ".", "validation": "o", "test": "D"}
# Okabe and Ito, 2008: told apart by colour-blind readers too.
COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
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
    picture, lost = draw(runs, chosen, smooth=fv.smooth, log=fv.log)
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


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _measured(rows: Rows) -> dict[str, set[str]]:
    """Metric -> the splits it was measured on, in order of appearance."""
    found = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and _is_number(value):
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


def _smoothed(values: list[float], weight: float) -> list[float]:
    """The running mean whose past weighs `weight`, unbiased from its first value."""
    total, mass, means = 0.0, 0.0, []
    for value in values:
        total = weight * total + (1 - weight) * value
        mass = weight * mass + (1 - weight)
        means.append(total / mass)
    return means


def draw(
    runs: dict[str, Rows], metrics: list[str], *, smooth: float = 0.0, log: bool = False
) -> tuple[figure.Figure, int]:
    """Return (a figure with one panel a metric, how many values could not be drawn).

    Args:
        runs: name -> rows of metrics.jsonl.
        metrics: the panels.
        smooth: weight of the past in the mean over a training curve, below 1.
        log: logarithmic metric axes; what is not above 0 is left out.
    """
    columns = min(len(metrics), 3)
    lines_of_panels = math.ceil(len(metrics) / columns)
    size = (max(5.0 * columns, 6.0), 3.6 * lines_of_panels + 0.6)
    picture = figure.Figure(figsize=size, layout="constrained")
    panels = picture.subplots(lines_of_panels, columns, squeeze=False).ravel()
    seen, lost = set(), 0
    for panel, metric in zip(panels, metrics):
        for i, rows in enumerate(runs.values()):
            for split, points in _curves(rows, metric).items():
                good = [
                    (x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)
                ]
                lost += len(points) - len(good)
                seen.add(split)
                _curve(panel, good, split, COLORS[i % len(COLORS)], smooth)
        _dress(panel, metric, log)
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    _legend(picture, list(runs), seen)
    return picture, lost


def _curves(rows: Rows, metric: str) -> dict[str, list[tuple[int, float]]]:
    """Split -> (step, value) of one metric, by rising step."""
    found = {}
    for row in rows:
        if _is_number(row.get(metric)):
            split = str(row.get("split", "train"))
            found.setdefault(split, []).append((row["step"], row[metric]))
    return {split: sorted(points) for split, points in found.items()}


def _curve(panel, points, split: str, color: str, smooth: float):
    steps, values = [x for x, _ in points], [y for _, y in points]
    style = {"color": color, "linestyle": STYLES.get(split, "-."), "linewidth": 1.6}
    if split == "train":
        if smooth:
            panel.plot(steps, values, color=color, linewidth=0.6, alpha=0.25)
            values = _smoothed(values, smooth)
        elif len(points) > 200:
            style |= {"linewidth": 0.8, "alpha": 0.6}
    else:
        # Above the noise of training.
        style["zorder"] = 3
    if len(points) < 40 and split != "train" or len(points) == 1:
        style |= {"marker": MARKERS.get(split, "o"), "markersize": 4}
    panel.plot(steps, values, **style)


def _dress(panel, metric: str, log: bool):
    panel.set_title(metric.replace("_", " "), loc="left", fontsize=11)
    panel.set_xlabel("step")
    panel.grid(color="#dddddd", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(
        ticker.MaxNLocator(6, integer=True, steps=[1, 2, 5, 10])
    )
    panel.xaxis.set_major_formatter(ticker.FuncFormatter(_short))
    if log:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(ticker.NullFormatter())


def _short(step: float, _) -> str:
    """12000 as 12k, 1500000 as 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(step) >= size:
            return f"{step / size:g}{letter}"
    return f"{step:g}"


def _legend(picture: figure.Figure, names: list[str], splits: set[str]):
    """Runs by colour and splits by line style, each said once, below the panels."""
    entries = [
        lines.Line2D([], [], color=COLORS[i % len(COLORS)], label=name)
        for i, name in enumerate(names)
    ]
    for split in [*STYLES, *sorted(splits - STYLES.keys())]:
        if split in splits:
            style = {"color": "#666666", "linestyle": STYLES.get(split, "-.")}
            style["marker"] = None if split == "train" else MARKERS.get(split, "o")
            entries.append(lines.Line2D([], [], markersize=4, label=split, **style))
    columns = min(len(entries), 4)
    picture.legend(
        handles=entries, loc="outside lower center", ncols=columns, frameon=False
    )
