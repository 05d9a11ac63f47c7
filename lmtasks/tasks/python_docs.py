"""Python's own functions, in a sentence each.

Functions and the first sentences of their docstrings, split by module; every Python
brings them along. They differ between versions, so numbers measured on them do not
compare.
"""

from lmtasks.data import examples
from lmtasks.data import functions
from lmtasks.data import sources
from lmtasks.metrics import generation
from lmtasks.metrics import meteor
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = "{code}\n\nThe function above in a sentence:"


def example(record: base.Record) -> examples.Turns:
    """Return a function as the prompt, its docstring's first sentence as the reply."""
    return seq2seq.asked(PROMPT, [record["doc"]], code=record["code"])


SAMPLES = (
    {
        "name": "shop.price",
        "head": "def price(item):",
        "body": "    return item.cost * 1.2",
        "code": "def price(item):\n    return item.cost * 1.2",
        "doc": "Return what an item costs with its tax.",
    },
    {
        "name": "shop.last",
        "head": "def last(items):",
        "body": "    return items[-1]",
        "code": "def last(items):\n    return items[-1]",
        "doc": "Return the last of the items.",
    },
    {
        "name": "shop.close",
        "head": "def close(self):",
        "body": "    if self.open:\n        self.open = False",
        "code": "def close(self):\n    if self.open:\n        self.open = False",
        "doc": "Close the shop, if it is open.",
    },
)
TASK = base.Task(
    source=sources.Source(make=functions.records),
    example=example,
    kind=examples.Turns,
    metrics=(generation.rouge, generation.bleu, meteor.meteor),
    prompt=PROMPT,
    prompts={"comment": "{code}\n# What it does:"},
    samples=SAMPLES,
)
