"""Token ids, as they come, into text that is certain."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from collections.abc import Sequence

from lmtasks.tokenizers import plain


class TextStream:
    """Turns token ids, as they come, into pieces of text that never split a character.

    However the ids are split, the pieces joined are those of one push, and

        continues=False: cut(tokenizer.decode(ids), stops).removeprefix(" "), the
            text of an answer;
        continues=True: cut(tokenizer.decode(ids, continues=True), stops), what goes
            on from a prompt, with the space in front.

    Every id is decoded twice at most: alone for the text it adds, and before its
    successors, which at the beginning of a text might lose a space.

    Attributes:
        finished: whether a stop string was found; all from it on is dropped.

    Example (bytes, stops=("###",)): push("a#") -> "a", push("b##") -> "#b",
    push("#c") -> "", and finished is True.
    """

    def __init__(self, tokenizer, stops: Sequence[str] = (), continues: bool = False):
        self.finished = False
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._continues = continues
        self._whole_runs = _needs_whole_runs(tokenizer)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._context: list[int] = []  # what `_pending` is decoded behind
        self._spoken = ""  # the text of `_context`
        self._begun = False  # whether `_context` may leave out what came before it
        self._pending: list[int] = []  # ids whose text may change yet
        self._settled = 0  # how many of `_pending` end with a whole character
        self._held = ""  # text that may begin a stop string
        self._said = False  # whether any text came, a dropped space included

    def push(self, ids: Iterable[int]) -> str:
        """Return the new text that no later id can change."""
        for id in map(int, ids):
            piece = self._tokenizer.bytes_of(id)
            if piece is None:
                continue
            self._pending.append(id)
            self._utf8.decode(piece)
            if not self._utf8.getstate()[0] and not self._in_run(id):
                self._settled = len(self._pending)
        ready = self._pending[: self._settled]
        self._pending, self._settled = self._pending[self._settled :], 0
        return self._say(self._decode(ready))

    def finish(self) -> str:
        """Return what was held back; an unfinished character becomes U+FFFD."""
        ready, self._pending, self._settled = self._pending, [], 0
        text = self._say(self._decode(ready))
        held, self._held = self._held, ""
        return text + self._drop_space(held)

    def _in_run(self, id: int) -> bool:
        """Return whether the bytes that follow may change the text of this one."""
        if not self._whole_runs:
            return False
        return plain.piece_bytes(self._tokenizer.piece(id)) is not None

    def _decode(self, ids: list[int]) -> str:
        """Return the text that ids add to those before them."""
        if not ids or self.finished:
            return ""
        if self._begun:
            text = self._tokenizer.decode(self._context + ids)[len(self._spoken) :]
            alone = self._tokenizer.decode(ids)
            # Without text it would not show what a text loses at its beginning.
            if alone:
                self._context, self._spoken = ids, alone
            return text
        before = self._tokenizer.decode(self._context, continues=self._continues)
        self._context = self._context + ids
        text = self._tokenizer.decode(self._context, continues=self._continues)
        self._spoken = self._tokenizer.decode(self._context)
        self._begun = bool(self._spoken)
        return text[len(before) :]

    def _say(self, text: str) -> str:
        """Return what is certain of the text held back and the new text."""
        if self.finished:
            return ""
        text = self._held + text
        place = _first(text, self._stops)
        if place is not None:
            self.finished, self._held = True, ""
            return self._drop_space(text[:place])
        certain = len(text) - _overlap(text, self._stops)
        self._held = text[certain:]
        return self._drop_space(text[:certain])

    def _drop_space(self, text: str) -> str:
        """Return the text without the space in front of an answer."""
        first = bool(text) and not self._said
        self._said = self._said or bool(text)
        return text.removeprefix(" ") if first and not self._continues else text


def cut(text: str, stops: Sequence[str]) -> str:
    """Return the text before the stop string that is complete first.

    Example: cut("a b c", ("b c", "c")) = "a ": both end together, the longer counts.
    """
    return text[: _first(text, stops)]


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Return where the stop string begins that is complete first, or None."""
    found = [(text.find(stop), len(stop)) for stop in stops if stop in text]
    return min(((at + n, at) for at, n in found), default=(0, None))[1]


def _overlap(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end of `text` may begin a stop string."""
    return max(
        (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])),
        default=0,
    )


def _needs_whole_runs(tokenizer) -> bool:
    """Return whether one wrong byte spoils the characters before it.

    So do the byte pieces in files of the `tokenizers` library: of a run of bytes that
    is no UTF-8 as a whole, every byte becomes U+FFFD.
    """
    ids = [tokenizer.id_of(f"<0x{byte:02X}>") for byte in "\u00e9".encode() + b"\xff"]
    return None not in ids and not tokenizer.decode(ids).startswith("\u00e9")
