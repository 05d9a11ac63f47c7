"""What a tokenizer core must offer."""

from __future__ import annotations

import typing

Spans = list[tuple[int, int]]


class Core(typing.Protocol):
    """What cuts plain text into ids; it knows nothing of special tokens.

    `prefixed` says that the core puts a space before a text of its own accord
    (Llama, T5); `continues` asks it not to, because the text goes on from another.
    `anew` says that whoever published it does so again after each special token.
    """

    kind: str
    size: int
    prefixed: bool
    anew: bool

    def encode(self, text: str, continues: bool) -> list[int]: ...

    def encode_batch(self, texts: list[str]) -> list[list[int]]: ...

    def offsets(self, text: str) -> tuple[list[int], Spans]: ...

    def decode(self, ids: list[int]) -> str: ...

    def piece(self, id: int) -> str: ...

    def bytes_of(self, id: int) -> bytes | None: ...

    def id_of(self, piece: str) -> int | None: ...

    def settings(self) -> dict[str, typing.Any]: ...

    def files(self) -> dict[str, bytes]: ...
