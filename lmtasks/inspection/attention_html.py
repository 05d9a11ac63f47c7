"""Attention as a page of heat maps; it needs nothing from the network."""

from __future__ import annotations

import html

import numpy as np

from lmtasks.inspection import attention
from lmtasks.inspection import attention_text as text

# Cells of a page that a browser still opens at once.
MOST_CELLS = 400_000
LEVELS = 20
_STYLE = """
body { font: 14px sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: .2em 1em 1.2em 0; display: inline-table }
caption { text-align: left; font-size: 13px; color: #555; padding-bottom: 2px }
th { font: 12px monospace; white-space: pre; color: #333; font-weight: normal }
th.row { text-align: right; padding-right: 4px }
th.column { writing-mode: vertical-rl; transform: rotate(180deg); padding: 2px 0 }
td { width: 15px; height: 15px; min-width: 15px; padding: 0 }
td.no { background: repeating-linear-gradient(45deg, #eee 0 2px, #fff 2px 4px) }
td.sees { background: #7b8794 }
"""


def as_html(
    picture: attention.Picture,
    title: str,
    layer: int | None = None,
    head: text.Heads = "all",
) -> str:
    """Return a page with the masks, and a heat map for each chosen layer and head.

    Raises:
        ValueError: more cells than a page holds, with how to choose fewer.
    """
    body, cells = [], 0
    for side in picture.sides:
        layers = text.chosen(picture, side, layer)
        names = picture.queries[side], picture.keys[side]
        body.append(f"<h2>{text.TITLES[side]}</h2>")
        for which, mask in text.masks_of(layers):
            shown = np.where(mask, "sees", "no")
            body.append(_table(f"who sees whom: {which}", shown, None, names))
            cells += mask.size
        for one in layers:
            body.append(f"<h3>layer {one.number}</h3>")
            shown = text.heads_of(one, head)
            if head == "all":
                shown = text.heads_of(one, "mean") + shown
            cells += len(shown) * one.mask.size
            if cells > MOST_CELLS:
                raise ValueError(
                    f"--html: the page would hold more than {MOST_CELLS:,} cells; "
                    "choose one --layer, one --head, or a shorter --text"
                )
            body += [_heat(name, weights, one.mask, names) for name, weights in shown]
    style = _STYLE + "".join(f"td.h{k} {{ {_color(k)} }}\n" for k in range(LEVELS + 1))
    name = html.escape(title)
    return (
        f"<!doctype html><meta charset=utf-8><title>{name}</title>"
        f"<style>{style}</style><h1>{name}</h1>"
        "<p>Rows look at columns: the darker, the larger the weight (the shade is its "
        "square root); hatched is forbidden. Each row sums to 1; point at a cell for "
        f"its number.</p>{''.join(body)}\n"
    )


def _color(level: int) -> str:
    """Return the shade of a level from white to dark blue, readable in grey too."""
    share = level / LEVELS
    channels = (round(255 + (end - 255) * share) for end in (8, 48, 107))
    return f"background: rgb({', '.join(map(str, channels))})"


def _heat(name, weights, mask, names) -> str:
    level = np.rint(np.sqrt(np.clip(weights, 0, 1)) * LEVELS).astype(int)
    classes = np.where(mask, np.char.add("h", level.astype(str)), "no")
    return _table(name, classes, weights, names)


def _table(caption: str, classes: np.ndarray, weights, names) -> str:
    """Return a table of cells of these classes [T, S]; one that may be looked at says
    what it is, with its weight.
    """
    queries, keys = ([text.piece(x) for x in side] for side in names)
    columns = "".join(f'<th class="column">{html.escape(x)}</th>' for x in keys)
    lines = [f"<caption>{caption}</caption><tr><th></th>{columns}</tr>"]
    for i, query in enumerate(queries):
        cells = [f'<th class="row">{html.escape(query)}</th>']
        for j, key in enumerate(keys):
            if classes[i, j] == "no":
                cells.append('<td class="no"></td>')
                continue
            said = "" if weights is None else f": {weights[i, j]:.3f}"
            hover = html.escape(f"{i} {query} -> {j} {key}{said}", quote=True)
            cells.append(f'<td class="{classes[i, j]}" title="{hover}"></td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"
