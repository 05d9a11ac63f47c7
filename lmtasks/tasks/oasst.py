"""OpenAssistant: people's ranked conversations. (Koepf et al., 2023)

A folder of train.jsonl, validation.jsonl and test.jsonl, each also .gz, in the form of
the published *_trees.jsonl: prompt, a message with text, role (prompter, assistant),
rank and replies. Of several replies the best ranked is taken, down to the last answer.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import chat

_ROLES = {"prompter": "user", "assistant": "assistant"}


def example(record: base.Record) -> examples.Turns:
    """Return the best conversation of a tree."""
    message, turns = record["prompt"], []
    while message:
        turns.append(examples.Turn(_ROLES[message["role"]], message["text"]))
        replies = [m for m in message.get("replies") or () if not m.get("deleted")]
        message = min(replies, key=_rank, default=None)
    while turns and turns[-1].role != "assistant":
        turns.pop()  # a question that nobody answered
    return examples.Turns(tuple(turns))


def _rank(message: dict) -> float:
    """Return a reply's rank, 0 the best; those without one come last."""
    rank = message.get("rank")
    return float("inf") if rank is None else rank


TASK = dataclasses.replace(
    chat.TASK,
    source=sources.Source(files={"*": "{split}.jsonl"}),
    example=example,
    samples=(
        {
            "prompt": {
                "text": "Which wood floats?",
                "role": "prompter",
                "replies": [
                    {"text": "None.", "role": "assistant", "rank": 1},
                    {
                        "text": "Most do, oak too.",
                        "role": "assistant",
                        "rank": 0,
                        "replies": [{"text": "And ebony?", "role": "prompter"}],
                    },
                ],
            }
        },
        {
            "prompt": {
                "text": "Good morning!",
                "role": "prompter",
                "replies": [{"text": "Good morning to you.", "role": "assistant"}],
            }
        },
        {
            "prompt": {
                "text": "Count to three.",
                "role": "prompter",
                "replies": [{"text": "One, two, three.", "role": "assistant"}],
            }
        },
    ),
)
