"""UD English EWT: parts of speech of web text. (Silveira et al., 2014)

A folder of train.conllu, validation.conllu and test.conllu, each also .gz.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.metrics import tagging as scores
from lmtasks.tasks import tagging

_UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"

TASK = dataclasses.replace(
    tagging.TASK,
    source=sources.Source(files={"*": "{split}.conllu"}),
    metrics=(scores.token_accuracy,),
    labels=tuple(_UPOS.split()),
    samples=(
        {"words": "The cat sleeps .", "tags": "DET NOUN VERB PUNCT"},
        {"words": "She quickly left Oslo", "tags": "PRON ADV VERB PROPN"},
        {"words": "Two or three ?", "tags": "NUM CCONJ NUM PUNCT"},
    ),
)
