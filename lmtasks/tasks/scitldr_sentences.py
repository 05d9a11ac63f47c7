"""SciTLDR: the sentence to keep of an abstract. (Cachola et al., 2020)

A folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz: source, the
sentences of the abstract, source_labels, which is most like the summary, and target,
one summary or more.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import extractive_summary
from lmtasks.tasks import scitldr


def example(record: base.Record) -> examples.Sentences:
    """Return the abstract's sentences, the one to keep, and its summaries."""
    if "source" not in record:
        return extractive_summary.example(record)
    summaries, labels = tuple(record["target"]), record.get("source_labels")
    return extractive_summary.chosen(record["source"], summaries, labels)


TASK = dataclasses.replace(
    extractive_summary.TASK,
    source=sources.Source(files=scitldr.TASK.source.files),
    example=example,
    samples=(
        {
            "source": ["We study bees.", "Their dance tells where food is."],
            "source_labels": [0, 1],
            "target": ["Their dance tells where food is."],
        },
        {
            "source": ["A new sort is given.", "It needs no comparison of keys."],
            "source_labels": [1, 0],
            "target": ["A new sort is given.", "We sort without comparing."],
        },
        {
            "source": ["Old maps fade.", "We restore them from two scans."],
            "source_labels": [0, 1],
            "target": ["We restore them from two scans."],
        },
    ),
)
