"""SICK: does a sentence entail or contradict another?

Marelli et al., 2014 (SemEval task 1). A folder of train.tsv, validation.tsv and
test.tsv with the header pair_ID, sentence_A, sentence_B, relatedness_score,
entailment_judgment.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

LABELS = ("entailment", "neutral", "contradiction")


def example(record: base.Record) -> examples.Labelled:
    """Return both sentences with the relation's name."""
    label = labels.name(record["entailment_judgment"].lower(), LABELS)
    return examples.Labelled(record["sentence_A"], label, record["sentence_B"])


TASK = base.Task(
    source=sources.Source(files={"*": "{split}.tsv"}),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="Premise: {text} Hypothesis: {pair} Relation:",
    prompts={"lines": "{text}\n{pair}\nRelation of the second to the first:"},
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "sentence_A": "A boy is feeding two ducks",
            "sentence_B": "A child is feeding birds",
            "entailment_judgment": "ENTAILMENT",
        },
        {
            "sentence_A": "A boy is feeding two ducks",
            "sentence_B": "A woman is painting a fence",
            "entailment_judgment": "NEUTRAL",
        },
        {
            "sentence_A": "A boy is feeding two ducks",
            "sentence_B": "There is no boy feeding ducks",
            "entailment_judgment": "CONTRADICTION",
        },
    ),
)
