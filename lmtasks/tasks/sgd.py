"""Schema-Guided Dialogue: a user and a service. (Rastogi et al., 2020)

TFDS schema_guided_dialogue, or the published files: folders train, validation and
test of dialogues_*.json, each also .gz: a list of dialogues with turns (speaker,
utterance). Where validation is called dev:
config.data.files.validation="dev/dialogues_*.json". The service's turns are learned.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import json_readers
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import chat

_ROLES = {"USER": "user", "SYSTEM": "assistant"}
_NAMES = tuple(_ROLES)


def example(record: base.Record) -> examples.Turns:
    """Return the dialogue, up to the service's last turn."""
    if "turns" in record:
        said = [(turn["speaker"], turn["utterance"]) for turn in record["turns"]]
    else:  # TFDS: texts that take turns
        first = record["first_speaker"]
        texts = enumerate(
            record["utterances"], _NAMES.index(labels.name(first, _NAMES))
        )
        said = [(_NAMES[i % 2], text) for i, text in texts]
    turns = [examples.Turn(_ROLES[speaker], text) for speaker, text in said]
    while turns and turns[-1].role != "assistant":
        turns.pop()
    return examples.Turns(tuple(turns))


TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(
        tfds="schema_guided_dialogue",
        splits={"train": "train", "validation": "dev", "test": "test"},
        files={"*": "{split}/dialogues_*.json"},
        read=json_readers.json_list,
    ),
    example=example,
    samples=(
        {
            "dialogue_id": "1_00000",
            "turns": [
                {"speaker": "USER", "utterance": "I am looking for a table."},
                {"speaker": "SYSTEM", "utterance": "In which town?"},
                {"speaker": "USER", "utterance": "In Turin."},
                {"speaker": "SYSTEM", "utterance": "At which hour?"},
            ],
        },
        {
            "dialogue_id": "1_00001",
            "turns": [
                {"speaker": "USER", "utterance": "Is there a bus to the sea?"},
                {"speaker": "SYSTEM", "utterance": "Yes, at nine."},
                {"speaker": "USER", "utterance": "Thanks."},
            ],
        },
        {
            "dialogue_id": "1_00002",
            "turns": [
                {"speaker": "USER", "utterance": "Play something quiet."},
                {"speaker": "SYSTEM", "utterance": "Here is a song by Ada Berg."},
            ],
        },
        {"first_speaker": 0, "utterances": ["Is it open?", "Until six.", "Good."]},
    ),
)
