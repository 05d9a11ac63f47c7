"""Universal Dependencies: parts of speech. (Nivre et al., 2020)

A folder of train.conllu, validation.conllu and test.conllu, each also .gz: a treebank's
LANGUAGE_NAME-ud-train.conllu, -dev and -test under these names, or named by
config.data.files; or records of TFDS universal_dependencies. Multiword ranges and empty
nodes are no words. For the language's own parts of speech take the task tagging with
config.data.fields.tags=xpos.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import tagging as scores
from lmtasks.tasks import base
from lmtasks.tasks import tagging

_UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
LABELS = tuple(_UPOS.split())
# What TFDS calls the tag of a multiword range or an empty node.
_NO_WORD = "_"


def example(record: base.Record) -> examples.Tagged:
    """Return the words with their parts of speech."""
    if "upos" not in record:
        return tagging.example(record)
    names = (*LABELS, _NO_WORD)
    tags = [labels.name(tag, names) for tag in record["upos"]]
    pairs = zip(record["tokens"], tags, strict=True)
    kept = [pair for pair in pairs if pair[1] != _NO_WORD]
    return examples.Tagged(*zip(*kept, strict=True)) if kept else examples.Tagged(())


TASK = dataclasses.replace(
    tagging.TASK,
    source=sources.Source(files={"*": "{split}.conllu"}),
    metrics=(scores.token_accuracy, scores.missed),
    example=example,
    labels=LABELS,
    samples=(
        {"words": "Der Hund bellt laut .", "tags": "DET NOUN VERB ADV PUNCT"},
        {
            "words": "Ella y yo vivimos en Cali",
            "tags": "PRON CCONJ PRON VERB ADP PROPN",
        },
        {"words": "Deux ou trois ?", "tags": "NUM CCONJ NUM PUNCT"},
    ),
)
