"""HumanEval: functions from head and docstring. (Chen et al., 2021)

A folder with HumanEval.jsonl, also .gz: prompt, canonical_solution, test, entry_point.
It is a test set: there is nothing to train on.
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import code
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq


def example(record: base.Record) -> examples.Turns:
    """Return head and docstring as the prompt, the body as the reply."""
    return seq2seq.turns(record["prompt"], record["canonical_solution"])


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
            "entry_point": "add",
        },
        {
            "prompt": 'def last(items):\n    """Return the last item."""\n',
            "canonical_solution": "    return items[-1]\n",
            "entry_point": "last",
        },
        {
            "prompt": 'def back(text):\n    """Return the text reversed."""\n',
            "canonical_solution": "    return text[::-1]\n",
            "entry_point": "back",
        },
    ),
)
