"""Inputs and answers on a terminal; plain where there is none or NO_COLOR is set."""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Sequence

from rich import cells
from rich import console as consoles
from rich import text as texts

from lmtasks.rendering import blocks

_BAR = 20
_PLAIN_WIDTH = 100
_SHADES = (
    "black on bright_yellow",
    "black on bright_cyan",
    "black on bright_green",
    "black on bright_magenta",
    "white on blue",
    "white on red",
)
_NAME, _ANSWER, _WRONG = "dim", "bold green", "bold red"


def show(views: Iterable[blocks.View], stream) -> None:
    """Write the views, numbered from 1."""
    views = list(views)
    shades = blocks.shades(views)
    console = _console(stream)
    plain = console.color_system is None
    for number, view in enumerate(views, 1):
        console.print(texts.Text(f"--- {number}", _NAME))
        for block in view:
            for line in _lines(block, shades, console.width, plain):
                console.print(line, soft_wrap=plain)


def _console(stream) -> consoles.Console:
    """Return a console for the stream; without colours it writes no codes at all."""
    console = consoles.Console(file=stream)
    if console.is_terminal and not os.environ.get("NO_COLOR"):
        return console
    return consoles.Console(file=stream, color_system=None, width=_PLAIN_WIDTH)


def _lines(block, shades: dict[str, int], width: int, plain: bool) -> list[texts.Text]:
    """Return the lines of a block."""
    if isinstance(block, blocks.Passage):
        return [_passage(block, shades, plain)]
    if isinstance(block, blocks.Words):
        return _words(block, width)
    if isinstance(block, blocks.Bars):
        return _bars(block, plain)
    if isinstance(block, blocks.Table):
        return _table(block)
    style = _WRONG if block.wrong else ""
    return [_named(block.name).append(block.value, style)]


def _named(name: str) -> texts.Text:
    # A style given to Text itself would hold for what is appended, too.
    return texts.Text().append(f"{name:>9}  ", _NAME)


def _passage(block: blocks.Passage, shades: dict[str, int], plain: bool) -> texts.Text:
    """Return the text; marks are colours, or brackets where there are none."""
    line = _named(block.name)
    # A text that is the answer as a whole needs no brackets.
    whole = [mark for _, mark in block.pieces] == [blocks.ANSWER]
    for text, mark in block.pieces:
        if not mark or plain:
            line.append(text if whole else _bracketed(text, mark))
        elif mark == blocks.ANSWER:
            line.append(text, _ANSWER if whole else f"{_ANSWER} reverse")
        else:
            style = _SHADES[shades[mark] % len(_SHADES)]
            line.append(f" {text} ", style)
            line.append("" if mark == blocks.MASK else f"{mark} ", f"bold {style}")
    return line


def _bracketed(text: str, mark: str) -> str:
    """Return the text with its mark written out; masks show themselves."""
    if mark in ("", blocks.MASK):
        return text
    return f"[{text}]" if mark == blocks.ANSWER else f"[{text}]({mark})"


def _words(block: blocks.Words, width: int) -> list[texts.Text]:
    """Return words above their tags, as many in two lines as fit."""
    lines, room = [], width
    for word, tag in zip(block.words, block.tags, strict=True):
        wide = max(cells.cell_len(word), cells.cell_len(tag)) + 2
        if room < wide or not lines:
            lines += [texts.Text(), texts.Text(style="cyan")]
            room = width
        for line, part in zip(lines[-2:], (word, tag), strict=True):
            line.append(part + " " * (wide - cells.cell_len(part)))
        room -= wide
    for line in lines:
        line.rstrip()
    return lines


def _bars(block: blocks.Bars, plain: bool) -> list[texts.Text]:
    """Return a line a row: the number, a bar of its share, the text."""
    lines = [_named(block.name)]
    wide = max((len(shown) for _, shown, _, _ in block.rows), default=0)
    for i, (share, shown, text, chosen) in enumerate(block.rows):
        if i:
            lines.append(_named(""))
        filled = round(share * _BAR)
        line = lines[-1].append(f"{'>' if chosen else ' '} {shown:>{wide}} ")
        line.append(
            ("#" if plain else " ") * filled, "on green" if chosen else "on blue"
        )
        line.append(" " * (_BAR - filled + 1))
        line.append(text, _ANSWER if chosen else "")
    return lines + ([_named("").append(block.more, _NAME)] if block.more else [])


def _table(block: blocks.Table) -> list[texts.Text]:
    """Return the rows below their header, in columns."""
    return [
        _named("").append(line, "" if i else _NAME)
        for i, line in enumerate(columns([block.header, *block.rows]))
    ]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines whose columns stand below each other."""
    widths = [max(map(cells.cell_len, column)) for column in zip(*rows, strict=True)]
    return [_padded(row, widths) for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    parts = (
        part + " " * (wide - cells.cell_len(part))
        for part, wide in zip(row, widths, strict=True)
    )
    return "  ".join(parts).rstrip()
