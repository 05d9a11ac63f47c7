"""SQuAD 1.1: questions on Wikipedia, all answered. (Rajpurkar et al., 2016)

TFDS squad/v1.1, or a folder of train-v1.1.json and dev-v1.1.json as published, or of
train.json and validation.json in this form. There is no public test split.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import extractive_qa

TASK = dataclasses.replace(
    extractive_qa.TASK,
    source=sources.Source(
        tfds="squad/v1.1",
        splits={"train": "train", "validation": "validation"},
        files={"train": "train-v1.1.json", "validation": "dev-v1.1.json"},
        format="squad",
    ),
    metrics=(spans.squad_v1,),
    samples=(
        {
            "question": "In which year was the lighthouse finished?",
            "context": "Work on the lighthouse began in 1802 and ended in 1811.",
            "answers": [("1811", 50)],
        },
        {
            "question": "Who paid for the lighthouse?",
            "context": "The town's merchants paid for it; the king gave the land.",
            "answers": [("The town's merchants", 0), ("merchants", 11)],
        },
        {
            "question": "What did the king give?",
            "context": "The town's merchants paid for it; the king gave the land.",
            "answers": [("the land", 48), ("land", 52)],
        },
    ),
)
