"""One's own questions with an answer inside a text.

As SQuAD v1 and v2 files hold them. Records are {"question", "context", "answers"},
answers being (text, first character) pairs, none for a question the text does not
answer; or {"question", "context", "answer"} with the answer's text, found where it
first occurs ("" = no answer). An answer that does not stand at its character makes the
record malformed (config.data.on_error).
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import base

# What stands for an unanswerable question when the answer is generated.
NO_ANSWER = "no answer"


def example(record: base.Record) -> examples.Span:
    """Return the question on its context with all answers."""
    question, context = record["question"], record["context"]
    if "answers" not in record:
        answers = _found(context, record["answer"])
    else:
        pairs = record["answers"]
        answers = tuple((text, int(start)) for text, start in pairs if text.strip())
        for text, start in answers:
            _check(context, text, start)
    return examples.Span(question, context, answers)


def _check(context: str, answer: str, start: int) -> None:
    """Raise ValueError where the answer does not stand at its character."""
    there = context[start : start + len(answer)] if start >= 0 else ""
    if there != answer:
        raise ValueError(
            f"the answer {answer!r} is not at character {start} of the context, where "
            f"{there!r} stands"
        )


def _found(context: str, answer: str) -> tuple[tuple[str, int], ...]:
    """Return the answer where it first occurs in the context, () for ""."""
    if answer and answer not in context:
        raise ValueError(f"the answer {answer!r} does not occur in the context.")
    return ((answer, context.index(answer)),) if answer else ()


def parse(text: str, example: examples.Example, labels) -> base.Prediction:
    """Return the generated answer, "" where the text says that there is none."""
    said = text.strip()
    none = said.casefold().rstrip(".").startswith(NO_ANSWER)
    return {"text": "" if none else said}


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Span,
    metrics=(spans.squad_v2,),
    prompt="{context} Question: {question} Answer:",
    parse=parse,
    objective="span",
    samples=(
        {
            "question": "Who painted the door?",
            "context": "Mira painted the door green in May.",
            "answers": [("Mira", 0)],
        },
        {
            "question": "What colour is the door?",
            "context": "Mira painted the door green in May.",
            "answers": [("green", 22), ("the door green", 13)],
        },
        {
            "question": "Who sold the house?",
            "context": "Mira painted the door green in May.",
            "answers": [],
        },
        {
            "question": "When was it painted?",
            "context": "Mira painted the door green in May.",
            "answer": "May",
        },
    ),
)
