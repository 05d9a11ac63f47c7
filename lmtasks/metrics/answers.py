"""Accuracy of the final answer of written-out reasoning, a fraction in [0, 1].

Answers are compared by value: numbers (thousands commas, money, units and percent
signs aside), fractions, times of day; anything else as SQuAD normalizes text.
"""

from __future__ import annotations

import fractions
import re
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs
from lmtasks.metrics import spans

# "#### 16" is how GSM8K ends, \boxed{16} how MATH does; the sentence is how chains of
# thought do.
_MARKED = re.compile(r"####\s*(.+)|the answer is:?\s+(.+)", re.IGNORECASE)
_BOX = "\\boxed{"
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?")
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?\s*([aApP])\.?[mM]\b|(\d{1,2}):(\d\d)")
_TIME_OR_NUMBER = re.compile(f"(?:{_TIME.pattern})|{_NUMBER.pattern}")
_MONEY = re.compile(r"(?<![\w])([-+]?)[$\u20ac\u00a3]\s*")


def extract(text: str) -> str:
    """Return the final answer of a text, "" if it holds none.

    What stands in the last "\\boxed{...}", or behind the last "####" or "The answer
    is"; else the last time or number.

    >>> extract("5 - 2 = 3. The answer is 3.")
    '3'
    """
    if _BOX in text:
        return _FRACTION.sub(r"\1/\2", _closed(text.rpartition(_BOX)[2])).strip()
    marked = [a or b for a, b in _MARKED.findall(text)]
    if marked:
        return re.split(r"\.(?:\s|$)", marked[-1].strip())[0].strip()
    found = [match.group() for match in _TIME_OR_NUMBER.finditer(text)]
    return found[-1] if found else ""


def parse(text: str, example: examples.Example, labels=()) -> inputs.Prediction:
    """Return {"text", "answer"}: a written solution and what `extract` finds in it, as
    equal answers are written alike ("1000" for "$1,000.00").
    """
    del example, labels
    return {"text": text, "answer": plain(extract(text))}


def plain(answer: str) -> str:
    """Return an answer in the one form of its value; "" of none.

    >>> plain("$1,000.00"), plain("6/8"), plain("5 PM"), plain("The Oak")
    ('1000', '3/4', '17:00', 'oak')
    """
    kind, found = value(answer)
    return f"{found // 60}:{found % 60:02}" if kind == "time" else str(found)


def _closed(text: str) -> str:
    """Return a text up to the brace that closes one before it."""
    depth = 1
    for i, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if not depth:
            return text[:i]
    return text


def value(answer: str) -> tuple[str, fractions.Fraction | int | str]:
    """Return what an answer stands for; equal answers give equal values.

    ("time", minutes after midnight) of "5:00 PM", ("number", 3/4) of "3/4 cup",
    ("number", 1200) of "$1,200.00", else ("text", normalized text).
    """
    answer = _MONEY.sub(r"\1", answer.strip())
    if match := _TIME.match(answer):
        hour, minute, half, hour24, minute24 = match.groups()
        if half:
            noon = 12 * (half.lower() == "p")
            return "time", (int(hour) % 12 + noon) * 60 + int(minute or 0)
        return "time", int(hour24) * 60 + int(minute24)
    if match := _NUMBER.match(answer):
        top, _, bottom = re.sub(r"[,\s]", "", match.group()).partition("/")
        if int(bottom or 1):
            return "number", fractions.Fraction(top) / int(bottom or 1)
    return "text", spans.normalize(answer)


def accuracy(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"answer_accuracy", "unparsed"}; unparsed counts texts without answer.

    The answer is taken from the predicted text and from each gold text in the same
    way; equal to one of the golds is right.
    """
    inputs.check(predictions, scored)
    said = [extract(text) for text in inputs.said_texts(predictions)]
    right = 0
    for answer, example in zip(said, scored):
        golds = {value(extract(text) or text) for text in inputs.gold_texts(example)}
        right += bool(answer) and value(answer) in golds
    return {
        "answer_accuracy": right / len(scored),
        "unparsed": float(said.count("")),
    }
