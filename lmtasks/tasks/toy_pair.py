"""A row of things and a question about it alone."""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.metrics import retrieval
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Pair:
    """Return the question and the row."""
    return examples.Pair(record["first"], record["second"])


TASK = base.Task(
    source=sources.Source(make=toy.toy_pair),
    example=example,
    kind=examples.Pair,
    metrics=(retrieval.retrieval,),
    prompt="{first}",
    objective="embed",
    samples=(
        {
            "first": "which row has the cat second , the oak first ?",
            "second": "first the oak then the cat .",
        },
        {
            "first": "which row has the oak second , the cat first ?",
            "second": "first the cat then the oak .",
        },
        {
            "first": "which row has the bee second , the fern first ?",
            "second": "first the fern then the bee .",
        },
    ),
)
