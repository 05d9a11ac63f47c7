"""Real rows token by token, as text and as HTML: segment, position, target, weight."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from lmtasks.types import Features

COLUMNS = (
    "slot",
    "segment",
    "position",
    "piece",
    "id",
    "target",
    "target id",
    "weight",
)

_STYLE = """
body { font: 14px sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 2em }
td, th { padding: 1px 8px; text-align: left; font-family: monospace; font-size: 13px }
th { border-bottom: 1px solid #999 }
tr.learned td { background: #fff3c4 }
tr.odd td.segment { background: #dbe9ff }
p.text span { padding: 1px 2px; margin: 1px; border-radius: 2px; font-family: monospace }
p.text span.learned { background: #ffe08a }
p.text span.odd { border-bottom: 3px solid #6b9bf2 }
p.text span.even { border-bottom: 3px solid #ccc }
"""


def table(row: Features, tokenizer, labels: Sequence[str] = ()) -> list[tuple]:
    """Return one tuple of COLUMNS per slot; source slots come first, unweighted.

    `labels` name the targets when they are classes instead of vocabulary ids.
    """
    out = _side(row, tokenizer, "source", "source_positions", "source_segments", ())
    return out + _side(row, tokenizer, "tokens", "positions", "segments", labels)


def _side(row, tokenizer, key, positions, segments, labels):
    if key not in row:
        return []
    n = len(row[key])
    segment = row.get(segments, np.ones(n, np.int32))
    out = []
    for i in range(n):
        if row[positions][i] < 0:
            continue
        weight = float(row["weights"][i]) if key == "tokens" else 0.0
        target = int(row["targets"][i]) if weight else None
        shown = "" if target is None else _target(target, tokenizer, labels)
        piece = tokenizer.piece(int(row[key][i]))
        name = f"{'s' if key == 'source' else ''}{i}"
        out.append(
            (name, int(segment[i]), int(row[positions][i]), piece, int(row[key][i]))
            + (shown, "" if target is None else target, weight)
        )
    return out


def _target(target: int, tokenizer, labels) -> str:
    return labels[target] if labels else tokenizer.piece(target)


def as_text(rows: list[tuple]) -> str:
    """Return the table in columns."""
    cells = [COLUMNS, *[tuple(_cell(x) for x in row) for row in rows]]
    widths = [max(len(str(row[i])) for row in cells) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(str(x).ljust(w) for x, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _cell(value) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("\n", "\\n").replace("\t", "\\t")


def as_line(rows: list[tuple]) -> str:
    """Return the pieces in one line, those the loss is on in [[brackets]].

    What is bracketed is what has to be predicted: the piece after the slot.
    """
    said = [_cell(row[3]) for row in rows]
    learned = [f"[[{_cell(row[5])}]]" if row[7] else "" for row in rows]
    return " ".join(f"{a}{b}" for a, b in zip(said, learned, strict=True))


def as_html(views: Sequence[tuple[str, list[tuple]]], title: str) -> str:
    """Return a page of (heading, table) views; needs nothing from the network."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    body.append("<p>Yellow: the slot has weight, its target is learned. ")
    body.append("Underlines change with the segment.</p>")
    for heading, rows in views:
        body.append(f"<h2>{html.escape(heading)}</h2>")
        spans = [
            f'<span class="{_classes(r)}" title="{_hover(r)}">{html.escape(_cell(r[3]))}'
            "</span>"
            for r in rows
        ]
        body.append(f'<p class="text">{"".join(spans)}</p>')
        head = "".join(f"<th>{c}</th>" for c in COLUMNS)
        lines = [f"<tr>{head}</tr>"]
        for row in rows:
            cells = "".join(
                f'<td class="{c.replace(" ", "-")}">{html.escape(_cell(x))}</td>'
                for c, x in zip(COLUMNS, row, strict=True)
            )
            lines.append(f'<tr class="{_classes(row)}">{cells}</tr>')
        body.append(f"<table>{''.join(lines)}</table>")
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style>{''.join(body)}\n"
    )


def _classes(row: tuple) -> str:
    return ("odd" if row[1] % 2 else "even") + (" learned" if row[7] else "")


def _hover(row: tuple) -> str:
    text = f"segment {row[1]}, position {row[2]}, target {row[5]!r}, weight {row[7]:g}"
    return html.escape(text, quote=True)
