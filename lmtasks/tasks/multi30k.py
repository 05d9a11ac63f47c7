"""Multi30k: captions of pictures, English to German. (Elliott et al., 2016)

A folder of parallel text: train.en and train.de, validation.en and validation.de,
test_2016_flickr.en and test_2016_flickr.de, each also .gz. Another direction is what
the names of config.data.files end in, as in train.en+train.fr. BLEU is on raw text with
sacrebleu's own tokenizer.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import translation

_DIRECTION = {"source_language": "en", "target_language": "de"}


def example(record: base.Record) -> examples.Turns:
    """Return the English sentence as the prompt, the German one as the reply."""
    return translation.example(_DIRECTION | record)


TASK = dataclasses.replace(
    translation.TASK,
    source=sources.Source(
        files={
            "*": "{split}.en+{split}.de",
            "test": "test_2016_flickr.en+test_2016_flickr.de",
        }
    ),
    example=example,
    samples=(
        {"source": "A dog runs.", "target": "Ein Hund rennt."},
        {"source": "Two women read.", "target": "Zwei Frauen lesen."},
        {"source": "The boat is red.", "target": "Das Boot ist rot."},
    ),
)
