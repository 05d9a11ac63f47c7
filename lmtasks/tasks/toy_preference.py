"""A small world with a true and a false answer."""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Preference:
    """Return the prompt with the chosen and the rejected answer."""
    return examples.Preference(record["prompt"], record["chosen"], record["rejected"])


TASK = base.Task(
    source=sources.Source(make=toy.toy_preference),
    example=example,
    kind=examples.Preference,
    prompt="{prompt}",
    objective="prefer",
    samples=(
        {
            "prompt": "the cat stands behind the oak . what is in front ?",
            "chosen": "the oak is in front .",
            "rejected": "the cat is in front .",
        },
        {
            "prompt": "the oak stands behind the cat . what is in front ?",
            "chosen": "the cat is in front .",
            "rejected": "the oak is in front .",
        },
        {
            "prompt": "the small bee stands behind the rose . what is in front ?",
            "chosen": "the rose is in front .",
            "rejected": "the bee is in front .",
        },
    ),
)
