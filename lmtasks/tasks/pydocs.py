"""Python's own reference and readable modules.

Text that needs no download: every Python brings it along. It differs between versions,
so numbers measured on it do not compare.
"""

from lmtasks.data import examples
from lmtasks.data import pydocs
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import text

TASK = base.Task(
    source=sources.Source(make=pydocs.records),
    example=text.example,
    kind=examples.Text,
    objective="clm",
    samples=(
        {"name": "one", "text": "The with statement wraps a block of code.\n"},
        {"name": "two", "text": "def first(items):\n    return items[0]\n"},
        {"name": "three", "text": "A set holds no item twice.\n"},
    ),
)
