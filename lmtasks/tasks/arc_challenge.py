"""ARC-Challenge: harder school science. (Clark et al., 2018)

TFDS ai2_arc/ARC-Challenge, or a folder of ARC-Challenge-Train.jsonl,
ARC-Challenge-Dev.jsonl and ARC-Challenge-Test.jsonl in the form of arc_easy.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import arc_easy

TASK = dataclasses.replace(
    arc_easy.TASK,
    source=sources.Source(
        tfds="ai2_arc/ARC-Challenge", files=arc_easy.files("ARC-Challenge")
    ),
    samples=(
        {
            "id": "a",
            "question": {
                "stem": "A wet shirt dries faster outside than inside. Why?",
                "choices": [
                    {"text": "Shirts are lighter outside.", "label": "A"},
                    {"text": "Wind carries the vapour away.", "label": "B"},
                    {"text": "Water freezes in the sun.", "label": "C"},
                    {"text": "Rooms have no air.", "label": "D"},
                ],
            },
            "answerKey": "B",
        },
        {
            "id": "b",
            "question": {
                "stem": "Which change of a candle is a chemical one?",
                "choices": [
                    {"text": "It burns.", "label": "A"},
                    {"text": "It bends.", "label": "B"},
                    {"text": "It breaks.", "label": "C"},
                ],
            },
            "answerKey": "A",
        },
        {
            "id": "c",
            "question": "Which would a fox lose if all rabbits left a field?",
            "choices": {
                "text": ["shelter", "sunlight", "food", "water", "air"],
                "label": ["A", "B", "C", "D", "E"],
            },
            "answerKey": "C",
        },
    ),
)
