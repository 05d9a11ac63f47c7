"""`lmtasks verify`: is each sentence of an answer supported by its source?"""

from __future__ import annotations

import json
import sys

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "whether the sentences of answers follow from their sources"
USAGE = """
lmtasks verify --workdir=NLI_RUN --input=FILE|- [--output=FILE|-] [--step=N|best]
               [--window=3] [--format=jsonl|text]

Reads jsonl rows {"source", "answer"}. A run trained on NLI (mnli, snli, sick, rte; one
of its labels begins with "entail") holds each sentence of the answer against every
window of --window sentences of the source. Writes one json line each, in the same
order:

    {"sentences": [{"text", "support", "label", "window"}], "support", "mean_support"}

A sentence's support is the largest probability of entailment over the windows, with the
window and the likeliest label there; "support" is the least of an answer's sentences.
--format=text writes them for a person.

    lmtasks verify --workdir=runs/snli --input=answers.jsonl --format=text
"""


def main(argv: list[str]) -> int:
    """Verify; {"error": ...} where source or answer has no text."""
    more = {"window": "sentences read together", "format": "jsonl or text"}
    fv, config, folder = common.used_run(argv, USAGE, **more)
    source = common.required(fv, "input")
    lines.check_format(fv.format)
    window = _window(fv.window)
    rows = lines.read_input(source, "answer")
    pairs = [_pair(row, source, n) for n, row in enumerate(rows, 1) if row is not None]
    from lmtasks import api
    from lmtasks import zero_shot

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    said = iter(zero_shot.verify(loaded, pairs, window=window))
    answers = [None if row is None else next(said) for row in rows]
    with lines.open_output(fv.output) as out:
        if fv.format == "text":
            _show(answers, out)
        else:
            for answer in answers:
                row = {"error": "no text"} if answer is None else answer
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
    empty = sum(answer is None for answer in answers)
    if empty:
        print(f"{empty} of {len(answers)} rows have no text", file=sys.stderr)
    return 0


def _window(text: str | None) -> int:
    if text is None:
        return 3
    if not text.isdigit() or not int(text):
        raise ValueError(f"--window={text!r} takes a number of sentences, 1 or more")
    return int(text)


def _pair(row: dict, source: str, number: int) -> tuple[str, str]:
    for key in ("source", "answer"):
        if not isinstance(row.get(key), str):
            raise ValueError(
                f'{source}:{number}: a row needs "source" and "answer", texts; it has '
                f"{', '.join(row) or 'nothing'}"
            )
    return row["source"], row["answer"]


def _show(answers: list, out) -> None:
    """Write the answers with a bar for the support of each sentence."""
    from lmtasks.metrics import entailment
    from lmtasks.rendering import blocks
    from lmtasks.rendering import text

    views = []
    for answer in answers:
        if answer is None:
            views.append((blocks.Fact("error", "no text", wrong=True),))
            continue
        bars = []
        for one in answer["sentences"]:
            said = f"{one['label']}: {one['text']}"
            held = one["support"] > entailment.SUPPORTED
            bars.append((one["support"], f"{one['support']:.2f}", said, held))
        low = answer["support"] <= entailment.SUPPORTED
        fact = blocks.Fact("support", f"{answer['support']:.2f}", wrong=low)
        views.append((blocks.Bars("sentences", tuple(bars)), fact))
    text.show(views, out)
