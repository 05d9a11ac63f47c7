"""OPUS, medical: leaflets, English to German. (Tiedemann, 2012)

TFDS opus/medical (a hundredth of it is validation, another test), or a folder of
parallel text: train.en and train.de, and so on, each also .gz.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import multi30k


def example(record: base.Record) -> examples.Turns:
    """Return the English text as the prompt, the German one as the reply."""
    if "en" in record:
        record = {"source": record["en"], "target": record["de"]}
    return multi30k.example(record)


TASK = dataclasses.replace(
    multi30k.TASK,
    source=sources.Source(
        tfds="opus/medical",
        splits={
            "train": "train[:98%]",
            "validation": "train[98%:99%]",
            "test": "train[99%:]",
        },
        files={"*": "{split}.en+{split}.de"},
    ),
    example=example,
    samples=(
        {"en": "Take one tablet a day.", "de": "Nehmen Sie eine Tablette am Tag."},
        {"en": "Shake before use.", "de": "Vor Gebrauch sch\u00fctteln."},
        {"source": "Keep it cool.", "target": "K\u00fchl lagern."},
    ),
)
