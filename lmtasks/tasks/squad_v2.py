"""SQuAD 2.0: not every question has an answer. (Rajpurkar et al., 2018)

TFDS squad/v2.0, or a folder of train-v2.0.json and dev-v2.0.json as published, or of
train.json and validation.json in this form. There is no public test split.

Predictions are "" where no answer leads by more than config.span.no_answer; evaluation
prints the best value of it on the split as best_exact_thresh and best_f1_thresh.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import extractive_qa

TASK = dataclasses.replace(
    extractive_qa.TASK,
    source=sources.Source(
        tfds="squad/v2.0",
        splits={"train": "train", "validation": "validation"},
        files={"train": "train-v2.0.json", "validation": "dev-v2.0.json"},
        format="squad",
    ),
    metrics=(spans.squad_v2,),
    samples=(
        {
            "question": "How long is the tunnel?",
            "context": "The tunnel under the pass is nine kilometres long.",
            "answers": [("nine kilometres", 29)],
        },
        {
            "question": "How deep is the lake?",
            "context": "The tunnel under the pass is nine kilometres long.",
            "answers": [],
        },
        {
            "question": "What does the tunnel lie under?",
            "context": "The tunnel under the pass is nine kilometres long.",
            "answers": [("the pass", 17), ("pass", 21)],
        },
    ),
)
