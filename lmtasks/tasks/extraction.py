"""One's own texts to be read into JSON records.

Records are {"text", "record"}, the latter an object of texts, numbers, or lists of
them. The record is written as JSON, and always parses where config.decode.json_schema
gives a schema, or the file of one: its properties in the order they are to be written.
"""

import json

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import json_records
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = "Text: {text} Record:"


def example(record: base.Record) -> examples.Turns:
    """Return the text as the prompt, its record as JSON."""
    if not isinstance(record["record"], dict):
        raise ValueError(f"record={record['record']!r:.60} is no JSON object.")
    said = json.dumps(record["record"], ensure_ascii=False)
    return seq2seq.asked(PROMPT, [said], text=record["text"])


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Turns,
    metrics=(json_records.scores,),
    prompt=PROMPT,
    samples=(
        {
            "text": "She has worked at Zeta Labs since 2019.",
            "record": {"Organization": "Zeta Labs", "Start Date": "2019"},
        },
        {
            "text": "A table for two in Turin, please.",
            "record": {"city": "Turin", "people": 2},
        },
        {
            "text": "Flights to Oslo or to Bergen?",
            "record": {"destination": ["Oslo", "Bergen"]},
        },
    ),
)
