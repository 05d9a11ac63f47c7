"""What small programs in Python or JavaScript compute, without executing anything.

A program is one function of two whole numbers: assignments, conditions, loops and what it
returns. All else is no program of this grammar.
"""

from __future__ import annotations

import ast
import operator
import re
import typing

PYTHON, JAVASCRIPT = "Python", "JavaScript"
# What programs are called with where they are compared.
INPUTS = ((0, 1), (2, 3), (5, 2), (-3, 4))
_STEPS, _LARGEST = 200, 2**63
_OPERATORS: dict[type, typing.Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Lt: operator.lt, ast.Gt: operator.gt, ast.LtE: operator.le,
    ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
# A line of the programs' JavaScript -> Python, and how much deeper what follows stands.
_LINES = (
    (r"function (\w+)\((\w+), (\w+)\) \{", r"def \1(\2, \3):", 0, 1),
    (r"if \((.+)\) \{", r"if \1:", 0, 1),
    (r"while \((.+)\) \{", r"while \1:", 0, 1),
    (r"\} else \{", "else:", -1, 1),
    (r"\}", "", -1, 0),
    (r"(?:let )?(\w+) = (.+);", r"\1 = \2", 0, 0),
    (r"return (.+);", r"return \1", 0, 0),
)


def run(program: str, language: str, a: int, b: int) -> int | None:
    """Return what a program computes of two numbers.

    None where it is no program of this grammar, reads a name that it has not set,
    returns nothing or takes too many steps.
    """
    text = program if language == PYTHON else _translated(program)
    try:
        tree = ast.parse(text or "").body
        if len(tree) != 1 or not isinstance(tree[0], ast.FunctionDef):
            return None
        names = [arg.arg for arg in tree[0].args.args]
        values = dict(zip(names, (a, b), strict=True))
        return _Machine(values).block(tree[0].body)
    except (SyntaxError, ValueError, KeyError, RecursionError, OverflowError):
        return None


def _translated(program: str) -> str | None:
    """Return JavaScript of this grammar as Python, None where it is no such."""
    depth, out = 0, []
    for line in program.splitlines():
        for pattern, python, before, after in _LINES:
            if match := re.fullmatch(pattern, line.strip()):
                depth += before
                text = match.expand(python).replace("!==", "!=").replace("===", "==")
                out.append("    " * depth + text)
                depth += after
                break
        else:
            return None
    return "\n".join(out) if depth == 0 else None


class _Machine:
    """Computes statements and expressions of the grammar; all else is refused."""

    def __init__(self, values: dict[str, int]):
        self.values, self.steps = values, 0

    def block(self, statements: list[ast.stmt]) -> int | None:
        """Return what the statements return, None where they go on."""
        for statement in statements:
            found = self.statement(statement)
            if found is not None:
                return found
        return None

    def statement(self, node: ast.stmt) -> int | None:
        self.steps += 1
        if self.steps > _STEPS:
            raise ValueError("too many steps")
        if isinstance(node, ast.Return) and node.value is not None:
            return self.value(node.value)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            self.values[node.targets[0].id] = self.value(node.value)
            return None
        if isinstance(node, ast.If):
            return self.block(node.body if self.value(node.test) else node.orelse)
        if isinstance(node, ast.While):
            while self.value(node.test):
                found = self.block(node.body)
                if found is not None:
                    return found
            return None
        raise ValueError(f"no {type(node).__name__} in this grammar")

    def value(self, node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Name):
            return self.values[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.value(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            sides = self.value(node.left), self.value(node.right)
            found = _OPERATORS[type(node.op)](*sides)
            if abs(found) > _LARGEST:
                raise ValueError("too large a number")
            return found
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            sides = self.value(node.left), self.value(node.comparators[0])
            return _OPERATORS[type(node.ops[0])](*sides)
        raise ValueError(f"no {type(node).__name__} in this grammar")
