"""Readers of JSON lines, JSON lists and SQuAD files; see `data.readers`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from lmtasks.data import readers

_BLANK = re.compile(r"[ \t\n\r]*")


def jsonl(path: str) -> Iterator[readers.Row]:
    """Yield one JSON object per line; empty lines hold no record."""
    for number, line in readers.lines(path):
        if isinstance(line, readers.Bad):
            yield number, line
        elif line.strip():
            yield number, _object(line)


def _object(line: str) -> dict | readers.Bad:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _not_json(error)
    return _checked(value, "\\u" in line)


def _not_json(error: Exception) -> readers.Bad:
    if isinstance(error, json.JSONDecodeError):
        return readers.Bad(f"not valid JSON ({error.msg} in column {error.colno})")
    return readers.Bad(f"not valid JSON ({error})")


def _checked(value: object, doubtful: bool) -> dict | readers.Bad:
    """Return the value if it is an object, or a row, of text that UTF-8 can hold."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return readers.Bad(f"a JSON object is expected, not {type(value).__name__}")
    # An escaped half of a surrogate pair is valid JSON that no UTF-8 can hold.
    if doubtful and not readers.encodable(json.dumps(value, ensure_ascii=False)):
        return readers.Bad("text that is no UTF-8 (a bad byte or a lone surrogate)")
    return value


def json_list(path: str) -> Iterator[readers.Row]:
    """Yield the objects of one JSON list, numbered by the line each begins in.

    A file of one JSON object is read as `squad` does, one of several as `jsonl` does.
    """
    text = _text(path)
    start = _BLANK.match(text).end()
    if text[start : start + 1] == "{":
        yield from _questions(path, text)
        return
    if text[start:] and text[start] != "[":
        raise ValueError(
            f"{path} holds no JSON list; it begins with {text[start:][:20]!r}."
        )
    doubtful = "\\u" in text or not readers.encodable(text)
    for number, item in _items(text, start + 1) if text[start:] else ():
        yield (
            number,
            item if isinstance(item, readers.Bad) else _checked(item, doubtful),
        )


def _items(text: str, at: int) -> Iterator[tuple[int, object]]:
    """Yield (line, value) of a JSON list whose items begin at `at`."""
    decoder, line = json.JSONDecoder(), 1 + text.count("\n", 0, at)
    while True:
        start = _BLANK.match(text, at).end()
        line += text.count("\n", at, start)
        if text[start : start + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            what = getattr(error, "msg", str(error))
            yield (
                line,
                readers.Bad(f"not valid JSON ({what}); the rest of the list is lost"),
            )
            return
        yield line, value
        at = _BLANK.match(text, end).end()
        line += text.count("\n", start, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "]":
            yield (
                line,
                readers.Bad("no , or ] after the item; the rest of the list is lost"),
            )
            return


def _text(path: str) -> str:
    """Return a file's text; bad bytes become surrogates, found item by item."""
    parts = [line for _, line in readers.raw_lines(path) if isinstance(line, bytes)]
    return b"".join(parts).decode(errors="surrogateescape")


def squad(path: str) -> Iterator[readers.Row]:
    """Yield {"id", "question", "context", "answers"} of SQuAD v1 and v2 files.

    Answers are (text, first character) pairs; an impossible question has none. Rows
    are numbered by question, because such files are often a single line.
    """
    yield from _questions(path, _text(path))


def _questions(path: str, text: str) -> Iterator[readers.Row]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if str(error).startswith("Extra data"):  # JSON lines under another name
            yield from jsonl(path)
        else:
            yield getattr(error, "lineno", 1), _not_json(error)
        return
    doubtful = "\\u" in text or not readers.encodable(text)
    try:
        questions = [
            (paragraph["context"], question)
            for article in value["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError, IndexError):
        raise ValueError(
            f"{path} holds neither a JSON list nor SQuAD's data, paragraphs, qas; "
            "write one JSON object a line and call it .jsonl."
        ) from None
    for number, (context, question) in enumerate(questions, start=1):
        row = _question(context, question)
        yield number, row if isinstance(row, readers.Bad) else _checked(row, doubtful)


def _question(context: str, question: dict) -> dict | readers.Bad:
    try:
        row = {
            "id": str(question.get("id", "")),
            "question": question["question"],
            "context": context,
            "answers": [],
        }
        if not question.get("is_impossible"):
            pairs = [(a["text"], int(a["answer_start"])) for a in question["answers"]]
            row["answers"] = pairs
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return readers.Bad(f"not a SQuAD question ({type(error).__name__}: {error})")
    for answer, start in row["answers"]:
        there = context[start : start + len(answer)] if start >= 0 else ""
        if there != answer:
            return readers.Bad(f"the answer {answer!r} is not at {start}, {there!r} is")
    return row
