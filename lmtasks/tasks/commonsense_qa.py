"""CommonsenseQA: five options. (Talmor et al., 2019)

Not in TFDS: a folder of train_rand_split.jsonl, dev_rand_split.jsonl and
test_rand_split_no_answers.jsonl as published (question {stem, choices [{label,
text}]}, answerKey). The same with question, choices {label, text} as columns is read
too. The prompt lists the options and their letters are scored, as in
lm-evaluation-harness.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import arc_easy
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Choice:
    """Return the question, without space around it, and its options."""
    found = arc_easy.example(record)
    return dataclasses.replace(found, context=found.context.strip())


TASK = dataclasses.replace(
    arc_easy.TASK,
    source=sources.Source(
        files={
            "train": "train_rand_split.jsonl",
            "validation": "dev_rand_split.jsonl",
            "test": "test_rand_split_no_answers.jsonl",
        },
    ),
    example=example,
    prompt="Question: {context}\n{options}\nAnswer:",
    prompts={"texts": "Question: {context}\nAnswer:"},
    samples=(
        {
            "answerKey": "C",
            "id": "a",
            "question": {
                "question_concept": "umbrella",
                "choices": [
                    {"label": "A", "text": "oven"},
                    {"label": "B", "text": "pond"},
                    {"label": "C", "text": "hall stand"},
                    {"label": "D", "text": "fridge"},
                    {"label": "E", "text": "bath"},
                ],
                "stem": "Where would you leave a wet umbrella?",
            },
        },
        {
            "answerKey": "A",
            "id": "b",
            "question": {
                "question_concept": "bread",
                "choices": [
                    {"label": "A", "text": "hungry"},
                    {"label": "B", "text": "asleep"},
                    {"label": "C", "text": "late"},
                    {"label": "D", "text": "lost"},
                    {"label": "E", "text": "tall"},
                ],
                "stem": "Why does someone cut a slice of bread?",
            },
        },
        {
            "id": "c",
            "question": "What do people wear to see a small print?",
            "choices": {
                "label": ["A", "B", "C", "D", "E"],
                "text": ["gloves", "boots", "a hat", "glasses", "a belt"],
            },
            "answerKey": "D",
        },
    ),
)
