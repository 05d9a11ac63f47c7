"""WMT 2014: news, English to German. (Bojar et al., 2014)

TFDS wmt14_translate/de-en, or a folder of parallel text: train.en and train.de, and so
on, each also .gz. BLEU is on raw text with sacrebleu's own tokenizer.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import multi30k
from lmtasks.tasks import opus

TASK = dataclasses.replace(
    multi30k.TASK,
    source=sources.Source(
        tfds="wmt14_translate/de-en", files={"*": "{split}.en+{split}.de"}
    ),
    example=opus.example,
    samples=(
        {"en": "The session is open.", "de": "Die Sitzung ist er\u00f6ffnet."},
        {"en": "Prices rose again.", "de": "Die Preise stiegen erneut."},
        {"source": "It rained.", "target": "Es regnete."},
    ),
)
