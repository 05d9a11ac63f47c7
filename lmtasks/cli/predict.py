"""`lmtasks predict`: answers for a file or for standard input."""

from __future__ import annotations

import json
import sys

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "answers for a txt or jsonl file, or standard input"
USAGE = """
lmtasks predict --workdir=DIR --input=FILE|- [--output=FILE|-] [--step=N|best]

Reads text (one input a line) or jsonl (one object a line: text, pair, question,
context, prompt, ... or the task's own records) and writes one json line per input, in
the same order.

    echo "a stirring, funny film" | lmtasks predict --workdir=runs/sst2 --input=-
    lmtasks predict --workdir=runs/sst2 --input=rows.jsonl --output=answers.jsonl
"""


def main(argv: list[str]) -> int:
    """Predict; one json line per input, {"error": ...} where it has no text."""
    fv, config, folder = common.used_run(argv, USAGE)
    source = common.required(fv, "input")
    from lmtasks import api
    from lmtasks.data import examples

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    task = loaded.run.task
    field = "prompt" if task.kind is examples.Turns else "text"
    rows = lines.read_input(source, field)
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
    with lines.open_output(fv.output) as out:
        for answer in answers:
            row = {"error": "no text"} if answer is None else answer
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    if empty:
        print(f"{empty} of {len(answers)} inputs have no text", file=sys.stderr)
    return 0
