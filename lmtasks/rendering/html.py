"""Inputs and answers as one page that needs nothing from the network."""

from __future__ import annotations

import html
from collections.abc import Iterable

from lmtasks.rendering import blocks

_SHADES = ("#ffe08a", "#b5e3f5", "#bfe8c2", "#efc4ee", "#c5cdf7", "#f7c6c1")
_STYLE = """
body { font: 15px/1.6 sans-serif; margin: 2em auto; max-width: 60em; color: #222 }
section { border-top: 1px solid #ccc; padding: .5em 0 .5em 3em; position: relative }
section > .n { position: absolute; left: 0; color: #999 }
.name { color: #777; font-size: 12px; margin-right: .8em }
.text { white-space: pre-wrap }
mark { padding: 1px 4px; border-radius: 3px; color: #222 }
mark b { font-size: 10px; margin-left: .4em }
mark.answer { background: #8fdc9b }
.wrong { color: #b00020; font-weight: bold }
.word { display: inline-block; margin: 0 .6em .4em 0; line-height: 1.2 }
.word i { display: block; font: 11px monospace; color: #06789a }
table { border-collapse: collapse; margin: .2em 0 }
td, th { padding: 0 10px 0 0; text-align: left; font-size: 14px; vertical-align: top }
th { color: #777; font-size: 12px; font-weight: normal }
td.bar { width: 12em } td.bar div { background: #7fa8d9; height: .9em; min-width: 1px }
tr.chosen { font-weight: bold } tr.chosen td.bar div { background: #4caf50 }
"""


def page(views: Iterable[blocks.View], title: str) -> str:
    """Return the page of all views, numbered from 1."""
    views = list(views)
    shades = blocks.shades(views)
    colours = "".join(
        f"mark.m{i} {{ background: {_SHADES[i % len(_SHADES)]} }}\n"
        for i in shades.values()
    )
    body = [f"<h1>{html.escape(title)}</h1>"]
    for number, view in enumerate(views, 1):
        shown = "".join(_block(block, shades) for block in view)
        body.append(f'<section><div class="n">{number}</div>{shown}</section>')
    return (
        '<!doctype html><html><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{colours}{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _block(block: blocks.Block, shades: dict[str, int]) -> str:
    """Return the HTML of a block; every text is escaped."""
    if isinstance(block, blocks.Passage):
        return _line(block.name, _pieces(block, shades), "text")
    if isinstance(block, blocks.Words):
        pairs = zip(block.words, block.tags, strict=True)
        return _line("", "".join(_word(*pair) for pair in pairs))
    if isinstance(block, blocks.Bars):
        return _line(block.name, "") + _bars(block)
    if isinstance(block, blocks.Table):
        head = "".join(f"<th>{html.escape(name)}</th>" for name in block.header)
        rows = "".join(f"<tr>{_cells(row)}</tr>" for row in block.rows)
        return f"<table><tr>{head}</tr>{rows}</table>"
    return _line(block.name, html.escape(block.value), "wrong" if block.wrong else "")


def _line(name: str, body: str, kind: str = "") -> str:
    label = f'<span class="name">{html.escape(name)}</span>' if name else ""
    return f'<div>{label}<span class="{kind}">{body}</span></div>'


def _pieces(block: blocks.Passage, shades: dict[str, int]) -> str:
    return "".join(
        f'<mark class="{_class(mark, shades)}">{html.escape(text)}{_kind(mark)}</mark>'
        if mark
        else html.escape(text)
        for text, mark in block.pieces
    )


def _class(mark: str, shades: dict[str, int]) -> str:
    return "answer" if mark == blocks.ANSWER else f"m{shades[mark]}"


def _kind(mark: str) -> str:
    special = mark in (blocks.ANSWER, blocks.MASK)
    return "" if special else f"<b>{html.escape(mark)}</b>"


def _word(word: str, tag: str) -> str:
    return f'<span class="word">{html.escape(word)}<i>{html.escape(tag)}</i></span>'


def _bars(block: blocks.Bars) -> str:
    rows = "".join(
        f'<tr class="{"chosen" if chosen else ""}"><td>{html.escape(shown)}</td>'
        f'<td class="bar"><div style="width: {100 * share:.1f}%"></div></td>'
        f"<td>{html.escape(text)}</td></tr>"
        for share, shown, text, chosen in block.rows
    )
    more = f'<div class="name">{html.escape(block.more)}</div>' if block.more else ""
    return f"<table>{rows}</table>{more}"


def _cells(row: tuple[str, ...]) -> str:
    return "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
