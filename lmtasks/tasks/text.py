"""One's own plain text.

Records are {"text"}, lines of a .txt file, or whole documents. config.data.format says
what a record of a .txt file is: txt (a line), paragraphs (a block between empty lines)
or document (the file). A pattern in config.data.files takes many files:
config.data.files.train="books/*.txt".
"""

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.tasks import base


def example(record: base.Record) -> examples.Text:
    """Return the text of a record; also used by other tasks."""
    return examples.Text(record["text"])


TASK = base.Task(
    source=sources.Source(),
    example=example,
    kind=examples.Text,
    objective="clm",
    samples=(
        {"text": "The harbour was quiet. Two boats lay under the wall."},
        {"text": "def area(width, height):\n    return width * height\n"},
        {"text": "Snow fell all night, and in the morning nobody went out."},
    ),
)
