"""`lmtasks predict`: answers for a file or for standard input."""

from __future__ import annotations

import json
import pathlib
import sys

from lmtasks.cli import common
from lmtasks.cli import rows as lines

HELP = "answers for a txt or jsonl file, or standard input"
USAGE = """
lmtasks predict --workdir=DIR --input=FILE|- [--output=FILE|-] [--step=N|best]
                [--format=jsonl|text] [--html=FILE] [--labels=A,B,...]

Reads text (one input a line) or jsonl (one object a line: text, pair, question,
context, prompt, ... or the task's own records) and writes one json line per input, in
the same order. --format=text writes them for a person instead: classes with bars,
entities and answers marked in their text, words above their tags; in colour on a
terminal, unless NO_COLOR is set. --html also writes a page of the same. --labels lets a
run trained on NLI choose among classes it was never trained on.

    echo "a stirring, funny film" | lmtasks predict --workdir=runs/sst2 --input=-
    lmtasks predict --workdir=runs/sst2 --input=rows.jsonl --output=answers.jsonl
    lmtasks predict --workdir=runs/ner --input=posts.txt --format=text --html=posts.html
"""


def main(argv: list[str]) -> int:
    """Predict; one answer per input, {"error": ...} where it has no text."""
    more = {"format": "jsonl or text", "html": "page to write"}
    more |= {"labels": "classes of a zero-shot classification"}
    fv, config, folder = common.used_run(argv, USAGE, **more)
    source = common.required(fv, "input")
    _check(fv)
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
    there = [one for one in given if one is not None]
    said = iter(
        _zero_shot(loaded, there, fv) if fv.labels else api.predict(loaded, there)
    )
    answers = [None if one is None else next(said) for one in given]
    empty = sum(answer is None for answer in answers)
    answers = [{"error": "no text"} if a is None else a for a in answers]
    with lines.open_output(fv.output) as out:
        if fv.format == "text":
            _show(given, answers, out)
        else:
            for answer in answers:
                out.write(json.dumps(answer, ensure_ascii=False) + "\n")
    if fv.html:
        title = f"{config.task}, {folder}, step {loaded.step}"
        _write_page(given, answers, title, fv.html)
    if empty:
        print(f"{empty} of {len(answers)} inputs have no text", file=sys.stderr)
    return 0


def _zero_shot(loaded, given, fv) -> list[dict | None]:
    """Return {"label", "score", "scores"} among --labels for each text."""
    from lmtasks import zero_shot

    labels = [label.strip() for label in fv.labels.split(",") if label.strip()]
    return zero_shot.classify(
        loaded, [getattr(one, "text", "") for one in given], labels
    )


def _check(fv) -> None:
    """Raise ValueError for flags that only fail after the work is done."""
    lines.check_format(fv.format)
    if fv.html is not None and not pathlib.Path(fv.html).absolute().parent.is_dir():
        raise ValueError(f"--html={fv.html}: there is no such folder; make it first")


def _views(given, answers) -> list:
    from lmtasks.rendering import views

    return [views.of(*one) for one in zip(given, answers, strict=True)]


def _show(given, answers, out) -> None:
    from lmtasks.rendering import text

    text.show(_views(given, answers), out)


def _write_page(given, answers, title: str, path: str) -> None:
    from lmtasks.rendering import html

    page = html.page(_views(given, answers), title)
    pathlib.Path(path).write_text(page, encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)
