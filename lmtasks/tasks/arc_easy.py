"""ARC-Easy: easier school science. (Clark et al., 2018)

TFDS ai2_arc/ARC-Easy, or a folder of ARC-Easy-Train.jsonl, ARC-Easy-Dev.jsonl and
ARC-Easy-Test.jsonl as published: question {stem, choices [{label, text}]}, answerKey.
The same with question, choices {label, text} as columns is read too.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice


def example(record: base.Record) -> examples.Choice:
    """Return a question with its options; the key names one of their labels."""
    question, choices = record["question"], record.get("choices")
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):
        columns = zip(choices["label"], choices["text"], strict=True)
        choices = [{"label": label, "text": text} for label, text in columns]
    labels = [str(one["label"]).strip() for one in choices]
    options = [str(one["text"]) for one in choices]
    key = str(record.get("answerKey", "")).strip()
    if key not in (*labels, "", "-1"):
        raise ValueError(f"the answer {key!r} is none of {', '.join(labels)}")
    answer = labels.index(key) if key in labels else -1
    return choice.example({"context": question, "options": options, "answer": answer})


def files(name: str) -> dict[str, str]:
    """Return the published files of one of the two sets."""
    parts = {"train": "Train", "validation": "Dev", "test": "Test"}
    return {split: f"{name}-{part}.jsonl" for split, part in parts.items()}


TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(tfds="ai2_arc/ARC-Easy", files=files("ARC-Easy")),
    example=example,
    prompt="Question: {context}\nAnswer:",
    prompts={"letters": "Question: {context}\n{options}\nAnswer:"},
    samples=(
        {
            "id": "a",
            "question": {
                "stem": "Which of these melts in a warm hand?",
                "choices": [
                    {"text": "a stone", "label": "A"},
                    {"text": "a cube of ice", "label": "B"},
                    {"text": "a coin", "label": "C"},
                ],
            },
            "answerKey": "B",
        },
        {
            "id": "b",
            "question": {
                "stem": "What do green plants take from the sun?",
                "choices": [
                    {"text": "light", "label": "1"},
                    {"text": "water", "label": "2"},
                    {"text": "soil", "label": "3"},
                    {"text": "seeds", "label": "4"},
                ],
            },
            "answerKey": "1",
        },
        {
            "id": "c",
            "question": "Which animal hatches from an egg?",
            "choices": [
                {"text": "a cow", "label": 0},
                {"text": "a dog", "label": 1},
                {"text": "a hen", "label": 2},
            ],
            "answerKey": 2,
        },
    ),
)
