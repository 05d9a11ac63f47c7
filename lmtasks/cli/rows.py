"""Rows that verbs read and write: lines of text or jsonl, files or standard streams."""

from __future__ import annotations

import contextlib
import json
import sys

from lmtasks import schema


def read_rows(stream, name: str, field: str) -> list[dict | None]:
    """Return a row per line: json objects, or {field: line} for plain text.

    An empty line among json objects is None: it has its line in the answers too. A
    file is jsonl when its first line that is not empty begins with "{".
    """
    lines = [line.rstrip("\r\n") for line in stream]
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise ValueError(f"{name} is empty; it needs one input a line")
    if not first.lstrip().startswith("{"):
        return [{field: line} for line in lines]
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            rows.append(None)
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{name}:{number}: not valid json ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{name}:{number}: a line holds one json object")
        rows.append(row)
    return rows


def read_input(path: str, field: str) -> list[dict | None]:
    """Return the rows of a file, or of standard input for "-"."""
    if path == "-":
        return read_rows(sys.stdin, "standard input", field)
    try:
        with open(path, encoding="utf-8") as stream:
            return read_rows(stream, path, field)
    except FileNotFoundError:
        raise ValueError(f"--input={path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"--input={path}: not valid utf-8 ({error})") from None


FORMATS = ("jsonl", "text")


def check_format(name: str | None) -> None:
    """Raise ValueError unless --format is one of FORMATS or not given."""
    if name is not None and name not in FORMATS:
        raise ValueError(schema.unknown("--format", name, FORMATS))


def open_output(path: str | None):
    """Return a context with the stream to write to; standard output for "-"."""
    if path in (None, "-"):
        return contextlib.nullcontext(sys.stdout)
    return open(path, "w", encoding="utf-8")
