"""XQuAD: English questions on Wikipedia. (Artetxe et al., 2020)

240 paragraphs of SQuAD v1.1's development set; every question has an answer. TFDS
xquad/en, which has nothing but a test split, or a folder of train.json,
validation.json and test.json as SQuAD v1.1 writes them. Other languages: task
extractive_qa with config.data.files.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import extractive_qa

TASK = dataclasses.replace(
    extractive_qa.TASK,
    source=sources.Source(
        tfds="xquad/en",
        splits={"test": "test"},
        files={split: f"{split}.json" for split in sources.SPLITS},
        format="squad",
    ),
    metrics=(spans.squad_v1,),
    samples=(
        {
            "question": "How many arches does the old bridge have?",
            "context": "The old bridge has nine arches and a small chapel.",
            "answers": [("nine", 19), ("nine arches", 19)],
        },
        {
            "question": "What stands on the bridge besides arches?",
            "context": "The old bridge has nine arches and a small chapel.",
            "answers": [("a small chapel", 35)],
        },
        {
            "question": "Which crop grew best?",
            "context": "Of barley, oats and rye, rye grew best on the hill.",
            "answers": [("rye", 20)],
        },
    ),
)
