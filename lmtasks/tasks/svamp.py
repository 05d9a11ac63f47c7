"""SVAMP: short arithmetic stories with small changes. (Patel et al., 2021)

A folder of train.json, validation.json and test.json: Body, Question, Equation, Answer.
As published it is one file, SVAMP.json: config.data.files.test. The equation is the
reasoning.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return the story as the prompt, equation and answer as the reply."""
    body, number = record["Body"].strip(), f"{float(record['Answer']):g}"
    body += "" if body.endswith((".", "!", "?")) else "."
    steps = record["Equation"].strip()
    if steps.startswith("(") and steps.endswith(")"):
        steps = steps[1:-1].strip()
    replies = [f"{steps} = {number}. The answer is {number}."]
    question = f"{body} {record['Question']}"
    return seq2seq.asked(seq2seq.QUESTION, replies, question=question)


TASK = dataclasses.replace(
    seq2seq.SOLUTIONS,
    source=sources.Source(files={"*": "{split}.json"}),
    example=example,
    samples=(
        {
            "Body": "Lena had 8 plums and ate 3",
            "Question": "How many are left?",
            "Equation": "( 8.0 - 3.0 )",
            "Answer": 5.0,
        },
        {
            "Body": "A box holds 6 cups.",
            "Question": "How many cups do 4 boxes hold?",
            "Equation": "( 6.0 * 4.0 )",
            "Answer": 24.0,
        },
        {
            "Body": "Three boats carry 12 people in all.",
            "Question": "How many does each carry?",
            "Equation": "( 12.0 / 3.0 )",
            "Answer": 4.0,
        },
    ),
)
