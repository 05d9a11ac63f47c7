"""OpenBookQA: a fact and a step. (Mihaylov et al., 2018)

TFDS openbookqa, or a folder of train.jsonl, dev.jsonl and test.jsonl as published:
question {stem, choices [{label, text}]}, answerKey. The same with question_stem and
choices as columns is read too. The question alone is the prompt, as in
lm-evaluation-harness.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import arc_easy
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Choice:
    """Return the stem with its four options."""
    question = record.get("question", record.get("question_stem"))
    if isinstance(question, dict) and "choice_A" in question:
        texts = [question[f"choice_{letter}"] for letter in "ABCD"]
        labels = _labels(record.get("answerKey"))
        columns = {"label": labels, "text": texts}
        record = {**record, "question": question["stem"], "choices": columns}
    return arc_easy.example({"question": question, **record})


def _labels(key) -> list[str]:
    """Return the labels of four options as the key is written: letters or numbers."""
    return list("0123" if str(key).lstrip("-").isdigit() else "ABCD")


TASK = dataclasses.replace(
    arc_easy.TASK,
    source=sources.Source(
        tfds="openbookqa",
        files={"train": "train.jsonl", "validation": "dev.jsonl", "test": "test.jsonl"},
    ),
    example=example,
    prompt="{context}",
    samples=(
        {
            "id": "a",
            "question": {
                "stem": "A child who sees their breath in the air is likely",
                "choices": [
                    {"text": "in a sauna", "label": "A"},
                    {"text": "out in winter", "label": "B"},
                    {"text": "under water", "label": "C"},
                    {"text": "asleep", "label": "D"},
                ],
            },
            "answerKey": "B",
        },
        {
            "question": {
                "stem": "A magnet would pick up",
                "choice_A": "a nail",
                "choice_B": "a leaf",
                "choice_C": "a glass",
                "choice_D": "a cork",
            },
            "answerKey": 0,
        },
        {
            "id": "c",
            "question_stem": "Birds that fly south are looking for",
            "choices": {
                "text": ["snow", "ice", "night", "warmth"],
                "label": ["A", "B", "C", "D"],
            },
            "answerKey": "D",
        },
    ),
)
