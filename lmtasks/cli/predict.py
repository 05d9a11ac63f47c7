"""`lmtasks predict`: answers for a file or for standard input."""

from __future__ import annotations

import contextlib
import json
import sys

from absl import flags

from lmtasks.cli import common

HELP = "answers for a txt or jsonl file, or standard input"
USAGE = """
lmtasks predict --workdir=DIR --input=FILE|- [--output=FILE|-] [--step=N|best]

Reads text (one input a line) or jsonl (one object a line: text, pair, question,
context, prompt, ... or the task's own records) and writes one json line per input, in
the same order.

    echo "a stirring, funny film" | lmtasks predict --workdir=runs/sst2 --input=-
    lmtasks predict --workdir=runs/sst2 --input=rows.jsonl --output=answers.jsonl
"""


def read_rows(stream, name: str, field: str) -> list[dict | None]:
    """Return a row per line: json objects, or {field: line} for plain text.

    An empty line among json objects is None: it has its line in the answers too. A file is jsonl when its first line that is not empty begins with "{".
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


def open_output(path: str | None):
    """Return a context with the stream to write to; standard output for "-"."""
    if path in (None, "-"):
        return contextlib.nullcontext(sys.stdout)
    return open(path, "w", encoding="utf-8")


def main(argv: list[str]) -> int:
    """Predict; one json line per input, {"error": ...} where it has no text."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_string("input", None, "file or -", flag_values=fv)
    flags.DEFINE_string("output", None, "file or -", flag_values=fv)
    flags.DEFINE_string("step", None, "saved step or best; newest", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    folder = common.required(fv, "workdir")
    source = common.required(fv, "input")
    config = common.config_of(spec, overrides, folder)
    from lmtasks import api
    from lmtasks.data import examples

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    task = loaded.run.task
    field = "prompt" if task.kind is examples.Turns else "text"
    rows = read_input(source, field)
    given = []
    for number, row in enumerate(rows, 1):
        try:
            blank = row is None
            given.append(None if blank else api.read_input(task.kind, task, row))
        except ValueError as error:
            raise ValueError(f"{source}:{number}: {error}") from None
    said = iter(api.predict(loaded, [one for one in given if one is not None]))
    answers = [None if one is None else next(said) for one in given]
    empty = sum(answer is None for answer in answers)
    with open_output(fv.output) as out:
        for answer in answers:
            row = {"error": "no text"} if answer is None else answer
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    if empty:
        print(f"{empty} of {len(answers)} inputs have no text", file=sys.stderr)
    return 0
