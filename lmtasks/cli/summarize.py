"""`lmtasks summarize`: a summary of documents of any length."""

from __future__ import annotations

import json
import pathlib
import sys

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "a summary of documents of any length"
USAGE = """
lmtasks summarize --workdir=DIR --input=FILE[,FILE,...]|- [--output=FILE|-]
                  [--list] [--format=text|jsonl] [--step=N|best]

Reads whole files of text. What is longer than the context is cut at sentences into
chunks; each is summarized, and the summaries together, as often as needed. Several
files are documents about one event and give one summary. --list keeps the replies to
the chunks as a list instead, each item once: the decisions of a transcript, by a run or
a prompt that writes them. --format=jsonl writes the summaries of the chunks too.

    lmtasks summarize --workdir=runs/news --input=report.txt
    lmtasks summarize --workdir=runs/news --input=monday.txt,tuesday.txt
    lmtasks summarize --workdir=runs/meetings --input=meeting.txt --list
"""


def main(argv: list[str]) -> int:
    """Write one summary; how many chunks it is made of goes to standard error."""
    format_help = "text or jsonl"
    fv, config, folder = common.used_run(argv, USAGE, "list", format=format_help)
    names = common.required(fv, "input").split(",")
    form = fv.format or "text"
    lines.check_format(form)
    texts = [_text(name) for name in names]
    from lmtasks import api
    from lmtasks import summarize

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    found = summarize.summarize(loaded, texts, listed=fv.list)
    with lines.open_output(fv.output) as out:
        if form == "jsonl":
            row = {"text": found.text, "parts": found.parts, "rounds": found.rounds}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            out.write(found.text + "\n")
    there = sum(bool(text.strip()) for text in texts)
    notes = {
        "documents without text": len(texts) - there,
        "chunks without a summary": sum(not part for part in found.parts),
        "words longer than the context, cut": found.cut,
    }
    said = [f"{there} documents, {len(found.parts)} chunks"]
    said += [f"{found.rounds} rounds of merging"]
    said += [f"{count} {what}" for what, count in notes.items() if count]
    print(", ".join(said), file=sys.stderr)
    return 0


def _text(name: str) -> str:
    """Return a file's text, or that of standard input."""
    if name == "-":
        return sys.stdin.read()
    try:
        return pathlib.Path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"--input={name}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"--input={name} is no UTF-8 text ({error})") from None
