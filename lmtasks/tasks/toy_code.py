"""Small programs, Python to JavaScript and back."""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import toy_code
from lmtasks.metrics import code
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import seq2seq

PROMPT = "translate {source_language} to {target_language}:\n{source}\n"
_KEYS = ("source", "source_language", "target_language")


def example(record: base.Record) -> examples.Turns:
    """Return a program as the prompt, the same in the other language as the reply."""
    fields = {key: record[key] for key in _KEYS}
    return seq2seq.asked(PROMPT, [record["target"]], **fields)


TASK = base.Task(
    source=sources.Source(make=toy_code.toy_code),
    example=example,
    kind=examples.Turns,
    metrics=(generation.exact_match, code.equal_results),
    prompt=PROMPT,
    decode={"max_tokens": 128},
    samples=(
        {
            "source": "def f(a, b):\n    c = a + 2\n    return c * b",
            "target": "function f(a, b) {\n    let c = a + 2;\n    return c * b;\n}",
            "source_language": "Python",
            "target_language": "JavaScript",
            "results": [2, 12, 14, -4],
        },
        {
            "source": "function f(a, b) {\n    let c = a - b;\n    if (a < b) {\n"
            "        c = b - a;\n    }\n    return c + 1;\n}",
            "target": "def f(a, b):\n    c = a - b\n    if a < b:\n        c = b - a\n"
            "    return c + 1",
            "source_language": "JavaScript",
            "target_language": "Python",
            "results": [2, 2, 4, 8],
        },
        {
            "source": "def f(a, b):\n    c = b * b\n    return c - a",
            "target": "function f(a, b) {\n    let c = b * b;\n    return c - a;\n}",
            "source_language": "Python",
            "target_language": "JavaScript",
            "results": [1, 7, -1, 19],
        },
    ),
)
