"""ASDiv-A: short arithmetic stories from school books. (Miao et al., 2020)

A folder of train.csv and test.csv as in SVAMP's repository: Question, in which number0,
number1, ... stand for Numbers, Equation in prefix form, and Answer. The equation is the
reasoning.
"""

import dataclasses
import re

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

_NUMBER = re.compile(r"number(\d+)")
_SIGNS = ("+", "-", "*", "/")


def example(record: base.Record) -> examples.Turns:
    """Return the story as the prompt, equation and answer as the reply.

    "+ number0 number1" of 63 and 50 is "63 + 50 = 113. The answer is 113."
    """
    numbers = str(record["Numbers"]).split()

    def filled(text: str) -> str:
        return _NUMBER.sub(lambda match: numbers[int(match[1])], text)

    number = f"{float(record['Answer']):g}"
    steps = infix(filled(record["Equation"]))
    replies = [f"{steps} = {number}. The answer is {number}."]
    question = filled(record["Question"])
    return seq2seq.asked(seq2seq.QUESTION, replies, question=question)


def infix(prefix: str) -> str:
    """Return "- + 2 3 4" as "(2 + 3) - 4".

    Raises:
        ValueError: the words are no expression.
    """
    stack: list[str] = []
    for word in reversed(prefix.split()):
        if word in _SIGNS:
            if len(stack) < 2:
                stack.clear()
                break
            left, right = (_closed(stack.pop()) for _ in "ab")
            word = f"{left} {word} {right}"
        stack.append(word)
    if len(stack) != 1:
        raise ValueError(f"{prefix!r} is no expression in prefix form.")
    return stack[0]


def _closed(part: str) -> str:
    return f"({part})" if " " in part else part


TASK = dataclasses.replace(
    seq2seq.SOLUTIONS,
    source=sources.Source(files={"*": "{split}.csv"}),
    example=example,
    samples=(
        {
            "Question": "lena has number0 plums and eats number1 . how many are left ?",
            "Numbers": "8 3",
            "Equation": "- number0 number1",
            "Answer": "5.0",
        },
        {
            "Question": "number0 boxes hold number1 cups each . how many is that ?",
            "Numbers": "4 6",
            "Equation": "* number0 number1",
            "Answer": "24.0",
        },
        {
            "Question": "number0 and number1 children share number2 pears . how many each ?",
            "Numbers": "2 3 15",
            "Equation": "/ number2 + number0 number1",
            "Answer": "3.0",
        },
    ),
)
