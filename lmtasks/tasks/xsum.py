"""XSum: an article in one sentence. (Narayan et al., 2018)

TFDS xsum, or a folder of train.jsonl, validation.jsonl and test.jsonl: document,
summary.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = seq2seq.summarize("article")


def example(record: base.Record) -> examples.Turns:
    """Return an article as the prompt, its sentence as the reply."""
    return seq2seq.asked(PROMPT, [record["summary"]], text=record["document"])


TASK = dataclasses.replace(
    seq2seq.SUMMARIES,
    source=sources.Source(tfds="xsum", files={"*": "{split}.jsonl"}),
    example=example,
    prompt=PROMPT,
    samples=(
        {
            "document": "The bridge over the river was closed on Monday after a crack was found. Engineers expect repairs to take two weeks.",
            "summary": "A cracked bridge stays closed for two weeks.",
        },
        {
            "document": "The town council voted to plant four hundred trees along the harbour by spring.",
            "summary": "A town plants four hundred trees at its harbour.",
        },
        {
            "document": "A museum lends its oldest map to a school, where pupils copy it by hand.",
            "summary": "Pupils copy a museum's oldest map.",
        },
    ),
)
