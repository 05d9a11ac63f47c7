"""RACE: exam questions on an article. (Lai et al., 2017)

TFDS race/high, or the published folder, which holds train/high/*.txt, dev/high/*.txt
and test/high/*.txt (one JSON object an article: article, questions, options, answers),
or files with article, question, options and answer.

A record of TFDS is a whole article: as in lm-evaluation-harness its last question is
asked, after the others with their answers. The published files are read question by
question.
"""

import dataclasses
from collections.abc import Iterator

from lmtasks.data import examples
from lmtasks.data import json_readers
from lmtasks.data import letters
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice

_MANY = {"question": "questions", "options": "options", "answer": "answers"}
# How a question ends whose blank the answer fills.
_BLANK = "  _  ."


def example(record: base.Record) -> examples.Choice:
    """Return the article and a question with its options."""
    if "questions" not in record:
        earlier, last = [], record
    else:
        columns = zip(*(record[name] for name in _MANY.values()), strict=True)
        *earlier, last = [dict(zip(_MANY, one, strict=True)) for one in columns]
    text = f"Article: {record['article']}\n\n"
    text += "".join(_answered(_choice(one)) for one in earlier)
    asked = _choice(last)
    return dataclasses.replace(asked, context=text + asked.context)


def _choice(one: base.Record) -> examples.Choice:
    options = [_text(option) for option in one["options"]]
    answer = letters.place(_text(one.get("answer", "")), options)
    given = {"context": _text(one["question"]), "options": options, "answer": answer}
    return choice.example(given)


def _text(value) -> str:
    """Return a text that TFDS may keep as bytes inside a list of lists."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _answered(one: examples.Choice) -> str:
    """Return a question with its answer, on lines of their own; "" without answer."""
    if one.answer < 0:
        return ""
    answer = one.options[one.answer]
    if one.context.endswith(_BLANK):
        # lm-evaluation-harness keeps only the blank; so do we, for equal numbers.
        return f"{one.context[-len(_BLANK) + 1 :]}{answer}\n"
    return f"Question: {one.context}\nAnswer: {answer}\n"


def read(path: str) -> Iterator[readers.Row]:
    """Yield a row for each question of an article's file."""
    for number, row in json_readers.jsonl(path):
        if isinstance(row, readers.Bad):
            yield number, row
            continue
        missing = [name for name in ("article", *_MANY.values()) if name not in row]
        if missing or len({len(row[name]) for name in _MANY.values()}) > 1:
            what = f"no {', '.join(missing)}" if missing else "lists of other lengths"
            yield number, readers.Bad(f"an article's record has {what}")
            continue
        for place in range(len(row["questions"])):
            question = {key: row[name][place] for key, name in _MANY.items()}
            yield number, {"article": row["article"], **question}


def _files(part: str) -> str:
    return f"{part}/high/*.txt"


_ARTICLE = "Ben found a grey kitten in the shed and called it Ash."

TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(
        tfds="race/high",
        splits={"train": "train", "validation": "dev", "test": "test"},
        files={
            "train": _files("train"),
            "validation": _files("dev"),
            "test": _files("test"),
        },
        read=read,
    ),
    example=example,
    samples=(
        {
            "article": _ARTICLE,
            "question": "Where was the kitten?",
            "options": ["at school", "in the shed", "on a bus", "at sea"],
            "answer": "B",
        },
        {
            "article": _ARTICLE,
            "questions": ["What did he find?", "The kitten's name was  _  ."],
            "options": [
                ["a kitten", "a shed", "a bus", "a ring"],
                ["Ben", "Grey", "Ash", "Shed"],
            ],
            "answers": ["A", "C"],
            "example_id": "high1.txt",
        },
        {
            "article": _ARTICLE,
            "question": "What colour was it?",
            "options": ["black", "white", "red", "grey"],
            "answer": "D",
        },
    ),
)
