"""One's own parallel text, in any direction.

Two files that correspond line by line and whose names end in their languages, as in
config.data.files.train=train.fr+train.en (French to English), each also .gz; or records
{"source", "target", "source_language", "target_language"} with the languages as codes
(fr) or names. Where the tokenizer has mBART's codes as special tokens (fr_XX),
they stand where mBART was trained to see them; the prompt is then `plain`, and
`codes` is for a model that reads them as text. BLEU is on raw text with sacrebleu's
own tokenizer for the language.
"""

from lmtasks.data import bitext
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.metrics import meteor
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = "translate {source_language} to {target_language}: {source}"
_SIDES = ("source", "target")


def example(record: base.Record) -> examples.Turns:
    """Return the source text as the prompt, the target text as the reply."""
    fields = {"source": record["source"]}
    for side in _SIDES:
        given = record.get(f"{side}_language")
        if not given:
            raise ValueError(
                f"the record has no {side}_language, and no file name that ends in a "
                "language; name the two files TEXT.en+TEXT.de, or give the fields"
            )
        name, code = bitext.named(given)
        fields |= {f"{side}_language": name, f"{side}_code": code}
    return seq2seq.asked(PROMPT, [record["target"]], **fields)


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Turns,
    metrics=(generation.bleu, generation.chrf, generation.ter, meteor.meteor),
    prompt=PROMPT,
    prompts={
        "codes": "{source_code} {source} {target_code}",
        "plain": "{source}",
        "names": "{source_language}: {source} {target_language}:",
    },
    decode={"method": "beam", "beams": 4},
    samples=(
        {
            "source": "Un chien court.",
            "target": "A dog runs.",
            "source_language": "fr",
            "target_language": "en",
        },
        {
            "source": "Two women read.",
            "target": "Zwei Frauen lesen.",
            "source_language": "English",
            "target_language": "German",
        },
        {
            "source": "The boat is red.",
            "target": "La barca \u00e8 rossa.",
            "source_language": "en",
            "target_language": "it",
        },
    ),
)
