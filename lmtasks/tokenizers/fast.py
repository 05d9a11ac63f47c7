"""Files of the `tokenizers` library: wrap a tokenizer.json."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from collections.abc import Mapping

import tokenizers as library

from lmtasks.tokenizers import names as special_names
from lmtasks.tokenizers import plain

FILE = "tokenizer.json"
_SPACE = "\u2581"
_LABELS = {"WordPiece": "wordpiece", "Unigram": "unigram", "WordLevel": "word"}
# Put before a special name in the library's vocabulary, where a search over the
# text would find the name itself; a private-use character no text should hold.
_HIDDEN = "\U0010fffd"


def _byte_letters() -> dict[int, str]:
    """Return byte -> the letter that byte-level vocabularies write for it.

    Visible Latin-1 characters stand for themselves, the others, in order, are
    written by the characters from U+0100 on (Radford et al., 2019).
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in visible}
    for n, byte in enumerate(b for b in range(256) if b not in letters):
        letters[byte] = chr(256 + n)
    return letters


LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in LETTERS.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class FastCore:
    """A tokenizer.json.

    Attributes:
        raw: the file as it was.
        kind: "bytebpe", "bpe", "wordpiece", "unigram" or "word".
        names: special token -> id.
        engine: the library's object; cuts text, never into special tokens.
        size: the largest id plus 1.
        byte_level: whether pieces are written in the letters of bytes.
    """

    raw: bytes
    kind: str
    names: Mapping[str, int]
    engine: library.Tokenizer
    size: int
    byte_level: bool

    @functools.cached_property
    def prefixed(self) -> bool:
        tokens = self.engine.encode("a", add_special_tokens=False).tokens
        return tokens[:1] != [] and tokens[0][0] in (_SPACE, LETTERS[ord(" ")])

    @functools.cached_property
    def anew(self) -> bool:
        data = json.loads(self.raw)
        shape = [data.get("normalizer"), data.get("pre_tokenizer")]
        # Metaspace's scheme "first" means the beginning of everything.
        return self.prefixed and '"first"' not in json.dumps(shape)

    @functools.cached_property
    def _bare(self) -> library.Tokenizer | None:
        """Return an engine that puts no space before a text, if there can be one."""
        if not self.prefixed:
            return None
        engine = _engine(_without_prefix(json.loads(self.raw)))
        spaced = engine.encode(" a", add_special_tokens=False).ids
        # Where the text is split at spaces first, they would be lost everywhere.
        usual = self.engine.encode("a", add_special_tokens=False).ids
        return engine if spaced == usual else None

    def encode(self, text: str, continues: bool) -> list[int]:
        engine = (self._bare if continues else None) or self.engine
        return engine.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        found = self.engine.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        found = self.engine.encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def decode(self, ids: list[int]) -> str:
        return self.engine.decode(ids, skip_special_tokens=False)

    def bytes_of(self, id: int) -> bytes | None:
        token = self.engine.id_to_token(id)
        if token is None:
            return None
        if self.byte_level:
            if all(letter in _BYTES for letter in token):
                return bytes(_BYTES[letter] for letter in token)
            return token.encode()
        if self._byte_fallback and plain.piece_bytes(token):
            return plain.piece_bytes(token)
        # What it adds behind itself: the first piece of a text may lose its space.
        return self.decode([id, id])[len(self.decode([id])) :].encode()

    @functools.cached_property
    def _byte_fallback(self) -> bool:
        return _mentions(json.loads(self.raw).get("decoder"), "ByteFallback")

    def piece(self, id: int) -> str:
        token = self.engine.id_to_token(id)
        if token is None:
            return f"<id {id}>"
        if not self.byte_level or any(letter not in _BYTES for letter in token):
            return token
        content = bytes(_BYTES[letter] for letter in token)
        text = content.decode(errors="replace")
        if _SPACE in text or text.encode() != content:
            return plain.bytes_piece(content)
        return text.replace(" ", _SPACE)

    def id_of(self, piece: str) -> int | None:
        piece = special_names.clean(piece)
        if self.byte_level:
            content = plain.piece_bytes(piece) or piece.replace(_SPACE, " ").encode()
            id = self.engine.token_to_id("".join(LETTERS[byte] for byte in content))
            if id is not None:
                return id
        return self.engine.token_to_id(piece)

    def settings(self) -> dict[str, typing.Any]:
        return {"engine": "tokenizer.json"}

    def files(self) -> dict[str, bytes]:
        return {FILE: self.raw}


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A core with the special tokens that swallow white space on their side."""

    core: FastCore
    left: frozenset[str]
    right: frozenset[str]


def parse(raw: bytes) -> Parsed:
    """Return the core of a tokenizer.json.

    Added tokens that the file calls special, or whose spelling does, are special;
    other added tokens (runs of spaces, <think>) are ordinary pieces.

    Raises:
        ValueError: the content is no tokenizer.json that the library can read.
    """
    try:
        data = json.loads(raw)
        added = [dict(token) for token in data["added_tokens"] if _is_special(token)]
        engine = _engine(data)
    # The library raises bare Exceptions.
    except Exception as error:
        raise ValueError(f"this is no readable {FILE}: {error!r:.200}.") from error
    byte_level = _mentions(data.get("decoder"), "ByteLevel")
    plain_bpe = "bytebpe" if byte_level else "bpe"
    core = FastCore(
        raw=raw,
        kind=_LABELS.get(data["model"].get("type"), plain_bpe),
        names={token["content"]: token["id"] for token in added},
        engine=engine,
        size=max(engine.get_vocab().values(), default=-1) + 1,
        byte_level=byte_level,
    )
    return Parsed(
        core,
        frozenset(token["content"] for token in added if token.get("lstrip")),
        frozenset(token["content"] for token in added if token.get("rstrip")),
    )


def _is_special(token: Mapping[str, typing.Any]) -> bool:
    return bool(token.get("special")) or special_names.is_special(token["content"])


def _engine(data: dict[str, typing.Any]) -> library.Tokenizer:
    """Return the library's object for `data`, which is changed, as plain as can be.

    Nothing is added, cut off or drawn at random, and no text becomes a special token.
    """
    data["truncation"] = data["padding"] = data["post_processor"] = None
    model = data["model"]
    model["dropout"] = None
    hidden = set()
    for token in data["added_tokens"]:
        if _is_special(token):
            token["special"] = True
            hidden.add(token["content"])
            if model.get("type") in _LABELS:
                token["content"] = _HIDDEN + token["content"]
    if model.get("type") == "Unigram":
        model["vocab"] = [
            [_HIDDEN + piece if piece in hidden else piece, score]
            for piece, score in model["vocab"]
        ]
    elif model.get("type") in _LABELS:
        model["vocab"] = {
            _HIDDEN + piece if piece in hidden else piece: id
            for piece, id in model["vocab"].items()
        }
        if model.get("unk_token") in hidden:
            model["unk_token"] = _HIDDEN + model["unk_token"]
    engine = library.Tokenizer.from_str(json.dumps(data))
    # In the library's words: encode special tokens as if they were text.
    engine.encode_special_tokens = True
    return engine


def _mentions(part: typing.Any, kind: str) -> bool:
    """Return whether a part of the file, or a part of it, is of a type."""
    if isinstance(part, dict):
        return part.get("type") == kind or any(
            _mentions(value, kind) for value in part.values()
        )
    return isinstance(part, list) and any(_mentions(value, kind) for value in part)


def _without_prefix(part: typing.Any) -> typing.Any:
    """Return the file with every step that puts a space before a text switched off."""
    if isinstance(part, list):
        return [_without_prefix(value) for value in part]
    if not isinstance(part, dict):
        return part
    found = {
        key: value if key in ("model", "added_tokens") else _without_prefix(value)
        for key, value in part.items()
    }
    if found.get("type") == "Metaspace":
        found["prepend_scheme"] = "never"
    if "add_prefix_space" in found:
        found["add_prefix_space"] = False
    # How transformers writes a model file: the prefix comes before a U+2581, too.
    if found.get("type") == "Replace" and found["pattern"] == {"Regex": r"\A" + _SPACE}:
        found["content"] = _SPACE
    if found.get("type") == "Prepend":
        found["prepend"] = ""
    return found
