"""`lmtasks generate`: texts after prompts, streamed or in files."""

from __future__ import annotations

import json
import sys

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "writes texts after prompts, streamed or as jsonl"
USAGE = """
lmtasks generate --workdir=DIR [--prompt=TEXT | --input=FILE|-] [--output=FILE|-]
                 [--methods=greedy,beam4,...] [--step=N|best]
                 [--config.decode.KEY=VALUE]

With --prompt, or with lines typed on standard input, the text is printed as it is
written. With --input (a prompt a line, or jsonl rows {"prompt"}) or --output one
json line a prompt: {"text", "tokens", "log_prob"}, and "texts" where there are
several (decode.texts). --methods prints several ways of writing side by side, with
log-probability, repetition, distinct n-grams and time: greedy, beam4, topk50, topp0.9,
minp0.1, typical0.9, temp0.7, contrastive4, lookup4.

    lmtasks generate --workdir=runs/a --prompt="The cat" --config.decode.top_p=0.9 \\
        --config.decode.temperature=0.8
    lmtasks generate --workdir=runs/a --input=prompts.jsonl --output=texts.jsonl
    lmtasks generate --workdir=runs/a --prompt="The cat" --methods=greedy,beam4,topp0.9
"""


def main(argv: list[str]) -> int:
    """Write texts; what was cut from prompts is said on standard error."""
    more = {"prompt": "text to go on from", "methods": "names to compare"}
    fv, config, folder = common.used_run(argv, USAGE, **more)
    if fv.prompt is not None and fv.input is not None:
        raise ValueError("--prompt and --input exclude another; give one of them")
    prompts, numbers = _prompts(fv)
    from lmtasks import api
    from lmtasks.training import writing

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    if fv.methods is not None:
        _check(prompts, fv.input)
        return _compare(loaded, prompts, fv.methods)
    writer = writing.Writer(loaded)
    try:
        if fv.input is None and fv.output is None:
            _stream(writer, sys.stdin if prompts is None else prompts)
        else:
            _rows(writer, prompts, numbers, fv)
    finally:
        _say_cut(writer)
    return 0


def _prompts(fv):
    """Return (prompts, their line numbers); None for what standard input types."""
    if fv.prompt is not None:
        return [fv.prompt], [1]
    if fv.input is None:
        if fv.methods is None and fv.output is None:
            return None, None
        raise ValueError("give --prompt=TEXT or --input=FILE (see --help)")
    rows = lines.read_input(fv.input, "prompt")
    for number, row in enumerate(rows, 1):
        if row is not None and not isinstance(row.get("prompt"), str):
            raise ValueError(
                f'{fv.input}:{number}: a row needs "prompt", a text; it has '
                f"{', '.join(row) or 'nothing'}"
            )
    return [None if row is None else row["prompt"] for row in rows], range(
        1, len(rows) + 1
    )


def _check(prompts, name) -> None:
    for number, prompt in enumerate(prompts, 1):
        if prompt is None or not prompt.strip():
            where = f"{name}:{number}: the" if name else "the"
            raise ValueError(f"{where} prompt is empty; give it some text")


def _stream(writer, prompts) -> None:
    for prompt in prompts:
        for piece in writer.stream(prompt.rstrip("\r\n")):
            print(piece, end="", flush=True)
        print(flush=True)


def _rows(writer, prompts, numbers, fv) -> None:
    """Write one json line a prompt; nothing is written when a prompt is wrong."""
    kept = [prompt for prompt in prompts if prompt is not None]
    _check(kept, fv.input)
    said = iter(writer.write(kept))
    answers = [None if prompt is None else next(said) for prompt in prompts]
    with lines.open_output(fv.output) as out:
        for prompt, answer in zip(prompts, answers, strict=True):
            error = "no prompt" if prompt is None else "the prompt is too long"
            row = {"error": error} if answer is None else answer
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _say_cut(writer) -> None:
    counts = writer.counts
    if counts["cut"]:
        print(
            f"{counts['cut']} prompts lost {counts['tokens_cut']} tokens at their "
            "beginning (data.length; data.on_long=raise refuses them)",
            file=sys.stderr,
        )
    if counts["skipped_long"]:
        print(f"{counts['skipped_long']} prompts are too long", file=sys.stderr)


def _compare(loaded, prompts, names: str) -> int:
    """Print each method's text of each prompt, and a table of their numbers."""
    from rich import console as consoles
    from rich import table as tables

    from lmtasks.decode import plan
    from lmtasks.metrics import diversity
    from lmtasks.training import writing

    plans = {name: plan.named(name, loaded.run.decode) for name in names.split(",")}
    console = consoles.Console(width=max(consoles.Console().width, 100))
    found = {}
    for name, decode in plans.items():
        found[name] = writing.Writer(loaded, decode).timed(prompts)
    for i, prompt in enumerate(prompts):
        console.rule(prompt[-80:].replace("\n", " "), align="left", style="dim")
        for name, (rows, _) in found.items():
            text = "(too long)" if rows[i] is None else rows[i]["text"]
            console.print(f"[bold]{name}[/bold]", end=" ", highlight=False)
            console.print(text, markup=False, highlight=False)
    out = tables.Table()
    for column in ("method", "log-prob", "per token", "tokens", "repetition",
                   "distinct-1", "distinct-2", "tokens/s"):  # fmt: skip
        out.add_column(column, justify="left" if column == "method" else "right")
    for name, (rows, seconds) in found.items():
        rows = [row for row in rows if row is not None]
        texts = [row["text"] for row in rows]
        total, count = (sum(r[k] for r in rows) for k in ("log_prob", "tokens"))
        out.add_row(
            name,
            f"{total / max(len(rows), 1):.2f}",
            f"{total / max(count, 1):.3f}",
            f"{count / max(len(rows), 1):.1f}",
            f"{diversity.repetition(texts):.3f}",
            f"{diversity.distinct(texts, 1):.3f}",
            f"{diversity.distinct(texts, 2):.3f}",
            f"{count / max(seconds, 1e-9):.0f}",
        )
    console.print(out)
    return 0
