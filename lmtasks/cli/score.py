"""`lmtasks score`: the log-likelihood of targets after prompts."""

from __future__ import annotations

import json
import math
import sys

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "log-likelihood of given targets after prompts"
USAGE = """
lmtasks score --workdir=DIR --input=FILE|- [--output=FILE|-] [--step=N|best]

Reads jsonl rows {"prompt", "target"} and writes one json line each, in the same order:
{"log_prob", "tokens", "token_log_probs"}, in nats, of the target given the prompt; the
end-of-sequence counts where the tokenizer has one.

    lmtasks score --workdir=runs/a --input=pairs.jsonl --output=scores.jsonl
"""


def main(argv: list[str]) -> int:
    """Score; {"error": ...} where a target has no text."""
    fv, config, folder = common.used_run(argv, USAGE)
    source = common.required(fv, "input")
    rows = lines.read_input(source, "prompt")
    for number, row in enumerate(rows, 1):
        for key in ("prompt", "target") if row is not None else ():
            if not isinstance(row.get(key), str):
                raise ValueError(
                    f'{source}:{number}: a row needs "prompt" and "target", texts; it '
                    f"has {', '.join(row) or 'nothing'}"
                )
    from lmtasks import api

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    pairs = [(row["prompt"], row["target"]) for row in rows if row is not None]
    said = iter(api.score(loaded, pairs))
    answers = [None if row is None else next(said) for row in rows]
    empty = 0
    with lines.open_output(fv.output) as out:
        for answer in answers:
            if answer is None or math.isnan(answer["log_prob"]):
                answer, empty = {"error": "no text"}, empty + 1
            out.write(json.dumps(answer) + "\n")
    if empty:
        print(f"{empty} of {len(answers)} rows have no text", file=sys.stderr)
    return 0
