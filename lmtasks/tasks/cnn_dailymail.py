"""CNN/DailyMail: the highlights of news articles. (See et al., 2017)

TFDS cnn_dailymail, or a folder of train.jsonl, validation.jsonl and test.jsonl:
article, highlights, one a line.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = seq2seq.summarize("article")


def example(record: base.Record) -> examples.Turns:
    """Return an article as the prompt, its highlights as the reply."""
    return seq2seq.asked(PROMPT, [record["highlights"]], text=record["article"])


TASK = dataclasses.replace(
    seq2seq.SUMMARIES,
    source=sources.Source(tfds="cnn_dailymail", files={"*": "{split}.jsonl"}),
    example=example,
    prompt=PROMPT,
    samples=(
        {
            "article": "The bridge over the river was closed on Monday after a crack was found. Engineers expect repairs to take two weeks.",
            "highlights": "A cracked bridge stays closed for two weeks.",
        },
        {
            "article": "The town council voted to plant four hundred trees along the harbour by spring.",
            "highlights": "A town plants four hundred trees at its harbour.",
        },
        {
            "article": "A museum lends its oldest map to a school, where pupils copy it by hand.",
            "highlights": "Pupils copy a museum's oldest map.",
        },
    ),
)
