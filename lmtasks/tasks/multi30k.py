"""Multi30k: captions of pictures, English to German. (Elliott et al., 2016)

A folder of parallel text: train.en and train.de, validation.en and validation.de,
test_2016_flickr.en and test_2016_flickr.de, each also .gz. BLEU is on raw text with
sacrebleu's own tokenizer.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.metrics import meteor
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return the English sentence as the prompt, the German one as the reply."""
    prompt = f"translate English to German: {record['source']}"
    return seq2seq.turns(prompt, record["target"])


TASK = base.Task(
    source=sources.Source(
        files={
            "*": "{split}.en+{split}.de",
            "test": "test_2016_flickr.en+test_2016_flickr.de",
        }
    ),
    example=example,
    kind=examples.Turns,
    metrics=(generation.bleu, generation.chrf, generation.ter, meteor.meteor),
    prompt="",
    decode={"method": "beam", "beams": 4},
    samples=(
        {"source": "A dog runs.", "target": "Ein Hund rennt."},
        {"source": "Two women read.", "target": "Zwei Frauen lesen."},
        {"source": "The boat is red.", "target": "Das Boot ist rot."},
    ),
)
