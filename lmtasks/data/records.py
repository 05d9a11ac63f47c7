"""Records of one split: length, index, where each came from, and what was skipped."""

from __future__ import annotations

import bisect
import collections.abc
import dataclasses
import hashlib
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

Record = dict[str, typing.Any]
# Name -> what lies below, for the keys that hold a list of dicts as a dict of lists.
Rows = Mapping[str, "Rows"]
# Records that a fingerprint of a sequence reads; more only costs time.
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
            raise IndexError(f"{self.name} has {size} records, so none at {i}")
        # Lazy sequences need not know negative or numpy indices.
        item = self.items[int(i) % size]
        if self.convert is None:
            return item
        try:
            return self.convert(item)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.where(i)}: text that is no UTF-8 ({error})"
            ) from None

    def first(self, count: int) -> Records:
        """Return the first `count` records; all for 0."""
        if not 0 < count < len(self.items):
            return self
        mark = fingerprint(self.fingerprint, count)
        return dataclasses.replace(
            self, items=_First(self.items, count), fingerprint=mark
        )

    def where(self, i: int) -> str:
        """Return where record i came from: "file:line", or the name and number."""
        i %= len(self.items)
        if not self.files:
            return f"{self.name} record {i}"
        at = bisect.bisect_right(self.files, i, key=lambda pair: pair[0]) - 1
        return f"{self.files[at][1]}:{self.lines[i]}"


@dataclasses.dataclass(frozen=True, eq=False)
class _First(collections.abc.Sequence):
    """The beginning of a sequence that need not know slices."""

    items: Sequence
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int):
        return self.items[i]


def plain(value: typing.Any, rows: Rows | None = None) -> typing.Any:
    """Return a TFDS value as str, int, float, bool, lists and dicts of them.

    Bytes become text, numpy numbers Python's, arrays lists (images stay arrays). `rows`
    names the keys whose dict of lists is a list of dicts:

    >>> plain({"turns": {"role": [b"user"], "text": [b"hi"]}}, {"turns": {}})
    {'turns': [{'role': 'user', 'text': 'hi'}]}
    """
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return value if value.ndim > 1 else plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    rows = rows or {}
    return {
        key: _row_list(item, rows[key]) if key in rows else plain(item)
        for key, item in value.items()
    }


def _row_list(columns: Mapping | Sequence, rows: Rows) -> list[Record]:
    """Return the list of dicts that TFDS gives as a dict of lists, or as a sequence."""
    if not isinstance(columns, dict):
        return [plain(item, rows) for item in columns]
    # Columns are of one length; those of tfds.testing.mock_data are not.
    found = zip(*columns.values(), strict=False)
    return [plain(dict(zip(columns, row, strict=True)), rows) for row in found]


def answers(record: Record) -> Record:
    """Return the record with SQuAD's answers as (text, first character) pairs.

    They come as [{"text", "answer_start"}], as {"text": [..], "answer_start": [..]}, or
    as pairs, by where the data was fetched.
    """
    given = record.get("answers")
    if isinstance(given, dict) and set(given) == {"text", "answer_start"}:
        pairs = list(zip(given["text"], given["answer_start"], strict=True))
    elif _are(given, dict) and all(set(a) == {"text", "answer_start"} for a in given):
        pairs = [(a["text"], a["answer_start"]) for a in given]
    elif _are(given, list) and all(len(a) == 2 for a in given):
        pairs = [tuple(a) for a in given]
    else:
        return record
    return {**record, "answers": pairs}


def _are(value: typing.Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], kind)


def fingerprint(*parts: typing.Any) -> str:
    """Return 32 hexadecimal digits that change with any of the parts."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def sample(items: Sequence) -> list:
    """Return up to 256 evenly spaced items, the first and the last among them."""
    at = np.linspace(0, len(items) - 1, min(len(items), _SAMPLE)).astype(int)
    return [items[int(i)] for i in at]
