"""One's own texts with a relation of two entities.

Records are {"text", "head", "tail", "relation"}, head and tail being [first character,
end) of an entity, or {"words", "head", "tail", "relation"} with [first word, end).
The class is read off the text with the entities between markers (Baldini Soares et
al., 2019, arXiv:1906.03158); at inference `relation` may be missing.
"""

from collections.abc import Sequence

from sklearn import metrics

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.metrics import inputs
from lmtasks.tasks import base

# How data sets call the absence of a relation, in lower case.
NONE = ("no_relation", "other", "none", "na", "n/a")


def example(record: base.Record) -> examples.Labelled:
    """Return the text with its entities marked, and the relation."""
    spans = [_span(record, name) for name in ("head", "tail")]
    if "words" in record:
        words = record["words"]
        words = words.split() if isinstance(words, str) else list(words)
        text = " ".join(mark(words, spans, "word"))
    else:
        text = record["text"]
        text = "".join(mark(text, spans, "character", "{} ", " {}"))
    return examples.Labelled(text, labels.name(record.get("relation")))


def _span(record: base.Record, name: str) -> tuple[int, int]:
    span = record[name]
    if len(span) != 2:
        raise ValueError(f"{name}={span!r} is not the two numbers [first, end)")
    return int(span[0]), int(span[1])


def mark(
    pieces: Sequence[str],
    spans: Sequence[tuple[int, int]],
    unit: str,
    begin: str = "{}",
    end: str = "{}",
) -> list[str]:
    """Return the pieces with [E1] [/E1] around the first span, [E2] [/E2] the second.

    Of markers at one place the ends come first, and a span within another is closed
    before it:

        Ada of Oslo, (0, 1) (0, 3)   ->   [E2] [E1] Ada [/E1] of Oslo [/E2]
    """
    marks = []
    for number, (first, last) in enumerate(spans, 1):
        if not 0 <= first < last <= len(pieces):
            name = ("head", "tail")[number - 1]
            raise ValueError(
                f"{name}={[first, last]} is no span of the {len(pieces)} {unit}s; give "
                f"[first {unit}, end)"
            )
        marks.append((first, 1, -last, begin.format(f"[E{number}]")))
        marks.append((last, 0, -first, end.format(f"[/E{number}]")))
    out, at = [], 0
    for place, _, _, marker in sorted(marks):
        out += [*pieces[at:place], marker]
        at = place
    return [*out, *pieces[at:]]


def relation_f1(predictions, scored) -> dict[str, float]:
    """Return micro "relation_precision", "relation_recall" and "relation_f1".

    As TACRED and SemEval-2010 count: a missing relation ("no_relation", "Other", ...)
    is none of the classes; {} where the examples hold no other.
    """
    found = list(inputs.labels(predictions, scored))
    gold = [label for label, _ in found]
    said = ["" if label is None else label for _, label in found]
    names = sorted({name for name in (*gold, *said) if name.lower() not in NONE} - {""})
    if not names:
        return {}
    values = metrics.precision_recall_fscore_support(
        gold, said, labels=names, average="micro", zero_division=0.0
    )
    kinds = ("relation_precision", "relation_recall", "relation_f1")
    return {kind: float(value) for kind, value in zip(kinds, values)}


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Labelled,
    metrics=(relation_f1, *classification.METRICS),
    prompt="Text: {text} Relation of [E1] to [E2]:",
    objective="classify",
    samples=(
        {
            "text": "Ada Moss was born in Oslo.",
            "head": [0, 8],
            "tail": [21, 25],
            "relation": "born_in",
        },
        {
            "text": "The mill in Lund is run by Per Holm.",
            "head": [27, 35],
            "tail": [4, 8],
            "relation": "works_at",
        },
        {
            "words": ["Eva", "Lind", ",", "born", "in", "Turku", ",", "sings"],
            "head": [0, 2],
            "tail": [5, 6],
            "relation": "born_in",
        },
        {
            "words": "Jan teaches at the school of Bergen",
            "head": [0, 1],
            "tail": [4, 5],
            "relation": "works_at",
        },
    ),
)
