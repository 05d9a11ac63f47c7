"""SciTLDR: a paper's abstract in one sentence. (Cachola et al., 2020)

A folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz: source, the
sentences of the abstract, and target, one summary or more. The first is learned, all
are accepted.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = seq2seq.summarize("abstract")


def example(record: base.Record) -> examples.Turns:
    """Return the abstract as the prompt, its summary as the reply."""
    return seq2seq.asked(PROMPT, record["target"], text=" ".join(record["source"]))


TASK = dataclasses.replace(
    seq2seq.SUMMARIES,
    source=sources.Source(files={"*": "{split}.jsonl"}),
    example=example,
    prompt=PROMPT,
    samples=(
        {
            "source": ["We study bees.", "Their dance tells where food is."],
            "target": ["Bees dance to say where food is."],
        },
        {
            "source": ["A new sort is given.", "It needs no comparison of keys."],
            "target": ["A sort without comparisons.", "We sort without comparing."],
        },
        {
            "source": ["Old maps fade.", "We restore them from two scans."],
            "target": ["Faded maps are restored from two scans."],
        },
    ),
)
