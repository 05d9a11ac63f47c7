"""SentencePiece, unigram and BPE: wrap a model file, or train one."""

from __future__ import annotations

import dataclasses
import io
import re
import typing
import unicodedata
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as model_pb2

from lmtasks.tokenizers import names as special_names
from lmtasks.tokenizers import plain
from lmtasks.tokenizers import plan as plans

FILE = "spiece.model"
_PIECE = model_pb2.ModelProto.SentencePiece
_NUMBER_COMMA = re.compile(r"\d,$")
_KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


@dataclasses.dataclass(frozen=True, eq=False)
class SentencePieceCore:
    """A SentencePiece model.

    Attributes:
        model: the model file as it was.
        folds: whether text is lower-cased and stripped of accents first (ALBERT).
        kind: "unigram" or "bpe".
        names: special token -> id.
        processor: cuts a text.
        bare: cuts a text without the model's space in front; None if it puts none.
        squeezes: whether white space at the ends of a text is dropped.
        byte_ids: the 256 pieces of byte fallback.
        anew: see core.Core.
    """

    model: bytes
    folds: bool
    kind: str
    names: Mapping[str, int]
    processor: sentencepiece.SentencePieceProcessor
    bare: sentencepiece.SentencePieceProcessor | None
    squeezes: bool
    byte_ids: frozenset[int]
    anew: bool = False

    @property
    def size(self) -> int:
        return self.processor.vocab_size()

    @property
    def prefixed(self) -> bool:
        return self.bare is not None

    def encode(self, text: str, continues: bool) -> list[int]:
        text = fold(text)[0] if self.folds else text
        # A squeezing model drops the first space, and puts it back as its prefix.
        as_usual = self.squeezes and text[:1].isspace()
        if continues and self.bare is not None and not as_usual:
            return self.bare.encode(text)
        return self.processor.encode(text)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        if self.folds:
            texts = [fold(text)[0] for text in texts]
        return self.processor.encode(texts)

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        origin = None
        if self.folds:
            text, origin = fold(text)
        found = self.processor.encode(text, return_type="offset_mapping")
        ids, spans = found["ids"], list(found["offsets"])
        # The library gives a character to the last of its bytes; give it to all.
        for i in reversed(range(len(ids) - 1)):
            start, end = spans[i]
            both = ids[i] in self.byte_ids and ids[i + 1] in self.byte_ids
            if both and start == end == spans[i + 1][0]:
                spans[i] = spans[i + 1]
        if origin is not None:
            spans = [_unfold(span, origin) for span in spans]
        return ids, spans

    def decode(self, ids: list[int]) -> str:
        return self.processor.decode(ids)

    def bytes_of(self, id: int) -> bytes | None:
        if self.processor.is_control(id) or self.processor.is_unknown(id):
            return None
        piece = self.processor.id_to_piece(id)
        if id in self.byte_ids:
            return plain.piece_bytes(piece)
        return piece.replace("\u2581", " ").encode()

    def piece(self, id: int) -> str:
        return self.processor.id_to_piece(id)

    def id_of(self, piece: str) -> int | None:
        id = self.processor.piece_to_id(special_names.clean(piece))
        return id if self.processor.id_to_piece(id) == piece else None

    def settings(self) -> dict[str, typing.Any]:
        more = {"anew": True} if self.anew else {}
        return {"engine": "sentencepiece", "folds": self.folds, **more}

    def files(self) -> dict[str, bytes]:
        return {FILE: self.model}


def parse(
    model: bytes, *, folds: bool | None = None, anew: bool = False
) -> SentencePieceCore:
    """Return the core of a model file.

    Args:
        model: the content of a `.model` file.
        folds: lower-case first; None = if no piece has a capital, as ALBERT's, and
            capitals could not be written as bytes either.
        anew: see core.Core.

    Raises:
        ValueError: this is no SentencePiece model.
    """
    try:
        proto = model_pb2.ModelProto.FromString(model)
        sentencepiece.SentencePieceProcessor(model_proto=model)
    except Exception as error:
        raise ValueError("this is no SentencePiece model file.") from error
    for piece in proto.pieces:
        if piece.type == _PIECE.USER_DEFINED and special_names.is_special(piece.piece):
            # User-defined pieces are found in any text; control pieces never.
            piece.type = _PIECE.CONTROL
    hidden = (_PIECE.CONTROL, _PIECE.UNKNOWN)
    names = {p.piece: i for i, p in enumerate(proto.pieces) if p.type in hidden}
    byte_ids = [i for i, p in enumerate(proto.pieces) if p.type == _PIECE.BYTE]
    if folds is None:
        folds = not byte_ids and not any(
            p.type == _PIECE.NORMAL and p.piece.lower() != p.piece for p in proto.pieces
        )
    for piece in proto.pieces if folds else ():
        # ALBERT's own code cuts "2010," into the number and the comma.
        piece.score -= 100.0 * (_NUMBER_COMMA.search(piece.piece) is not None)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    bare = None
    if proto.normalizer_spec.add_dummy_prefix:
        proto.normalizer_spec.add_dummy_prefix = False
        bare = sentencepiece.SentencePieceProcessor(model_proto=proto)
    return SentencePieceCore(
        model=model,
        folds=folds,
        kind=_KINDS[proto.trainer_spec.model_type],
        names=names,
        processor=processor,
        bare=bare,
        squeezes=proto.normalizer_spec.remove_extra_whitespaces,
        byte_ids=frozenset(byte_ids),
        anew=anew and bare is not None,
    )


def fold(text: str) -> tuple[str, list[int] | None]:
    """Return `text` in lower case without accents, and where each character was.

    Quotes of two signs become one `"`, as ALBERT's own code has it. None for the
    places says that nothing moved.

    Example: "Caf\\u00e9!" -> ("cafe!", [0, 1, 2, 3, 4]).
    """
    quotes = [match.start() for match in re.finditer("``|''", text)]
    if text.isascii() and not quotes:
        return text.lower(), None
    chars, origin, second = [], [], {i + 1 for i in quotes}
    for i, char in enumerate(text):
        if i in second:
            continue
        char = '"' if i + 1 in second else char
        for part in unicodedata.normalize("NFKD", char):
            if not unicodedata.combining(part):
                lower = part.lower()
                chars.append(lower)
                origin += [i] * len(lower)
    return "".join(chars), origin


def _unfold(span: tuple[int, int], origin: Sequence[int]) -> tuple[int, int]:
    start, end = span
    if start < end:
        return origin[start], origin[end - 1] + 1
    place = origin[start] if start < len(origin) else (origin or [-1])[-1] + 1
    return place, place


def train(texts: Iterable[str], plan: plans.Plan) -> SentencePieceCore:
    """Return a core trained on `texts`: identity normalization, every space kept.

    No space is put before a text, so `encode(a) + encode(b)` decodes to `a + b`.
    One thread: the result is a function of the texts and the plan.

    Raises:
        ValueError: the size does not fit the texts.
    """
    pad, bos, eos, unk = plan.specials[:4]
    writer = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=writer,
            model_type=plan.kind,
            vocab_size=plan.room,
            hard_vocab_limit=plan.options.exact,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            pad_piece=pad,
            bos_piece=bos,
            eos_piece=eos,
            unk_piece=unk,
            control_symbols=list(plan.specials[4:]),
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            byte_fallback=plan.options.byte_fallback,
            # The rarest characters need no piece where bytes can write them.
            character_coverage=0.9995 if plan.options.byte_fallback else 1.0,
            # The default drops longer texts without a word.
            max_sentence_length=2**30,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(str(error), plan) from error
    return parse(writer.getvalue(), folds=False)


def _explain(message: str, plan: plans.Plan) -> ValueError:
    """Return the trainer's complaint as one sentence for the user."""
    need = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if need:
        return plan.too_small(int(need[1]))
    most = re.search(r"too high \(\d+\).* <= (\d+)", message)
    if most:
        return plan.too_large(int(most[1]))
    return ValueError(f"SentencePiece cannot train on this text: {message}")
