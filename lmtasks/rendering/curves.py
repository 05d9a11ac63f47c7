"""Learning curves as pictures: one colour a run, or a system of several seeds."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import figure
from matplotlib import lines
from matplotlib import ticker

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


def is_number(value) -> bool:
    """Return whether a value of a row can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool)


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
        if is_number(row.get(metric)):
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


def draw_bands(systems: dict[str, list[Rows]], metrics: list[str]) -> figure.Figure:
    """Return a figure with one panel a metric: the mean over seeds, and their range.

    Args:
        systems: name -> rows of metrics.jsonl of each seed.
        metrics: the panels; of the evaluations where there are any.
    """
    size = (5.0 * len(metrics), 4.2)
    picture = figure.Figure(figsize=size, layout="constrained")
    panels = picture.subplots(1, len(metrics), squeeze=False).ravel()
    seen = set()
    for panel, metric in zip(panels, metrics, strict=True):
        for i, seeds in enumerate(systems.values()):
            split, steps, low, mean, high = _band(seeds, metric)
            color = COLORS[i % len(COLORS)]
            _curve(panel, list(zip(steps, mean, strict=True)), split, color, 0.0)
            panel.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
            seen.add(split)
        _dress(panel, metric, log=False)
    _legend(picture, list(systems), seen)
    return picture


def _band(seeds: list[Rows], metric: str):
    """Return (split, steps, lowest, mean, highest) at the steps all seeds have."""
    found = [_curves(rows, metric) for rows in seeds]
    splits = [name for name in found[0] if name != "train"] or list(found[0])
    if not splits:
        return "train", [], [], [], []
    points = [dict(one.get(splits[0], ())) for one in found]
    steps = sorted(set.intersection(*map(set, points)))
    values = np.array([[one[step] for step in steps] for one in points])
    return splits[0], steps, values.min(0), values.mean(0), values.max(0)


def draw_cost(points: dict[str, tuple[list, list]], cost: str, metric: str):
    """Return a figure of quality over cost, a point a run: name -> (costs, values)."""
    picture = figure.Figure(figsize=(5.0, 4.2), layout="constrained")
    panel = picture.subplots()
    for i, (costs, values) in enumerate(points.values()):
        panel.plot(costs, values, "o", color=COLORS[i % len(COLORS)], alpha=0.8)
    panel.set_title(metric.replace("_", " "), loc="left", fontsize=11)
    panel.set_xlabel(cost)
    panel.grid(color="#dddddd", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    entries = [
        lines.Line2D(
            [], [], color=COLORS[i % len(COLORS)], marker="o", ls="", label=name
        )
        for i, name in enumerate(points)
    ]
    columns = min(len(entries), 3)
    picture.legend(
        handles=entries, loc="outside lower center", ncols=columns, frameon=False
    )
    return picture
