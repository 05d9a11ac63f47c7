"""One's own pairs of texts that belong together.

Questions and passages, say, or paraphrases.
Records are {"first", "second"}; the columns are named by config.data.fields. A record
may also have "negatives", a text or a list of texts like the second that do not belong
to the first (jsonl), or "score", a number from 0 to 1 that says how much the two belong
together.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import retrieval
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Pair:
    """Return the two texts, with what else the record says of them."""
    negatives = record.get("negatives") or ()
    if isinstance(negatives, str):
        negatives = (negatives,)
    score = record.get("score")
    return examples.Pair(
        record["first"],
        record["second"],
        tuple(negatives),
        None if score in (None, "") else float(score),
    )


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Pair,
    metrics=(retrieval.retrieval, retrieval.similarity),
    prompt="{first}",
    objective="embed",
    samples=(
        {
            "first": "what do bees make",
            "second": "Bees make honey from the nectar of flowers.",
            "negatives": ["Wasps build their nests of paper."],
        },
        {
            "first": "how tall is the tower",
            "second": "The tower stands 64 metres high.",
        },
        {
            "first": "who wrote the letter",
            "second": "The letter was written by the mayor.",
            "negatives": ["The letter arrived on Monday.", "The mayor was absent."],
        },
        {
            "first": "when does the ferry leave",
            "second": "The ferry leaves the island at noon.",
        },
    ),
)
