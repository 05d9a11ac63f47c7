"""One's own words with tags.

Records are {"words", "tags"}, such as CoNLL files hold; both are lists, or strings of
words apart by spaces. Entity scores are computed where the tags name entities, in any
of the schemes IO, IOB1, IOB2, IOBES. A record {"text"} alone, to be predicted, is cut
into words at white space and punctuation.

Written as text (decoder, encoder_decoder), entities are `PER: Tim Cook; ORG: Apple` or
`none`, and other tags stand one after another.
"""

from lmtasks.data import align
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import tag_text
from lmtasks.metrics import tagging
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Tagged:
    """Return the words with their tags, or the words of a text."""
    if "text" in record and "words" not in record:
        return raw(record["text"])
    return examples.Tagged(*(listed(record[key]) for key in ("words", "tags")))


def raw(text: str) -> examples.Tagged:
    """Return the words of a text, with their places in it and without tags."""
    words, spans = align.split(text)
    return examples.Tagged(words, text=text, spans=spans)


def listed(value) -> tuple[str, ...]:
    """Return the items of a list or the words of a string."""
    items = value.split() if isinstance(value, str) else value
    return tuple(str(item) for item in items)


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Tagged,
    metrics=(tagging.entities, tagging.token_accuracy, tagging.missed),
    prompt="Words: {words} Tags:",
    parse=tag_text.read,
    objective="tag",
    samples=(
        {"words": ["Ada", "lives", "in", "Oslo"], "tags": ["B-PER", "O", "O", "B-LOC"]},
        {"words": ["New", "Delhi", "is", "hot"], "tags": ["B-LOC", "I-LOC", "O", "O"]},
        {"words": "nobody came", "tags": "O O"},
    ),
)
