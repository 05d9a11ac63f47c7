"""RTE: does a text entail a hypothesis? (Dagan et al., 2006)

TFDS glue/rte (its test labels are hidden), or a folder of the challenges' own XML
files, named train_*.xml, validation_*.xml and test_*.xml.
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.metrics import classification
from lmtasks.tasks import base

LABELS = ("entailment", "not_entailment")
# RTE-1 writes value="TRUE", RTE-2 and 3 entailment="YES".
_SAID = {"TRUE": 0, "YES": 0, "FALSE": 1, "NO": 1, "UNKNOWN": 1}


def example(record: base.Record) -> examples.Labelled:
    """Return text and hypothesis with the relation's name."""
    label = labels.name(record["label"], LABELS)
    return examples.Labelled(record["sentence1"], label, record["sentence2"])


def read(path: str) -> Iterator[readers.Row]:
    """Yield the pairs of an XML file as GLUE has them: sentence1, sentence2, label."""
    lines = [line for _, line in readers.raw_lines(path) if isinstance(line, bytes)]
    text = b"".join(lines)
    # The challenges define no entities; those that expand without end are refused.
    if b"<!ENTITY" in text:
        raise ValueError(
            f"{path} defines XML entities, which are not read; remove them."
        )
    try:
        pairs = ElementTree.fromstring(text).iter("pair")
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no valid XML ({error}).") from None
    places = [i for i, line in enumerate(lines, 1) for _ in re.findall(b"<pair ", line)]
    for place, pair in zip(places, pairs, strict=True):
        said = pair.get("entailment") or pair.get("value") or ""
        parts = [(pair.findtext(tag) or "").strip() for tag in ("t", "h")]
        if said not in _SAID or not all(parts):
            yield place, readers.Bad("not a pair with t, h and YES or NO")
            continue
        yield (
            place,
            dict(zip(("sentence1", "sentence2"), parts)) | {"label": _SAID[said]},
        )


TASK = base.Task(
    source=sources.Source(
        tfds="glue/rte",
        files={"*": "{split}_*.xml"},
        read=read,
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
            "sentence1": "The bridge, opened in 1931, was closed for repairs.",
            "sentence2": "The bridge was opened in 1931.",
            "label": 0,
        },
        {
            "sentence1": "Ms Lind sold the shop to her sister.",
            "sentence2": "Ms Lind's sister bought the shop.",
            "label": 0,
        },
        {
            "sentence1": "The ferry leaves the island at noon.",
            "sentence2": "The ferry arrives at noon.",
            "label": 1,
        },
    ),
)
