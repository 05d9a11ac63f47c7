"""Small programs in Python and JavaScript that compute the same.

A program is one function of two whole numbers: assignments, a condition, a loop that
ends, and what it returns; metrics.programs computes it in either language.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmtasks.data import toy
from lmtasks.metrics import programs

_SIGNS = ("+", "-", "*")
_COMPARED = ("<", ">", "<=", ">=", "==", "!=")
_JAVASCRIPT = {"==": "===", "!=": "!=="}


def toy_code(split: str, seed: int) -> Sequence[toy.Record]:
    """Return {"source", "target", "source_language", "target_language", "results"}."""
    return toy.worlds(_draw, split, seed)


def _draw(rng: np.random.Generator) -> tuple[str, toy.Record]:
    lines = _program(rng)
    texts = {programs.PYTHON: _python(lines), programs.JAVASCRIPT: _javascript(lines)}
    names = (
        [programs.PYTHON, programs.JAVASCRIPT]
        if rng.random() < 0.5
        else [programs.JAVASCRIPT, programs.PYTHON]
    )
    record = {
        "source": texts[names[0]],
        "target": texts[names[1]],
        "source_language": names[0],
        "target_language": names[1],
        "results": [
            programs.run(texts[programs.PYTHON], programs.PYTHON, *given)
            for given in programs.INPUTS
        ],
    }
    return texts[programs.PYTHON], record


# A line is (depth, word, the rest): ("if", "a < b"), ("let", "c = a + 1"), ...
_Line = tuple[int, str, str]


def _program(rng: np.random.Generator) -> list[_Line]:
    pick = lambda options: options[int(rng.integers(len(options)))]
    atom = lambda names: str(pick((*names, rng.integers(1, 10))))
    sum_of = lambda names: f"{atom(names)} {pick(_SIGNS)} {atom(names)}"
    asked = f"{pick(('a', 'b'))} {pick(_COMPARED)} {atom(('a', 'b'))}"
    lines: list[_Line] = [(1, "let", f"c = {sum_of(('a', 'b'))}")]
    kind = pick(("plain", "if", "else", "while"))
    if kind in ("if", "else"):
        lines += [(1, "if", asked), (2, "set", f"c = {sum_of(('a', 'b', 'c'))}")]
    if kind == "else":
        lines += [(1, "else", ""), (2, "set", f"c = {sum_of(('a', 'b', 'c'))}")]
    if kind == "while":
        lines += [(1, "let", f"i = {rng.integers(1, 5)}"), (1, "while", "i > 0")]
        lines += [(2, "set", f"c = c {pick(_SIGNS)} {atom(('a', 'b'))}")]
        lines += [(2, "set", "i = i - 1")]
    return [*lines, (1, "return", sum_of(("a", "b", "c")))]


def _python(lines: list[_Line]) -> str:
    out = ["def f(a, b):"]
    for depth, word, rest in lines:
        text = {"let": rest, "set": rest, "return": f"return {rest}"}.get(word)
        head = f"{word} {rest}".strip() + ":"
        out.append("    " * depth + (head if text is None else text))
    return "\n".join(out)


def _javascript(lines: list[_Line]) -> str:
    out, open_blocks = ["function f(a, b) {"], 1
    for depth, word, rest in lines:
        while open_blocks > depth and word != "else":
            open_blocks -= 1
            out.append("    " * open_blocks + "}")
        for sign, theirs in _JAVASCRIPT.items():
            rest = rest.replace(f" {sign} ", f" {theirs} ")
        if word in ("if", "while"):
            out.append("    " * depth + f"{word} ({rest}) {{")
            open_blocks = depth + 1
        elif word == "else":
            out.append("    " * depth + "} else {")
        else:
            said = {"let": f"let {rest};", "set": f"{rest};"}.get(
                word, f"return {rest};"
            )
            out.append("    " * depth + said)
    return "\n".join([*out, "}"])
