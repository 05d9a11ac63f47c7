"""Records of one split: length, index, where each came from, and what was skipped."""

from __future__ import annotations

import array
import bisect
import collections.abc
import dataclasses
import difflib
import hashlib
import typing
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from lmtasks.data import json_readers
from lmtasks.data import readers

Record = dict[str, typing.Any]
# One file, or the two of parallel text.
File = tuple[str, ...]

# Format name -> reader of one file.
FORMATS: dict[str, Callable[..., typing.Iterator[readers.Row]]] = {
    "jsonl": json_readers.jsonl,
    "json": json_readers.json_list,
    "squad": json_readers.squad,
    "csv": readers.csv_table,
    "tsv": readers.tsv_table,
    "txt": readers.text_lines,
    "paragraphs": readers.paragraphs,
    "document": readers.document,
    "conll": readers.conll,
    "conllu": readers.conllu,
    "parallel": readers.parallel,
}
# Formats that a file name's ending stands for.
ENDINGS = ("jsonl", "json", "csv", "tsv", "txt", "conll", "conllu")
ON_ERROR = ("raise", "skip")
# Above this share of malformed records the file is not what it is taken for.
_MOST_BAD = 0.1
_PLACES = 5
_SAMPLE = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Records(collections.abc.Sequence):
    """A split as a sequence of dicts of str, int, float, bool and lists of them.

    Attributes:
        items: the records, in memory or read one by one.
        name: what `where` says where there is no file and line.
        fingerprint: hexadecimal digits that change with the data.
        lines: for local files, the line each record begins in.
        files: for local files, (index of its first record, path), ascending.
        skipped: number of malformed records left out.
        skipped_places: "file:line: what is wrong" of the first of them.
        convert: makes an item a plain dict, where it is not one yet.
    """

    items: Sequence
    name: str
    fingerprint: str
    lines: Sequence[int] = ()
    files: Sequence[tuple[int, str]] = ()
    skipped: int = 0
    skipped_places: tuple[str, ...] = ()
    convert: Callable[[typing.Any], Record] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Record:
        size = len(self.items)
        if not -size <= i < size:
            raise IndexError(f"{self.name} has {size} records; there is no record {i}")
        # Lazy sources take no negative index.
        item = self.items[int(i) % size]
        if self.convert is None:
            return item
        try:
            return self.convert(item)
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.where(i)}: text that is no UTF-8 ({error})") from None

    def where(self, i: int) -> str:
        """Return where record i came from: "file:line", or the name and number."""
        i %= len(self.items)
        if not self.files:
            return f"{self.name} record {i}"
        at = bisect.bisect_right(self.files, i, key=lambda pair: pair[0]) - 1
        return f"{self.files[at][1]}:{self.lines[i]}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How local files become records.

    Attributes:
        format: a name of FORMATS, or "" for what the file name ends in.
        fields: record key -> column name or number; other columns stay as they are.
        read: own reader of one file instead of a format.
        on_error: "raise" or "skip".
        limit: read so many records only; 0 = all.
        check: raises for a record that the task cannot use.
    """

    format: str = ""
    fields: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    read: Callable[[str], Iterable[readers.Row]] | None = None
    on_error: str = "raise"
    limit: int = 0
    check: Callable[[Record], object] | None = None


def format_of(name: str) -> str:
    """Return the format that a file name stands for, "" for none.

    >>> format_of("train.jsonl.gz"), format_of("train.en+train.de")
    ('jsonl', 'parallel')
    """
    ending = name.removesuffix(".gz").rpartition(".")[2]
    if ending in ENDINGS:
        return ending
    return "parallel" if "+" in name else ""


def load(files: Sequence[File], layout: Layout, name: str) -> Records:
    """Read local files whole into memory (fits up to about 1 GB of text).

    Raises:
        ValueError: a malformed record (on_error "raise"), more than a tenth of them
            ("skip"), no record at all, or a file that cannot be read on.
    """
    items, lines, starts, bad = [], array.array("q"), [], []
    for file in files:
        label = "+".join(file)
        starts.append((len(items), label))
        for number, row in _rows(file, layout):
            row = row if isinstance(row, readers.Bad) else _mapped(row, layout.fields)
            row = row if isinstance(row, readers.Bad) else _accepted(row, layout.check)
            if not isinstance(row, readers.Bad):
                items.append(row)
                lines.append(number)
            elif layout.on_error == "raise":
                raise ValueError(
                    f"{label}:{number}: {row.what}; fix the line or set "
                    "config.data.on_error=skip."
                )
            else:
                bad.append(f"{label}:{number}: {row.what}")
            if layout.limit and len(items) == layout.limit:
                break
        if layout.limit and len(items) == layout.limit:
            break
    if len(bad) > _MOST_BAD * (len(bad) + len(items)):
        raise ValueError(
            f"{len(bad)} of {len(bad) + len(items)} records are malformed, more than "
            f"{_MOST_BAD:.0%}; the first: {bad[0]}. Check data.format and data.fields."
        )
    if not items:
        raise ValueError(f"{' '.join(label for _, label in starts)} holds no records.")
    return Records(
        items,
        name,
        _of_files(files, layout, len(items)),
        lines,
        starts,
        len(bad),
        tuple(bad[:_PLACES]),
    )


def _rows(file: File, layout: Layout) -> Iterable[readers.Row]:
    if layout.read is not None:
        return layout.read(*file)
    kind = layout.format or ("parallel" if len(file) == 2 else format_of(file[0]))
    if kind not in FORMATS:
        near = difflib.get_close_matches(kind, FORMATS, n=1)
        raise ValueError(
            (f"data.format={kind!r} is no format" if kind else "no format is known for ")
            + (f"; did you mean {near[0]!r}?" if near else f"{file[0] if not kind else ''};")
            + f" set data.format to one of {', '.join(FORMATS)}."
        )
    numbers = [c for c in layout.fields.values() if isinstance(c, int)]
    if kind in ("csv", "tsv"):
        headless = bool(numbers) and len(numbers) == len(layout.fields)
        rows = FORMATS[kind](*file, header=not headless)
        return _no_header(rows, file[0], layout.fields) if headless else rows
    if kind == "conll":
        return readers.conll(*file, columns=numbers)
    return FORMATS[kind](*file)
