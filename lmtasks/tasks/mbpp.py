"""MBPP: Python functions from a sentence. (Austin et al., 2021)

A folder of train.jsonl, validation.jsonl and test.jsonl: text, code, test_list. The
tests stand in the prompt, as in the paper; `lmtasks eval --allow_code_exec` runs them.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import code
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = "{text}\nYour code should pass these tests:\n{tests}\n"


def example(record: base.Record) -> examples.Turns:
    """Return sentence and tests as the prompt, the function as the reply."""
    tests = "\n".join(record["test_list"])
    replies = [record["code"].replace("\r\n", "\n")]
    found = seq2seq.asked(PROMPT, replies, text=record["text"], tests=tests)
    before = record.get("test_setup_code") or ""
    return dataclasses.replace(found, tests=f"{before}\n{tests}")


TASK = base.Task(
    source=sources.Source(files={"*": "{split}.jsonl"}),
    example=example,
    kind=examples.Turns,
    metrics=(generation.exact_match, code.valid_syntax),
    prompt=PROMPT,
    prompts={
        "sentence": "{text}\n",
        "docstring": '"""\n{text}\n{tests}\n"""\n',
    },
    samples=(
        {
            "text": "Write a function to add two numbers.",
            "code": "def add(a, b):\r\n    return a + b",
            "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
        },
        {
            "text": "Write a function to find the last item of a list.",
            "code": "def last(items):\r\n    return items[-1]",
            "test_list": ["assert last([1, 2]) == 2"],
        },
        {
            "text": "Write a function to reverse a text.",
            "code": "def back(text):\r\n    return text[::-1]",
            "test_list": ['assert back("ab") == "ba"'],
        },
    ),
)
