"""HumanEval: functions from head and docstring. (Chen et al., 2021)

A folder with HumanEval.jsonl, also .gz: prompt, canonical_solution, test, entry_point.
It is a test set: there is nothing to train on. `lmtasks eval --allow_code_exec` runs
the tests.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import code
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return head and docstring as the prompt, the body as the reply."""
    found = seq2seq.turns(record["prompt"], record["canonical_solution"])
    tests = f"{record['test']}\ncheck({record['entry_point']})"
    return dataclasses.replace(found, tests=tests, opening=record["prompt"])


TASK = base.Task(
    source=sources.Source(files={"test": "HumanEval.jsonl"}),
    example=example,
    kind=examples.Turns,
    metrics=(generation.exact_match, code.valid_completion),
    prompt="",
    samples=(
        {
            "prompt": 'def add(a, b):\n    """Return the sum."""\n',
            "canonical_solution": "    return a + b\n",
            "test": "def check(f):\n    assert f(1, 2) == 3",
            "entry_point": "add",
        },
        {
            "prompt": 'def last(items):\n    """Return the last item."""\n',
            "canonical_solution": "    return items[-1]\n",
            "test": "def check(f):\n    assert f([1, 2]) == 2",
            "entry_point": "last",
        },
        {
            "prompt": 'def back(text):\n    """Return the text reversed."""\n',
            "canonical_solution": "    return text[::-1]\n",
            "test": "def check(f):\n    assert f('ab') == 'ba'",
            "entry_point": "back",
        },
    ),
)
