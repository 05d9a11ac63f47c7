"""WikiText-2: Wikipedia articles, already in tokens. (Merity et al., 2017)

A folder of train_from_valid.txt, validation_from_valid.txt and test_a.txt; other files
by config.data.files.train=wiki.train.txt and so on. A record is one article, from its
heading " = Title = " to the next.
"""

import re
from collections.abc import Iterator

from lmtasks.data import examples
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import text

# Headings of sections have more signs: " = = Section = = ".
_TITLE = re.compile(r"\s*= (?!= ).*(?<! =) =\s*")


def read(path: str) -> Iterator[readers.Row]:
    """Yield {"text"} per article; what precedes the first title is one as well."""
    start, article = 1, []
    for number, line in readers.lines(path):
        if isinstance(line, readers.Bad):
            yield number, line
            continue
        if _TITLE.fullmatch(line):
            yield from _article(start, article)
            start, article = number, []
        article.append(line)
    yield from _article(start, article)


def _article(start: int, lines: list[str]) -> Iterator[readers.Row]:
    """Yield the article if its lines hold any text."""
    if any(line.strip() for line in lines):
        yield start, {"text": "\n".join(lines).strip() + "\n"}


TASK = base.Task(
    source=sources.Source(
        files={
            "train": "train_from_valid.txt",
            "validation": "validation_from_valid.txt",
            "test": "test_a.txt",
        },
        read=read,
    ),
    example=text.example,
    kind=examples.Text,
    objective="clm",
    samples=(
        {"text": "= Stone bridge =\n\nThe bridge crosses the <unk> .\n"},
        {"text": "= Rye =\n\nRye is a grass .\n\n= = Use = =\n\nIt is baked .\n"},
        {"text": "= Lake Vesna =\n\nThe lake is 40 @.@ 5 metres deep .\n"},
    ),
)
