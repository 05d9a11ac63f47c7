"""One's own documents: which sentences to keep.

Records are {"sentences", "summary"}, or {"text", "summary"}, whose sentences are found;
"summaries" may list several. Which sentences to keep is given by "labels" (1 keeps
one), else it is those that together are most like the summary (the oracle). An encoder
reads the whole document and gives a tag to each sentence at its first piece.
"""

from lmtasks.data import examples
from lmtasks.data import sentences
from lmtasks.data import sources
from lmtasks.data import tag_text
from lmtasks.metrics import extract
from lmtasks.metrics import tagging
from lmtasks.tasks import base

LABELS = (extract.DROP, extract.KEEP)


def example(record: base.Record) -> examples.Sentences:
    """Return the document's sentences, those to keep, and its summaries."""
    given = record.get("summaries") or record.get("summary") or ()
    summaries = (given,) if isinstance(given, str) else tuple(given)
    words = record.get("sentences") or sentences.split(record["text"])
    return chosen(words, summaries, record.get("labels"))


def chosen(words, summaries: tuple[str, ...], labels=None) -> examples.Sentences:
    """Return sentences with the tags of 0 or 1 each, or of the oracle; a sentence
    without text is left out.
    """
    if labels is not None and len(labels) != len(words):
        raise ValueError(
            f"{len(words)} sentences have {len(labels)} labels; give one each."
        )
    if labels is not None and not summaries:
        raise ValueError(
            "the record has labels and no summary, which what is kept is compared with."
        )
    there = [i for i, word in enumerate(words) if word.strip()]
    document = tuple(words[i] for i in there)
    if labels is None and not summaries:
        return examples.Sentences(document)  # at inference
    if labels is None:
        kept = extract.oracle(document, summaries[0])
    else:
        kept = [place for place, i in enumerate(there) if int(labels[i])]
    tags = tuple(LABELS[i in kept] for i in range(len(document)))
    return examples.Sentences(document, tags, summaries=summaries)


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Tagged,
    metrics=(tagging.token_accuracy, extract.rouge),
    prompt="Sentences: {words} Tags:",
    labels=LABELS,
    parse=tag_text.read,
    finish=extract.summary,
    objective="tag",
    samples=(
        {
            "text": "It rained in May. The harvest failed. Prices of bread rose.",
            "summary": "The harvest failed. Prices of bread rose.",
        },
        {
            "sentences": ["We met at noon.", "The bridge opens in June."],
            "summary": "The bridge opens in June.",
        },
        {
            "sentences": ["A dog was found.", "It is brown.", "Call the mayor."],
            "summaries": ["A dog was found.", "A dog is looking for its owner."],
            "labels": [1, 0, 0],
        },
    ),
)
