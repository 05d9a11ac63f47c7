"""WNLI: does a reading of a pronoun follow? (Levesque et al., 2012)

TFDS glue/wnli (its test labels are hidden), or GLUE's own folder of train.tsv and
dev.tsv with the header index, sentence1, sentence2, label (1 = entailment). Its
validation pairs are built so that what training sentences say misleads.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.tasks import base
from lmtasks.tasks import qnli

# GLUE numbers these the other way round than RTE and QNLI.
LABELS = ("not_entailment", "entailment")


def example(record: base.Record) -> examples.Labelled:
    """Return both sentences with the relation's name."""
    label = labels.name(record["label"], LABELS)
    return examples.Labelled(record["sentence1"], label, record["sentence2"])


TASK = dataclasses.replace(
    qnli.TASK,
    source=dataclasses.replace(qnli.TASK.source, tfds="glue/wnli"),
    example=example,
    prompt="Premise: {text} Hypothesis: {pair} Relation:",
    prompts={"lines": "{text}\n{pair}\nRelation of the second to the first:"},
    labels=LABELS,
    samples=(
        {
            "sentence1": "The jar did not fit the shelf because it was too tall.",
            "sentence2": "The jar was too tall.",
            "label": 1,
        },
        {
            "sentence1": "The jar did not fit the shelf because it was too tall.",
            "sentence2": "The shelf was too tall.",
            "label": 0,
        },
        {
            "sentence1": "Ana thanked Eva because she had helped her.",
            "sentence2": "Eva had helped Ana.",
            "label": "1",
        },
    ),
)
