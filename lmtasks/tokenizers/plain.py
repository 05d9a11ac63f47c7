"""Bytes, characters and words: the tokenizers that need no library."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import re
import typing
from collections.abc import Iterable

PIECES = "pieces.json"
# A word with its inner apostrophes and hyphens, or one sign of punctuation.
_PATTERNS = {
    "char": re.compile(r"(?s:.)"),
    "word": re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]"),
}
_JOINERS = {"char": "", "word": " "}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def bytes_piece(content: bytes) -> str:
    """Return bytes in readable form: <0xE2><0x82>."""
    return "".join(f"<0x{byte:02X}>" for byte in content)


def piece_bytes(piece: str) -> bytes | None:
    """Return the bytes that `bytes_piece` wrote, or None for another text."""
    found = _BYTE.findall(piece)
    if not found or len(piece) != 6 * len(found):
        return None
    return bytes(int(digits, 16) for digits in found)


@dataclasses.dataclass(frozen=True)
class ByteCore:
    """UTF-8 bytes; byte b has id `first + b`."""

    first: int
    kind: str = "byte"
    prefixed: bool = False
    anew: bool = False

    @property
    def size(self) -> int:
        return self.first + 256

    def encode(self, text: str, continues: bool) -> list[int]:
        return [self.first + byte for byte in text.encode()]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text, False) for text in texts]

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        lengths = [len(char.encode()) for char in text]
        spans = [(i, i + 1) for i, n in enumerate(lengths) for _ in range(n)]
        return self.encode(text, False), spans

    def decode(self, ids: list[int]) -> str:
        content = bytes(i - self.first for i in ids if i >= self.first)
        return content.decode(errors="replace")

    def bytes_of(self, id: int) -> bytes | None:
        return bytes([id - self.first]) if id >= self.first else None

    def piece(self, id: int) -> str:
        byte = id - self.first
        return chr(byte) if 32 < byte < 127 else bytes_piece(bytes([byte]))

    def id_of(self, piece: str) -> int | None:
        content = piece_bytes(piece) or piece.encode()
        return self.first + content[0] if len(content) == 1 else None

    def settings(self) -> dict[str, typing.Any]:
        return {"engine": "byte", "first": self.first}

    def files(self) -> dict[str, bytes]:
        return {}


@dataclasses.dataclass(frozen=True)
class ListCore:
    """A list of characters or words; piece i has id `first + i`, others `unknown`.

    Attributes:
        pieces: the vocabulary, most frequent first.
        kind: "char" or "word".
        first: id of the first piece.
        unknown: id of what is not in the list.
        lowercase: whether text is lower-cased before the look-up.
    """

    pieces: tuple[str, ...]
    kind: str
    first: int
    unknown: int
    lowercase: bool = False
    prefixed: bool = False
    anew: bool = False

    @property
    def size(self) -> int:
        return self.first + len(self.pieces)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: self.first + i for i, piece in enumerate(self.pieces)}

    def encode(self, text: str, continues: bool) -> list[int]:
        ids, unknown = self._ids, self.unknown
        return [ids.get(p, unknown) for p, _ in _cut(text, self.kind, self.lowercase)]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text, False) for text in texts]

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        spans = [span for _, span in _cut(text, self.kind, self.lowercase)]
        return self.encode(text, False), spans

    def decode(self, ids: list[int]) -> str:
        pieces = [self.pieces[i - self.first] for i in ids if i >= self.first]
        return _JOINERS[self.kind].join(pieces)

    def bytes_of(self, id: int) -> bytes | None:
        if id < self.first:
            return None
        return (_JOINERS[self.kind] + self.pieces[id - self.first]).encode()

    def piece(self, id: int) -> str:
        return self.pieces[id - self.first]

    def id_of(self, piece: str) -> int | None:
        return self._ids.get(piece)

    def settings(self) -> dict[str, typing.Any]:
        return {
            "engine": "list",
            "kind": self.kind,
            "first": self.first,
            "unknown": self.unknown,
            "lowercase": self.lowercase,
        }

    def files(self) -> dict[str, bytes]:
        return {PIECES: json.dumps(self.pieces, indent=0).encode()}


def count(
    texts: Iterable[str], kind: str, *, room: int | None, lowercase: bool
) -> tuple[str, ...]:
    """Return the `room` most frequent pieces (None: all), ties in code point order."""
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        counts.update(piece for piece, _ in _cut(text, kind, lowercase))
    ordered = sorted(counts, key=lambda piece: (-counts[piece], piece))
    return tuple(ordered[:room])


def _cut(text: str, kind: str, lowercase: bool):
    """Yield (piece, (start, end)); lower-casing comes last, it may change lengths."""
    for match in _PATTERNS[kind].finditer(text):
        piece = match[0].lower() if lowercase else match[0]
        yield piece, match.span()
