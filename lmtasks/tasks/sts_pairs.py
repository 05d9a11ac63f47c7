"""STS 2012-2015: like sentences, like vectors. (Agirre et al.)

A folder of the tab-separated files score, sentence, sentence without a header, named
train_*.tsv, validation_*.tsv and test_*.tsv; the scores are 0 to 5. Training weighs a
pair by its score; spearman is of the cosine and the score.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import retrieval
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Pair:
    """Return both sentences with their score in [0, 1]."""
    score = float(record["score"]) / 5
    return examples.Pair(record["first"], record["second"], score=score)


TASK = base.Task(
    source=sources.Source(
        fields={"score": 0, "first": 1, "second": 2},
        files={"*": "{split}_*.tsv"},
    ),
    example=example,
    kind=examples.Pair,
    metrics=(retrieval.similarity, retrieval.retrieval),
    prompt="{first}",
    objective="embed",
    samples=(
        {
            "score": "4.8",
            "first": "A boy is feeding two ducks.",
            "second": "Two ducks are fed by a boy.",
        },
        {
            "score": "5.0",
            "first": "The shop opens at nine.",
            "second": "At nine the shop is opened.",
        },
        {
            "score": "0.4",
            "first": "A woman is painting a fence.",
            "second": "The prices of oil fell on Monday.",
        },
    ),
)
