"""One's own conversations.

They have one of three forms, told apart by their keys:

    {"messages": [{"role": "user", "content": ".."}, ..]}
    {"conversations": [{"from": "human", "value": ".."}, ..]}, also with "system"
    {"instruction": "..", "input": "..", "output": "..", "history": [["..", ".."], ..]}

The last (Alpaca) needs the instruction only; "system" may stand beside it.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.tasks import base

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_FORMS = (
    "messages (role, content), conversations (from, value) or instruction (input, "
    "output, history)"
)


def example(record: base.Record) -> examples.Turns:
    """Return the conversation of a record."""
    if "messages" in record:
        turns = _turns(record["messages"], "role", "content")
    elif "conversations" in record:
        turns = _turns(record["conversations"], "from", "value")
    elif "instruction" in record:
        turns = _alpaca(record)
    else:
        raise ValueError(
            f"a record with the keys {', '.join(record)} is no known form of chat; it "
            f"takes {_FORMS}."
        )
    if record.get("system"):
        turns = (examples.Turn("system", record["system"]), *turns)
    if not turns:
        raise ValueError("the conversation holds no turns.")
    return examples.Turns(turns)


def _turns(messages: list, role: str, text: str) -> tuple[examples.Turn, ...]:
    """Return a list of messages as turns."""
    turns = []
    for message in messages:
        if message[role] not in _ROLES:
            raise ValueError(
                f"{role} {message[role]!r} is not one of {', '.join(_ROLES)}."
            )
        if not isinstance(message[text], str):
            raise ValueError(
                f"{text} of a {message[role]} message is "
                f"{type(message[text]).__name__}; only text is read."
            )
        turns.append(examples.Turn(_ROLES[message[role]], message[text]))
    return tuple(turns)


def _alpaca(record: base.Record) -> tuple[examples.Turn, ...]:
    """Return the history, the instruction with its input, and the output."""
    asked = [record["instruction"], record.get("input") or ""]
    rounds = [*(record.get("history") or ()), ("\n".join(filter(None, asked)), None)]
    turns = []
    for said, reply in rounds:
        turns += [examples.Turn("user", said), examples.Turn("assistant", reply)]
    turns.pop()
    if record.get("output") is not None:
        turns.append(examples.Turn("assistant", record["output"]))
    return tuple(turns)


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Turns,
    metrics=(generation.rouge, generation.exact_match),
    prompt="",
    samples=(
        {
            "messages": [
                {"role": "system", "content": "You answer in two words."},
                {"role": "user", "content": "What colour is grass?"},
                {"role": "assistant", "content": "Mostly green."},
                {"role": "user", "content": "And the sky?"},
                {"role": "assistant", "content": "Often blue."},
            ]
        },
        {
            "conversations": [
                {"from": "human", "value": "Say hello."},
                {"from": "gpt", "value": "Hello, friend!"},
            ],
            "system": "Be polite.",
        },
        {
            "instruction": "Add the numbers.",
            "input": "2 and 3",
            "output": "They make 5.",
        },
        {
            "instruction": "And times two?",
            "input": "",
            "output": "That is ten.",
            "history": [["What is two and three?", "Five."]],
        },
    ),
)
