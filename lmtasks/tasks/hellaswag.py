"""HellaSwag: which ending goes on from a scene? (Zellers et al., 2019)

TFDS hellaswag, or a folder of hellaswag_train.jsonl, hellaswag_val.jsonl and
hellaswag_test.jsonl as published (ctx_a, ctx_b, endings, activity_label, label; the
test labels are hidden). Marks in brackets are left out, as in lm-evaluation-harness,
and ctx_b begins with a capital; TFDS has one context, which is left as it is.
"""

import dataclasses
import re

from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import choice

# What WikiHow's pages leave in the texts: [title], [step], [substeps].
_MARK = re.compile(r"\[.*?\]")


def example(record: base.Record) -> examples.Choice:
    """Return activity and scene with the four endings."""
    scene = record.get("context")
    if "ctx_a" in record:
        scene = f"{record['ctx_a']} {record['ctx_b'].capitalize()}"
    endings = [_tidy(ending) for ending in record["endings"]]
    given = {
        "context": _tidy(f"{record['activity_label']}: {scene}").strip(),
        "options": endings,
        "answer": letters.place(record.get("label"), endings),
    }
    return choice.example(given)


def _tidy(text: str) -> str:
    """Return the text without marks; a title ends the sentence before it."""
    text = text.strip().replace(" [title]", ". ")
    return _MARK.sub("", text).replace("  ", " ")


TASK = dataclasses.replace(
    choice.TASK,
    source=sources.Source(
        tfds="hellaswag",
        files={
            "train": "hellaswag_train.jsonl",
            "validation": "hellaswag_val.jsonl",
            "test": "hellaswag_test.jsonl",
        },
    ),
    example=example,
    samples=(
        {
            "ind": 1,
            "activity_label": "Washing a dog",
            "ctx_a": "A man kneels beside a tub with a dog in it.",
            "ctx_b": "he",
            "ctx": "A man kneels beside a tub with a dog in it. he",
            "split": "train",
            "split_type": "indomain",
            "label": 2,
            "endings": [
                "paints the wall.",
                "flies a kite.",
                "pours water over its back.",
                "reads the map aloud.",
            ],
            "source_id": "made~1",
        },
        {
            "ind": 2,
            "activity_label": "Cooking and Baking",
            "ctx_a": "[header] How to boil an egg [title] Fill a pot. [step] Use water.",
            "ctx_b": "",
            "ctx": "[header] How to boil an egg [title] Fill a pot. [step] Use water.",
            "split": "train",
            "split_type": "indomain",
            "label": "0",
            "endings": [
                "[substeps] Cover the egg with it.",
                "Then sell the pot.",
                "Eggs are birds. [title] Sing.",
                "Lock the door.",
            ],
            "source_id": "made~2",
        },
        {
            "context": "A girl throws a ball over the net. her friend",
            "endings": ["eats it.", "throws it back.", "is a net.", "sleeps."],
            "activity_label": "Playing volleyball",
            "label": 1,
            "split_type": "indomain",
            "source_id": "made~3",
        },
    ),
)
