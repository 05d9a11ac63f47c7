"""Words in their text, as subwords, and in windows that fit a row."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import unicodedata
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.tokenizers import frame

Spans = tuple[tuple[int, int], ...]


def split(text: str) -> tuple[tuple[str, ...], Spans]:
    """Return the words of a text and the (start, end) characters of each.

    White space separates words; a sign of punctuation and a Chinese character are words
    of their own, which is BERT's rule (Devlin et al., 2019, arXiv:1810.04805).

    >>> split("Apple's gone.")
    (('Apple', "'", 's', 'gone', '.'), ((0, 5), (5, 6), (6, 7), (8, 12), (12, 13)))
    """
    spans: list[tuple[int, int]] = []
    begin = None
    for i, char in enumerate(f"{text} "):
        alone = _alone(char)
        if begin is not None and (alone or char.isspace()):
            spans.append((begin, i))
            begin = None
        if alone:
            spans.append((i, i + 1))
        elif begin is None and not char.isspace():
            begin = i
    return tuple(text[start:end] for start, end in spans), tuple(spans)


@functools.lru_cache(maxsize=4096)
def _alone(char: str) -> bool:
    """Return whether a character is a word of its own."""
    if char.isascii():
        return char.isprintable() and not char.isalnum() and not char.isspace()
    name = unicodedata.name(char, "")
    ideograph = name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH"))
    return ideograph or unicodedata.category(char).startswith("P")


def placed(example: examples.Tagged) -> tuple[str, Spans]:
    """Return the text of the words and the (start, end) characters of each in it."""
    if example.text is not None:
        return example.text, example.spans
    ends = itertools.accumulate(len(word) + 1 for word in example.words)
    spans = (
        (end - 1 - len(word), end - 1)
        for word, end in zip(example.words, ends, strict=True)
    )
    return " ".join(example.words), tuple(spans)


@dataclasses.dataclass(frozen=True)
class Window:
    """Words first .. stop - 1 as one row; `own` are those it is responsible for."""

    first: int
    stop: int
    own: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Sentence:
    """Words as subwords, cut into rows.

    Attributes:
        pieces: the ids of each word; () where the tokenizer has none for it.
        windows: the rows, each word owned by one of them.
        before, after: ids around the words of every row.
        cut: for each word, how many ids were left out because it alone is too long.
    """

    pieces: tuple[tuple[int, ...], ...]
    windows: tuple[Window, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    cut: tuple[int, ...]

    def ids(self, k: int) -> list[int]:
        """Return the ids of row k."""
        window = self.windows[k]
        inner = itertools.chain(*self.pieces[window.first : window.stop])
        return [*self.before, *inner, *self.after]

    def slots(self, k: int) -> dict[int, range]:
        """Return {word: where its pieces stand in row k} of the words k owns."""
        window, at = self.windows[k], len(self.before)
        found = {}
        for word in range(window.first, window.stop):
            end = at + len(self.pieces[word])
            found[word] = range(at, end)
            at = end
        return {word: found[word] for word in window.own}


def align(words: Sequence[str], tokenizer, *, length: int, stride: int) -> Sentence:
    """Return the words as rows of at most `length` ids.

    Args:
        words: of one sentence. tokenizer: any of lmtasks.tokenizers.
        length: ids in a row, those around the words included.
        stride: ids that two windows in succession share at most; never more than half
            of a row.

    Raises:
        ValueError: a row has no room for a word.
    """
    around = frame.around(tokenizer)
    room = length - len(around.before) - len(around.after)
    if room < 1:
        raise ValueError(
            f"data.length={length} leaves no room for a word beside the "
            f"{length - room} special tokens; set it to 16 or more"
        )
    whole = tokenizer.encode_words(words)
    pieces = tuple(tuple(ids[:room]) for ids in whole)
    return Sentence(
        pieces,
        windows([len(ids) for ids in pieces], room=room, stride=stride),
        around.before,
        around.after,
        tuple(max(len(ids) - room, 0) for ids in whole),
    )


def windows(sizes: Sequence[int], *, room: int, stride: int) -> tuple[Window, ...]:
    """Return windows over words of these sizes, cut between words.

    A word belongs to the window where the shorter of its two contexts is longest, the
    first of several.

        sizes 1 1 1 1 1 1 1, room 4, stride 2  ->  words 0-3, 2-5, 4-6,
                                                   own 0 1 2 | 3 4 | 5 6

    Args:
        sizes: tokens of each word, none above `room`.
        room: tokens of a window.
        stride: tokens that two windows in succession share at most.
    """
    stride = min(stride, room // 2)
    places, first = [], 0
    while True:
        stop, used = first, 0
        while stop < len(sizes) and used + sizes[stop] <= room:
            used += sizes[stop]
            stop += 1
        places.append((first, stop))
        if stop == len(sizes):
            return _owned(sizes, places)
        assert stop > first, "a word is larger than the room"
        # Back from the next word over what is shared; that word has to fit, too.
        most = min(stride, room - sizes[stop])
        begin, shared = stop, 0
        while begin - 1 > first and shared + sizes[begin - 1] <= most:
            begin -= 1
            shared += sizes[begin]
        first = begin


def _owned(sizes, places) -> tuple[Window, ...]:
    """Return the windows with the words each one owns."""
    before = [0, *itertools.accumulate(sizes)]
    owned: list[list[int]] = [[] for _ in places]
    stops = [stop for _, stop in places]
    for word in range(len(sizes)):
        best, most = 0, -1
        for k in range(bisect.bisect_right(stops, word), len(places)):
            first, stop = places[k]
            if first > word:
                break
            left = before[word] - before[first]
            right = before[stop] - before[word + 1]
            if min(left, right) > most:
                best, most = k, min(left, right)
        owned[best].append(word)
    return tuple(
        Window(first, stop, tuple(own))
        for (first, stop), own in zip(places, owned, strict=True)
    )


def piece_spans(words: Sequence[str], pieces, tokenizer) -> list[Spans]:
    """Return the (start, end) characters of each piece within its own word.

    A tokenizer that cannot say it gives every piece the whole word.
    """
    # As `encode_words` has it: all words but the first follow a space.
    lead, found = "", []
    for word, ids in zip(words, pieces, strict=True):
        said, spans = tokenizer.encode_offsets(lead + word)
        if tuple(said[: len(ids)]) != tuple(ids):
            spans = [(0, len(lead + word))] * len(ids)
        before = len(lead)
        found.append(
            tuple(
                (max(start - before, 0), max(end - before, 0))
                for start, end in spans[: len(ids)]
            )
        )
        if word and not tokenizer.core.prefixed:
            lead = " "
    return found


def entity(text: str, kind: str, start: int, end: int) -> dict:
    """Return {"type", "text", "start", "end"} of some characters of a text."""
    return {"type": kind, "text": text[start:end], "start": start, "end": end}
