"""Python's own functions, from head and docstring.

Functions of up to 30 lines, split by module; every Python brings them along. They
differ between versions, so numbers measured on them do not compare.
"""

import dataclasses

from lmtasks.data import examples
from lmtasks.metrics import code
from lmtasks.metrics import generation
from lmtasks.tasks import base
from lmtasks.tasks import python_docs
from lmtasks.tasks import seq2seq

PROMPT = '{head}\n    """{doc}"""\n'


def example(record: base.Record) -> examples.Turns:
    """Return head and docstring as the prompt, the body as the reply."""
    fields = {"head": record["head"], "doc": record["doc"]}
    return seq2seq.asked(PROMPT, [record["body"]], **fields)


TASK = dataclasses.replace(
    python_docs.TASK,
    example=example,
    metrics=(generation.exact_match, generation.bleu, code.valid_completion),
    prompt=PROMPT,
    prompts={"sentence": "# {doc}\n{head}\n"},
)
