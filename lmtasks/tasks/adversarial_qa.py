"""AdversarialQA: questions that models fail on. (Bartolo et al., 2020)

Every question has an answer. A folder of train.json, validation.json and test.json as
SQuAD v1.1 writes them.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.tasks import extractive_qa

TASK = dataclasses.replace(
    extractive_qa.TASK,
    source=sources.Source(files={"*": "{split}.json"}, format="squad"),
    metrics=(spans.squad_v1,),
    samples=(
        {
            "question": "Whom did the miller's neighbour help?",
            "context": "The miller asked the smith; his neighbour helped the baker.",
            "answers": [("the baker", 49), ("baker", 53)],
        },
        {
            "question": "What was not painted blue?",
            "context": "The door and the gate were blue, the fence stayed white.",
            "answers": [("the fence", 33)],
        },
        {
            "question": "Which came second?",
            "context": "First came Ann, after her Bo, and Cy was last.",
            "answers": [("Bo", 26)],
        },
    ),
)
