"""Local files as records: which file a split is, its columns, its malformed lines."""

from __future__ import annotations

import array
import dataclasses
import difflib
import glob
import hashlib
import json
import os
import typing
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.data import bitext
from lmtasks.data import json_readers
from lmtasks.data import readers
from lmtasks.data import records

# One file, or the two of parallel text.
File = tuple[str, ...]
Reader = Callable[..., Iterable[readers.Row]]

# Format name -> reader of one file (of two for parallel text).
FORMATS: dict[str, Reader] = {
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
    "parallel": bitext.parallel,
}
# Formats that a file name's ending stands for.
ENDINGS = ("jsonl", "json", "csv", "tsv", "txt", "conll", "conllu")
# Above this share of malformed records the file is not what it is taken for.
_MOST_BAD = 0.1
_PLACES = 5


@dataclasses.dataclass(frozen=True)
class Layout:
    """How local files become records.

    Attributes:
        format: a name of FORMATS, or "" for what the file name ends in.
        fields: record key -> column name or number; other columns stay as they are.
        read: own reader of a file instead of a format.
        on_error: "raise", or "skip" to leave malformed records out, counted; with
            "quarantine" they are also listed in `quarantine`, a folder, if it is given.
        limit: read so many records only; 0 = all.
        check: raises for a record that the task cannot use.
    """

    format: str = ""
    fields: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    read: Reader | None = None
    on_error: str = "raise"
    limit: int = 0
    check: Callable[[records.Record], object] | None = None
    quarantine: str = ""


def format_of(file: File) -> str:
    """Return the format that a file's name stands for, "" for none.

    >>> format_of(("train.jsonl.gz",)), format_of(("train.en", "train.de"))
    ('jsonl', 'parallel')
    """
    if len(file) == 2:
        return "parallel"
    ending = file[0].removesuffix(".gz").rpartition(".")[2]
    return ending if ending in ENDINGS else ""


def find(folder: str, name: str) -> list[File]:
    """Return the files a name stands for, [] for none.

    A name is a path, absolute or inside the folder; a pattern such as `part*.jsonl`,
    whose files are read one after another; or two paths joined by "+" (parallel text).
    Where there is no such file, the same with ".gz" is looked for.
    """
    path = os.path.join(folder, name)
    for there in (path, path + ".gz"):
        if os.path.exists(there):
            return [(there,)]
    if "+" in name:
        sides = [find(folder, side) for side in name.split("+")]
        single = len(sides) == 2 and all(len(side) == 1 for side in sides)
        return [sides[0][0] + sides[1][0]] if single else []
    if glob.has_magic(name):
        found = glob.glob(path) or glob.glob(path + ".gz")
        return [(there,) for there in sorted(found)]
    return []


def discover(folder: str, split: str) -> list[File]:
    """Return the file {split}.ENDING of a folder, [] for none.

    Raises:
        ValueError: there are several.
    """
    names = [f"{split}.{ending}{gz}" for ending in ENDINGS for gz in ("", ".gz")]
    found = [n for n in names if os.path.isfile(os.path.join(folder, n))]
    if len(found) > 1:
        raise ValueError(
            f"{folder} holds {' and '.join(found)}; say which is the {split} split: "
            f"config.data.files.{split}={found[0]}."
        )
    return [(os.path.join(folder, name),) for name in found]


def splits_in(folder: str) -> list[str]:
    """Return X of all files X.ENDING that lie in a folder."""
    names = os.listdir(folder) if folder else []
    found = (name.removesuffix(".gz").rpartition(".") for name in names)
    return sorted({stem for stem, _, ending in found if stem and ending in ENDINGS})


def load(files: Sequence[File], layout: Layout, name: str) -> records.Records:
    """Read local files whole into memory, which fits up to about 1 GB of text.

    Raises:
        ValueError: a malformed record (on_error "raise"), more than a tenth of them
            ("skip"), no record at all, or a file that cannot be read on.
    """
    items, lines, starts, bad = [], array.array("q"), [], []
    for place, label, row in _rows(files, layout):
        if place == 0:
            starts.append((len(items), label))
        elif isinstance(row, readers.Bad):
            bad.append(f"{label}:{place}: {row.what}")
            if layout.on_error == "raise":
                raise ValueError(
                    f"{bad[0]}; fix the line or set config.data.on_error=skip or "
                    "quarantine (lmtasks prepare: --on_error=skip)."
                )
        else:
            items.append(row)
            lines.append(place)
            if len(items) == layout.limit:
                break
    if bad and layout.on_error == "quarantine":
        _set_apart(bad, layout.quarantine, name)
    total = len(bad) + len(items)
    if len(bad) > _MOST_BAD * total:
        raise ValueError(
            f"{len(bad)} of {total} records are malformed, more than {_MOST_BAD:.0%}; "
            f"the first is {bad[0]}; see config.data.format and config.data.fields."
        )
    if not items:
        raise ValueError(f"{', '.join(label for _, label in starts)} holds no records.")
    return records.Records(
        items,
        name,
        _fingerprint(files, layout, total),
        lines,
        tuple(starts),
        len(bad),
        tuple(bad[:_PLACES]),
    )


def _set_apart(bad: Sequence[str], folder: str, split: str) -> None:
    """Write {folder}/{split}.jsonl: the place of each malformed record and why."""
    if not folder:
        return
    os.makedirs(folder, exist_ok=True)
    file = os.path.join(folder, f"{split}.jsonl")
    temporary = f"{file}.{os.getpid()}.tmp"  # processes of one run write the same
    with open(temporary, "w") as out:
        for one in bad:
            place, _, what = one.partition(": ")
            row = {"place": place, "what": what}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(temporary, file)


def _rows(
    files: Sequence[File], layout: Layout
) -> Iterator[tuple[int, str, typing.Any]]:
    """Yield (line, file, record or Bad); line 0 begins a file."""
    for file in files:
        label = "+".join(file)
        yield 0, label, None
        for line, row in _read(file, layout):
            if not isinstance(row, readers.Bad):
                row = mapped(row, layout.fields)
            if not isinstance(row, readers.Bad) and layout.check is not None:
                row = _checked(row, layout.check)
            yield line, label, row


def _read(file: File, layout: Layout) -> Iterable[readers.Row]:
    if layout.read is not None:
        return layout.read(*file)
    kind = layout.format or format_of(file)
    if kind not in FORMATS:
        near = difflib.get_close_matches(kind, FORMATS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        what = (
            f"data.format={kind!r} is no format" if kind else f"{file[0]} has no format"
        )
        raise ValueError(f"{what}{hint} data.format takes {', '.join(FORMATS)}.")
    if (len(file) == 2) != (kind == "parallel"):
        raise ValueError(
            f"format {kind} does not go with {'+'.join(file)}: parallel text, and it "
            "alone, is two files joined by +."
        )
    numbers = [c for c in layout.fields.values() if isinstance(c, int)]
    if kind == "conll":
        return readers.conll(*file, columns=numbers)
    if kind in ("csv", "tsv"):
        headless = bool(numbers) and len(numbers) == len(layout.fields)
        rows = FORMATS[kind](*file, header=not headless)
        return _no_header(rows, file[0], layout.fields) if headless else rows
    return FORMATS[kind](*file)


def _no_header(rows: Iterable[readers.Row], path: str, fields) -> Iterator[readers.Row]:
    """Yield the rows of a table of numbered columns, unless the first is a header."""
    for place, (line, row) in enumerate(rows):
        if place == 0 and not isinstance(row, readers.Bad):
            said = [
                str(row.get(column)).strip().casefold() for column in fields.values()
            ]
            if said == [key.casefold() for key in fields]:
                raise ValueError(
                    f"{path}:{line} is a header, but data.fields numbers the columns; "
                    "name them: "
                    + " ".join(
                        f"config.data.fields.{k}={row[c]}" for k, c in fields.items()
                    )
                )
        yield line, row


def mapped(
    row: records.Record, fields: Mapping[str, str | int]
) -> records.Record | readers.Bad:
    """Return the record with its columns renamed, or Bad where one is missing."""
    missing = [column for column in fields.values() if column not in row]
    if missing:
        near = difflib.get_close_matches(str(missing[0]), map(str, row), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        columns = ", ".join(map(str, row)) or "nothing"
        return readers.Bad(f"no column {missing[0]!r} among {columns}{hint}")
    used = set(fields.values())
    kept = {k: v for k, v in row.items() if isinstance(k, str) and k not in used}
    if row and not kept and not fields:
        return readers.Bad("the columns have no names; number them in data.fields")
    return records.answers(kept | {key: row[c] for key, c in fields.items()})


def _checked(row: records.Record, check: Callable[[records.Record], object]):
    try:
        check(row)
    except KeyError as error:
        has = ", ".join(row)
        return readers.Bad(
            f"the field {error} is missing; the record has {has}; "
            "config.data.fields.KEY=COLUMN names another column"
        )
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        return readers.Bad(f"the task cannot use the record ({error})")
    return row


def _fingerprint(files: Sequence[File], layout: Layout, total: int) -> str:
    """Return a fingerprint of the files' bytes and how they are read, not their names."""
    sums = []
    for path in (path for file in files for path in file):
        with open(path, "rb") as file:
            sums.append(hashlib.file_digest(file, "blake2b").hexdigest())
    read = layout.read and f"{layout.read.__module__}.{layout.read.__qualname__}"
    setting = (layout.format, sorted(layout.fields.items()), read, layout.limit, total)
    return records.fingerprint(sums, setting)
