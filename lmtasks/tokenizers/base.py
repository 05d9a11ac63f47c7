"""The one tokenizer protocol; libraries and small cores do the cutting."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.tokenizers import core as cores
from lmtasks.tokenizers import names as special_names

META = "lmtasks_tokenizer.json"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tokenizer:
    """Text to ids and back; equal, hashed and pickled by content.

    `decode(encode(text)) == text` holds for byte, char (over its alphabet), bytebpe
    and GPT-2's files, and for SentencePiece trained here with byte fallback, where
    only U+2581, SentencePiece's sign for a space, comes back as a space; without
    byte fallback unknown characters are lost. `word` and WordPiece keep no
    spacing, and a lower-case vocabulary neither case nor accents; T5's and
    ALBERT's SentencePiece files normalize (NFKC, single spaces).

    Attributes:
        core: cuts plain text.
        names: special token -> id; text never becomes one of these unless asked.
        roles: "pad", "bos", "eos", "unk", "cls", "sep", "mask" -> id.
        left: special tokens that swallow the white space before them.
        right: special tokens that swallow the white space after them.
        chat_template: Jinja text that writes a conversation, or "".
    """

    core: cores.Core
    names: Mapping[str, int]
    roles: Mapping[str, int]
    left: frozenset[str] = frozenset()
    right: frozenset[str] = frozenset()
    chat_template: str = ""

    @property
    def kind(self) -> str:
        """Return what cuts the text, such as "bpe" or "wordpiece"."""
        return self.core.kind

    @functools.cached_property
    def size(self) -> int:
        """Return the number of ids, the largest one plus 1."""
        return max([self.core.size, *(i + 1 for i in self.names.values())])

    @property
    def pad_id(self) -> int:
        """Return what fills empty slots; eos, else 0, where there is no such token."""
        return self.roles["pad"]

    @property
    def bos_id(self) -> int | None:
        """Return the beginning of a text, or None."""
        return self.roles.get("bos")

    @property
    def eos_id(self) -> int | None:
        """Return the end of a text, or None."""
        return self.roles.get("eos")

    @property
    def unk_id(self) -> int | None:
        """Return what stands for unknown text, or None."""
        return self.roles.get("unk")

    @property
    def cls_id(self) -> int | None:
        """Return the token whose place holds the class, or None."""
        return self.roles.get("cls")

    @property
    def sep_id(self) -> int | None:
        """Return what ends each of two texts, or None."""
        return self.roles.get("sep")

    @property
    def mask_id(self) -> int | None:
        """Return what hides a token, or None."""
        return self.roles.get("mask")

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """Return the ids that never come from text and are not decoded."""
        return frozenset(self.names.values())

    @functools.cached_property
    def sentinels(self) -> tuple[int, ...]:
        """Return the ids of <extra_id_0>, <extra_id_1>, ... in this order."""
        found = {}
        for name, id in self.names.items():
            match = special_names.SENTINEL.fullmatch(name)
            if match:
                found[int(match[1])] = id
        return tuple(found[n] for n in sorted(found))

    def encode(
        self, text: str, *, special: bool = False, continues: bool = False
    ) -> list[int]:
        """Return the ids of `text`; no token is added at its ends.

        Args:
            text: any string.
            special: let text that spells a special token become its id.
            continues: the text goes on from other ids, so a tokenizer that puts a
                space before every text (Llama, T5) shall not: " Positive" after a
                prompt is then one piece with one space.

        Example (GPT-2): "Hello world" -> [15496, 995].
        """
        text = special_names.clean(text)
        if not special:
            return self.core.encode(text, continues)
        ids: list[int] = []
        for part, id in self._parts(text):
            if id is None:
                ids += self.core.encode(part, continues)
            else:
                ids.append(id)
            continues = True
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return `encode` of each text, by the library's own batch."""
        return self.core.encode_batch([special_names.clean(text) for text in texts])

    def encode_offsets(self, text: str) -> tuple[list[int], cores.Spans]:
        """Return ids and the (start, end) of each in characters of `text`.

        White space at the ends of a span is left out unless there is nothing else;
        a token without text of its own has start == end, and each of the bytes of
        one character has the span of this character.

        Example (GPT-2): "Hello world" -> ([15496, 995], [(0, 5), (6, 11)]).
        """
        ids, spans = self.core.offsets(special_names.clean(text))
        return ids, [_trim(text, *span) for span in spans]

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Return the ids of each word as in the sentence that joins them by spaces.

        The space before a word belongs to the word where the tokenizer keeps spaces;
        an empty word has no ids.

        Example (GPT-2): ["Hello", "world"] -> [[15496], [995]].
        """
        filled = [i for i, word in enumerate(words) if word]
        texts = [words[i] for i in filled]
        if not self.core.prefixed:
            texts[1:] = [f" {text}" for text in texts[1:]]
        ids: list[list[int]] = [[] for _ in words]
        for i, found in zip(filled, self.encode_batch(texts), strict=True):
            ids[i] = found
        return ids

    def decode(self, ids: Iterable[int], *, continues: bool = False) -> str:
        """Return the text of `ids`, without special and impossible ids.

        Negative ids and ids outside the vocabulary are skipped. Bytes that are
        no UTF-8 become U+FFFD.

        Args:
            ids: any integers, an array too.
            continues: the ids go on from others: keep the space in front.
        """
        kept = self._ordinary(ids)
        anchor = self._ordinary(self._anchor) if continues else []
        if not anchor:
            return self.core.decode(kept)
        return self.core.decode(anchor + kept)[len(self.core.decode(anchor)) :]

    def bytes_of(self, id: int) -> bytes | None:
        """Return what an id adds in the middle of a text, or None if it is no text.

        Special ids and ids outside the vocabulary are None. One character may be
        spread over the bytes of several ids.

        Example: GPT-2's 995 (" world") is b" world"; BERT's "##ing" is b"ing", its
        "cat" b" cat"; Llama's "<0xE2>" is b"\\xe2".
        """
        id = int(id)
        ordinary = 0 <= id < self.core.size and id not in self.special_ids
        return self.core.bytes_of(id) if ordinary else None

    def piece(self, id: int) -> str:
        """Return the readable piece of an id; a special token by its name.

        A space reads as U+2581 and bytes that are no text as <0xE2>, except that
        characters and words are shown as they are.
        """
        id = int(id)
        if id in self._by_id:
            return self._by_id[id]
        return self.core.piece(id) if 0 <= id < self.core.size else f"<id {id}>"

    def id_of(self, piece: str) -> int | None:
        """Return the id of a piece or special token, or None; undoes `piece`."""
        if piece in self.names:
            return self.names[piece]
        return self.core.id_of(piece)

    def files(self) -> dict[str, bytes]:
        """Return file name -> content, everything that `load` needs."""
        about = {
            "kind": self.kind,
            "size": self.size,
            "core": self.core.settings(),
            "names": dict(self.names),
            "roles": dict(self.roles),
            "left": sorted(self.left),
            "right": sorted(self.right),
        }
        if self.chat_template:
            about["chat_template"] = self.chat_template
        return {**self.core.files(), META: json.dumps(about, indent=1).encode()}

    def save(self, folder: str | pathlib.Path) -> None:
        """Write `files` into `folder`, which is made if absent."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            (folder / name).write_bytes(content)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Return 16 hex digits of the sha256 of the saved content."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files().items()):
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return int(self.fingerprint, 16)

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, {self.size} ids, {self.fingerprint})"

    def __reduce__(self):
        # The library objects are rebuilt from the files, the one path of `load`.
        from lmtasks.tokenizers import files

        return files.from_files, (self.files(),)

    def _parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Yield (text, None) and (name, id) in the order of `text`."""
        at = 0
        for match in self._special_pattern.finditer(text) if self.names else ():
            name, before = match[0], text[at : match.start()]
            before = before.rstrip() if name in self.left else before
            if before:
                yield before, None
            yield name, self.names[name]
            at = match.end()
            if name in self.right:
                at = len(text) - len(text[at:].lstrip())
        if at < len(text):
            yield text[at:], None

    @functools.cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.names, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    @functools.cached_property
    def _by_id(self) -> dict[int, str]:
        return {id: name for name, id in self.names.items()}

    @functools.cached_property
    def _anchor(self) -> list[int]:
        return self.core.encode("a", False)

    def _ordinary(self, ids: Iterable[int]) -> list[int]:
        size, special = self.core.size, self.special_ids
        return [i for i in map(int, ids) if 0 <= i < size and i not in special]


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    if not part or part.isspace():
        return start, end
    return end - len(part.lstrip()), start + len(part.rstrip())
