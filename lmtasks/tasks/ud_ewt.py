"""UD English EWT: parts of speech of web text. (Silveira et al., 2014)

TFDS universal_dependencies/en_ewt, or a folder of train.conllu, validation.conllu and
test.conllu, each also .gz: the files of UniversalDependencies/UD_English-EWT
under these names.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import ud_pos

TASK = dataclasses.replace(
    ud_pos.TASK,
    source=sources.Source(
        tfds="universal_dependencies/en_ewt",
        splits={"train": "train", "validation": "dev", "test": "test"},
        files={"*": "{split}.conllu"},
    ),
    samples=(
        {"words": "The cat sleeps .", "tags": "DET NOUN VERB PUNCT"},
        {"words": "She quickly left Oslo", "tags": "PRON ADV VERB PROPN"},
        {"words": "Two or three ?", "tags": "NUM CCONJ NUM PUNCT"},
    ),
)
