"""A small world as a conversation: what is in front?"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import toy
from lmtasks.metrics import generation
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Turns:
    """Return the turns of the record."""
    turns = (examples.Turn(turn["role"], turn["text"]) for turn in record["turns"])
    return examples.Turns(tuple(turns))


TASK = base.Task(
    source=sources.Source(make=toy.toy_turns),
    example=example,
    kind=examples.Turns,
    metrics=(generation.exact_match,),
    prompt="",
    samples=(
        {
            "turns": [
                {
                    "role": "user",
                    "text": "the cat stands behind the oak . what is in front ?",
                },
                {"role": "assistant", "text": "the oak ."},
            ]
        },
        {
            "turns": [
                {
                    "role": "user",
                    "text": "the pig stands before the reed . what is at the back ?",
                },
                {"role": "assistant", "text": "the reed ."},
                {"role": "user", "text": "and in front ?"},
                {"role": "assistant", "text": "the pig ."},
            ]
        },
        {
            "turns": [
                {
                    "role": "user",
                    "text": "the lily stands before the hen . what is in front ?",
                },
                {"role": "assistant", "text": "the lily ."},
            ]
        },
    ),
)
