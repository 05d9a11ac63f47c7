"""File formats: each reader turns a path into (line number, record) pairs.

A record that cannot be read is yielded as `Bad` in its place, so that one bad line does
not end the file; what follows from it is decided in `data.records`. What makes the rest
of a file unreadable raises ValueError. Every format may be gzipped (`.gz`), is UTF-8
(a byte-order mark is dropped), and ends its lines with \\n or \\r\\n.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import zlib
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator

# Python's own default of 128 KiB refuses long documents.
_LARGEST_CELL = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Bad:
    """What is wrong with a record, in its place."""

    what: str


Row = tuple[int, dict | Bad]


def raw_lines(path: str) -> Iterator[tuple[int, bytes | Bad]]:
    """Yield (line number, bytes with the line end) of a plain or gzipped file."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        number = 0
        while True:
            number += 1
            try:
                line = file.readline()
            except EOFError:
                yield number, Bad("the gzip file is cut off; what follows is lost")
                return
            except (gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path} is not a sound gzip file ({error}); copy or fetch it again."
                ) from None
            if not line:
                return
            if number == 1:
                if line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise ValueError(
                        f"{path} is UTF-16; convert it to UTF-8: "
                        f"iconv -f UTF-16 -t UTF-8 {path}"
                    )
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield number, line


def lines(path: str) -> Iterator[tuple[int, str | Bad]]:
    """Yield (line number, text without its line end), strictly UTF-8."""
    for number, line in raw_lines(path):
        yield number, line if isinstance(line, Bad) else _decoded(line)


def _decoded(line: bytes) -> str | Bad:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return Bad(
            f"byte 0x{line[error.start]:02x} in column {error.start + 1} is no UTF-8"
        )
    if "\0" in text:
        return Bad(f"NUL byte in column {text.index(chr(0)) + 1}")
    return text.removesuffix("\n").removesuffix("\r")


def text_lines(path: str) -> Iterator[Row]:
    """Yield {"text"} per line; lines of white space only hold no record."""
    for number, line in lines(path):
        if isinstance(line, Bad):
            yield number, line
        elif line.strip():
            yield number, {"text": line}


def paragraphs(path: str) -> Iterator[Row]:
    """Yield {"text"} per block of lines between lines of white space only."""
    for number, block in _blocks(path):
        yield number, block if isinstance(block, Bad) else {"text": "\n".join(block)}


def document(path: str) -> Iterator[Row]:
    """Yield the whole file as one {"text"}, byte for byte."""
    whole = []
    for number, line in raw_lines(path):
        wrong = line if isinstance(line, Bad) else _decoded(line)
        if isinstance(wrong, Bad):
            yield number, wrong
            return
        whole.append(line)
    if any(line.strip() for line in whole):
        yield 1, {"text": b"".join(whole).decode()}


def _blocks(path: str) -> Iterator[tuple[int, list[str] | Bad]]:
    """Yield (first line number, lines) between lines of white space only.

    White space separates, not emptiness: WNUT-17 separates by a lone tab. A block with
    a bad line is one Bad.
    """
    start, block, wrong = 0, [], None
    for number, line in lines(path):
        if isinstance(line, Bad):
            wrong = wrong or (number, line)
        elif line.strip():
            start = start if block else number
            block.append(line)
        else:
            if block or wrong:
                yield wrong or (start, block)
            block, wrong = [], None
    if block or wrong:
        yield wrong or (start, block)


def encodable(text: str) -> bool:
    """Return whether UTF-8 can hold the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def csv_table(path: str, header: bool = True) -> Iterator[Row]:
    """Yield the rows of a comma-separated file, quotes as in RFC 4180.

    Keys are the names in the first line, or column numbers without a header.
    """
    yield from _table(path, _csv_cells(path), header)


def tsv_table(path: str, header: bool = True) -> Iterator[Row]:
    """Yield the rows of a tab-separated file; a quote is text like any other."""
    cells = (
        (n, line if isinstance(line, Bad) else line.split("\t"))
        for n, line in lines(path)
        if isinstance(line, Bad) or line.strip()
    )
    yield from _table(path, cells, header)


def _table(path: str, cells: Iterable[tuple[int, list | Bad]], header: bool):
    names = None
    for number, row in cells:
        if names is None:
            if header and isinstance(row, Bad):
                raise ValueError(
                    f"{path}:{number}: the header cannot be read: {row.what}."
                )
            if isinstance(row, Bad):
                yield number, row
                continue
            names = row if header else list(range(len(row)))
            if len(set(names)) < len(names):
                raise ValueError(
                    f"{path}: two columns have one name: {', '.join(names)}."
                )
            if header:
                continue
        if isinstance(row, Bad):
            yield number, row
        elif len(row) != len(names):
            said = f"{len(row)} columns where the first line has {len(names)}"
            yield number, Bad(said)
        else:
            yield number, dict(zip(names, row, strict=True))


def _csv_cells(path: str) -> Iterator[tuple[int, list | Bad]]:
    ends = []

    def text():
        for number, line in raw_lines(path):
            if isinstance(line, Bad):
                ends.append((number, line))
            else:
                yield line.decode(errors="surrogateescape")

    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(text(), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if not ends and "end of data" in str(error):
                raise ValueError(
                    f"{path}:{number}: a quote opened in this record is never closed; "
                    'close it, or double it ("") where it is text.'
                ) from None
            row = Bad(f"not valid csv ({error})")
        if row:
            yield number, row if isinstance(row, Bad) else _cells(row)
    yield from ends


def _cells(row: list[str]) -> list[str] | Bad:
    whole = "".join(row)
    if "\0" in whole:
        return Bad("NUL byte")
    return row if encodable(whole) else Bad("bytes that are no UTF-8")


def conll(
    path: str, columns: Collection[int] = (), *, wordless: bool = False
) -> Iterator[Row]:
    """Yield sentences of one token a line, columns apart by tabs or else white space.

    Keys are "words" (first column) and "tags" (last), or the numbers in `columns`, from
    0; only then may lines differ in their number of columns. -DOCSTART- lines only
    separate. A line that holds a tab is cut at tabs alone. With `wordless` a line of
    an "O" without a word is left out instead of refused.
    """
    wanted = dict(zip(columns, columns, strict=True)) or {"words": 0, "tags": -1}
    for number, block in _blocks(path):
        if isinstance(block, Bad):
            yield number, block
            continue
        tokens = [line.split("\t" if "\t" in line else None) for line in block]
        width = 0 if columns else len(tokens[0])
        gone = [wordless and [c.strip() for c in row] == ["", "O"] for row in tokens]
        pairs = list(zip(tokens, gone, strict=True))
        wrong = ["" if out else _bad_token(row, wanted, width) for row, out in pairs]
        if any(wrong):
            place = next(i for i, what in enumerate(wrong) if what)
            yield number + place, Bad(wrong[place])
            continue
        tokens = [row for row, out in pairs if not out and row[0] != "-DOCSTART-"]
        if tokens:
            yield (
                number,
                {k: [row[c].strip() for row in tokens] for k, c in wanted.items()},
            )


def _bad_token(row: list[str], wanted: dict[str | int, int], width: int) -> str:
    """Return what is wrong with a line of CoNLL, "" for nothing."""
    if width and len(row) != width:
        return f"{len(row)} columns where the sentence begins with {width}"
    # Column c >= 0 needs c + 1 columns, column -c needs c; a tag is not the word.
    least = max(2 if width else 1, *(c + 1 if c >= 0 else -c for c in wanted.values()))
    if len(row) < least:
        return f"{len(row)} columns where {least} are needed"
    return (
        "" if all(row[c].strip() for c in wanted.values()) else "an empty word or tag"
    )


def conllu(path: str) -> Iterator[Row]:
    """Yield {"words", "tags", "lemmas", "xpos"} of CoNLL-U: FORM, UPOS, LEMMA, XPOS.

    Comments, multiword ranges (1-2) and empty nodes (1.1) are no words.
    """
    names = {"words": 1, "tags": 3, "lemmas": 2, "xpos": 4}
    for number, block in _blocks(path):
        if isinstance(block, Bad):
            yield number, block
            continue
        rows = [(i, line.split("\t")) for i, line in enumerate(block, start=number)]
        rows = [(i, row) for i, row in rows if not row[0].startswith("#")]
        short = [(i, row) for i, row in rows if len(row) != 10]
        words = [row for _, row in rows if row[0].isdigit()]
        if short:
            yield short[0][0], Bad(f"{len(short[0][1])} columns, not 10")
        elif words:
            yield number, {key: [row[c] for row in words] for key, c in names.items()}
