"""A question on a context as rows: long contexts in windows that share tokens."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from lmtasks.data import chat
from lmtasks.objectives import base
from lmtasks.tokenizers import frame
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class Windows:
    """The rows of one question; row k holds context tokens places[k].

    Attributes:
        head: ids of every row up to its context: [CLS] question [SEP].
        tail: ids behind it.
        context: all ids of the context.
        spans: (start, end) of each in characters of the context.
        places: (begin, end) of each window in tokens of the context.
        cut: tokens of the question that were left out.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    context: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    places: tuple[tuple[int, int], ...]
    cut: int

    def row(self, k: int) -> Features:
        """Return the features of window k, without target and weight."""
        begin, end = self.places[k]
        ids = [*self.head, *self.context[begin:end], *self.tail]
        types = np.ones(len(ids), np.int32)
        types[: len(self.head)] = 0
        return {
            "tokens": chat.int_array(ids),
            "positions": np.arange(len(ids), dtype=np.int32),
            "token_types": types,
            "targets": np.zeros(len(ids), np.int32),
            "weights": np.zeros(len(ids), np.float32),
        }

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return (first, last) context token of some characters; None for no token.

        A token that holds only some of the characters belongs to them.

            "by Steve Jobs." as by|Steve|Jobs|., characters 3-13  ->  (1, 2)
        """
        inside = [
            i for i, (a, b) in enumerate(self.spans) if a < end and b > start and a < b
        ]
        return (inside[0], inside[-1]) if inside else None

    def slots_of(self, k: int, tokens: tuple[int, int]) -> tuple[int, int] | None:
        """Return where (first, last) stand in row k; None if they are not all there."""
        (begin, end), (first, last) = self.places[k], tokens
        if not begin <= first <= last < end:
            return None
        return len(self.head) + first - begin, len(self.head) + last - begin

    def lost(self, tokens: tuple[int, int]) -> int:
        """Return how many of (first, last) stand in no window that has most of them."""
        first, last = tokens
        most = max(min(last + 1, e) - max(first, b) for b, e in self.places)
        return last + 1 - first - max(most, 0)


def of(question: str, context: str, tokenizer, *, length: int, stride: int) -> Windows:
    """Return the rows, of at most `length` tokens, of a question on a context.

    Two windows in succession share `stride` tokens, at most half of a window. A
    question is cut at its end where it leaves the context less than half of the room.

    Raises:
        ValueError: the length leaves no room for a token of each.
    """
    around = frame.around(tokenizer)
    fixed = len(around.before) + len(around.between) + len(around.after)
    free = length - fixed
    if free < 2:
        raise ValueError(
            f"data.length={length} holds no question and context beside the {fixed} "
            "special tokens; set it to 64 or more"
        )
    ids, spans = encoded(tokenizer, context)
    asked = tokenizer.encode(question)
    asked, cut = base.cut_to(asked, free - min(len(ids), (free + 1) // 2))
    room = free - len(asked)
    return Windows(
        head=(*around.before, *asked, *around.between),
        tail=around.after,
        context=ids,
        spans=spans,
        places=cut_up(len(ids), room, min(stride, room // 2)),
        cut=cut,
    )


@functools.lru_cache(maxsize=64)
def encoded(tokenizer, text: str) -> tuple[tuple, tuple]:
    """Return (ids, spans) of a text; kept, for several questions ask about one."""
    ids, spans = tokenizer.encode_offsets(text)
    return tuple(ids), tuple(spans)


def cut_up(size: int, room: int, shared: int) -> tuple[tuple[int, int], ...]:
    """Return (begin, end) of windows of `room` over `size` tokens, sharing `shared`.

        size 7, room 4, shared 1   ->   (0, 4), (3, 7)

    A run of up to shared + 1 tokens lies whole in one of them.
    """
    begins = range(0, max(size - shared, 1), max(room - shared, 1))
    return tuple((begin, min(begin + room, size)) for begin in begins)
