"""One's own words with tags.

Records are {"words", "tags"}, such as CoNLL files hold; both are lists, or strings of
words apart by spaces. Entity scores are computed where the tags name entities, in any
of the schemes IO, IOB1, IOB2, IOBES.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import tagging
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Tagged:
    """Return the words with their tags."""
    words, tags = (_listed(record[key]) for key in ("words", "tags"))
    if tags and len(words) != len(tags):
        raise ValueError(f"{len(words)} words have {len(tags)} tags; give one each.")
    return examples.Tagged(words, tags)


def _listed(value) -> tuple[str, ...]:
    """Return the items of a list or the words of a string."""
    items = value.split() if isinstance(value, str) else value
    return tuple(str(item) for item in items)


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Tagged,
    metrics=(tagging.entities, tagging.token_accuracy),
    prompt="Words: {words} Tags:",
    objective="tag",
    samples=(
        {"words": ["Ada", "lives", "in", "Oslo"], "tags": ["B-PER", "O", "O", "B-LOC"]},
        {"words": ["New", "Delhi", "is", "hot"], "tags": ["B-LOC", "I-LOC", "O", "O"]},
        {"words": "nobody came", "tags": "O O"},
    ),
)
