"""MNLI: does a sentence entail another? (Williams et al., 2018)

TFDS glue/mnli, or GLUE's own folder of train.tsv, dev_matched.tsv and
dev_mismatched.tsv, whose header has sentence1, sentence2 and gold_label. The genres of
`validation` are those of the training data, those of `validation_mismatched` are not.
"""

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base
from lmtasks.tasks import pairs

LABELS = ("entailment", "neutral", "contradiction")


def example(record: base.Record) -> examples.Labelled:
    """Return premise and hypothesis with the relation's name; "-" is no label."""
    said = pairs.field(record, "label", "gold_label")
    label = labels.name(None if said == "-" else said, LABELS)
    premise = pairs.field(record, "premise", "sentence1")
    return examples.Labelled(
        premise, label, pairs.field(record, "hypothesis", "sentence2")
    )


TASK = base.Task(
    source=sources.Source(
        tfds="glue/mnli",
        splits={
            "train": "train",
            "validation": "validation_matched",
            "validation_mismatched": "validation_mismatched",
            "test": "test_matched",
            "test_mismatched": "test_mismatched",
        },
        files={
            "train": "train.tsv",
            "validation": "dev_matched.tsv",
            "validation_mismatched": "dev_mismatched.tsv",
        },
    ),
    example=example,
    kind=examples.Labelled,
    metrics=classification.METRICS,
    prompt="Premise: {text} Hypothesis: {pair} Relation:",
    prompts={"lines": "{text}\n{pair}\nRelation of the second to the first:"},
    labels=LABELS,
    objective="classify",
    samples=(
        {
            "premise": "They sat on the wall and ate all the cherries.",
            "hypothesis": "They ate fruit.",
            "label": 0,
        },
        {
            "premise": "They sat on the wall and ate all the cherries.",
            "hypothesis": "The cherries were from the market.",
            "label": 1,
        },
        {
            "sentence1": "They sat on the wall and ate all the cherries.",
            "sentence2": "Some cherries were left.",
            "gold_label": "contradiction",
        },
    ),
)
