"""One's own conversations.

They have one of these forms, told apart by their keys:

    {"messages": [{"role": "user", "content": ".."}, ..]}
    {"conversations": [{"from": "human", "value": ".."}, ..]}, also with "system"
    {"conversations": ["..", "..", ..]}, texts that take turns
    {"instruction": "..", "input": "..", "output": "..", "history": [["..", ".."], ..]}
    {"instruction": "..", "instances": [{"input": "..", "output": ".."}, ..]}
    {"prompt": "..", "completion": ".."}

The fourth (Alpaca) needs the instruction only; of several instances (Self-Instruct) the
first is taken; "system" may stand beside each. A literal <|endoftext|> behind a
completion is left out. User and assistant take turns, the user first, and no turn is
empty: other conversations are malformed (config.data.on_error).
"""

import itertools

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_FORMS = (
    "messages (role, content), conversations (from, value, or plain texts), instruction "
    "(input, output, history, or instances) or prompt and completion"
)
_END = "<|endoftext|>"


def example(record: base.Record) -> examples.Turns:
    """Return the conversation of a record."""
    if "messages" in record:
        turns = _turns(record["messages"], "role", "content")
    elif "conversations" in record:
        turns = _conversation(record["conversations"])
    elif "instruction" in record:
        turns = _alpaca(record)
    elif "prompt" in record and "completion" in record:
        reply = record["completion"].removesuffix(_END)
        turns = seq2seq.turns(record["prompt"], reply).turns
    else:
        raise ValueError(
            f"a record with the keys {', '.join(record)} is no known form of chat; it "
            f"takes {_FORMS}."
        )
    if record.get("system"):
        turns = (examples.Turn("system", record["system"]), *turns)
    return examples.Turns(checked(turns))


def checked(turns: tuple[examples.Turn, ...]) -> tuple[examples.Turn, ...]:
    """Return the turns of a conversation that can be learned from.

    Raises:
        ValueError: there are none, one is empty, two of one role follow each other, or
            the assistant begins.
    """
    said = [turn for turn in turns if turn.role != "system"]
    if not said:
        raise ValueError("the conversation holds no turns.")
    if said[0].role != "user":
        raise ValueError(
            "the conversation begins with the assistant, but a reply answers something."
        )
    for i, (turn, after) in enumerate(itertools.pairwise(said), 1):
        if turn.role == after.role:
            raise ValueError(
                f"turns {i} and {i + 1} of the conversation are both the {turn.role}'s; "
                "they take turns."
            )
    for i, turn in enumerate(said, 1):
        if not turn.text.strip():
            raise ValueError(
                f"turn {i} of the conversation, the {turn.role}'s, is empty."
            )
    return turns


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


def _conversation(messages: list) -> tuple[examples.Turn, ...]:
    """Return messages that say who speaks, or texts that take turns."""
    if not all(isinstance(message, str) for message in messages):
        return _turns(messages, "from", "value")
    roles = ("user", "assistant")
    return tuple(examples.Turn(roles[i % 2], text) for i, text in enumerate(messages))


def _alpaca(record: base.Record) -> tuple[examples.Turn, ...]:
    """Return the history, the instruction with its input, and the output."""
    if record.get("instances"):
        record = record | record["instances"][0]
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
        {
            "instruction": "Name a colour.",
            "instances": [{"input": "", "output": "Green, perhaps."}],
        },
        {"prompt": "The sky is", "completion": "mostly blue.<|endoftext|>"},
    ),
)
