"""SICK: how related are two sentences? (Marelli et al., 2014)

The other half of the task `sick`, from the same files: a folder of train.tsv,
validation.tsv and test.tsv with the header pair_ID, sentence_A, sentence_B,
relatedness_score, entailment_judgment.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.tasks import base
from lmtasks.tasks import sick
from lmtasks.tasks import sts


def example(record: base.Record) -> examples.Labelled:
    """Return both sentences with their score, a number."""
    number = sts.score(record["relatedness_score"])
    return examples.Labelled(record["sentence_A"], number, record["sentence_B"])


TASK = dataclasses.replace(
    sts.TASK,
    source=sick.TASK.source,
    example=example,
    prompt="First: {text} Second: {pair} Relatedness from 1 to 5:",
    samples=(
        {
            "sentence_A": "A boy is feeding two ducks",
            "sentence_B": "Two ducks are being fed by a boy",
            "relatedness_score": "4.9",
        },
        {
            "sentence_A": "A boy is feeding two ducks",
            "sentence_B": "There is no boy feeding ducks",
            "relatedness_score": "3.8",
        },
        {
            "sentence_A": "A boy is feeding two ducks",
            "sentence_B": "A woman is painting a fence",
            "relatedness_score": "1",
        },
    ),
)
