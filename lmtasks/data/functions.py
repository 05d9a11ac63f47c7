"""Functions of Python's own library with their docstrings, split by module.

The modules, and which split each is in, are those of data.pydocs; so is what is said
there about numbers: they differ between versions of Python.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Iterator

from lmtasks.data import pydocs
from lmtasks.data import sentences

# Lines of the longest function that is taken, its docstring aside.
MOST_LINES = 30


def records(split: str, seed: int) -> list[dict[str, str]]:
    """Return {"name", "head", "body", "code", "doc"} of each function of a split.

    `code` is head and body without the docstring, whose first sentence is `doc`;
    comments are lost. `seed` is not used.

    Raises:
        ValueError: no such split, or a Python without its library's sources.
    """
    modules = pydocs.records(split, seed)
    found = [
        one
        for module in modules
        if not module["name"].startswith("topic ")
        for one in _functions(module["name"], module["text"])
    ]
    # Some are the same in several modules, such as __enter__: once each.
    return list({one["code"]: one for one in found}.values())


@functools.lru_cache(maxsize=256)
def _functions(module: str, text: str) -> tuple[dict[str, str], ...]:
    return tuple(
        _record(module, node) for node in _nodes(text) if _short(node) and _doc(node)
    )


def _nodes(text: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            yield node


def _doc(node: ast.FunctionDef) -> str:
    """Return the first sentence of a docstring in one line, "" where it has none."""
    doc = (ast.get_docstring(node) or "").strip().split("\n\n")[0]
    sentence = next(iter(sentences.split(" ".join(doc.split()))), "")
    return sentence if sentence.isascii() else ""


def _short(node: ast.FunctionDef) -> bool:
    """Return whether a function has something beside its docstring, and not much."""
    if len(node.body) < 2:
        return False
    return (node.end_lineno or 0) - node.body[1].lineno < MOST_LINES


def _record(module: str, node: ast.FunctionDef) -> dict[str, str]:
    body = textwrap.indent(
        "\n".join(ast.unparse(statement) for statement in node.body[1:]), "    "
    )
    head = f"def {node.name}({ast.unparse(node.args)}):"
    return {
        "name": f"{module}.{node.name}",
        "head": head,
        "body": body,
        "code": f"{head}\n{body}",
        "doc": _doc(node),
    }
