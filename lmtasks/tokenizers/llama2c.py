"""The vocabulary of llama2.c (karpathy, 2023) as a SentencePiece model."""

from __future__ import annotations

import struct

from sentencepiece import sentencepiece_model_pb2 as model_pb2

from lmtasks.tokenizers import plain

_PIECE = model_pb2.ModelProto.SentencePiece
_FIRST_BYTE = 3
_FIRST_TEXT = _FIRST_BYTE + 256


def to_model(content: bytes) -> bytes:
    """Return the SentencePiece BPE model that a `tokenizer.bin` was made from.

    The file, little endian: int32 longest entry, then per entry float32 score, int32
    length, bytes. Ids 0, 1, 2 are unknown, beginning and end, 3..258 the bytes
    <0x00>..<0xFF>; a space in an entry stands for U+2581. A text is cut after a
    space is put before it, nothing else is changed.

    Raises:
        ValueError: the content is not of this form.
    """
    entries = _entries(content)
    if len(entries) <= _FIRST_TEXT:
        raise ValueError(
            f"a llama2.c vocabulary begins with {_FIRST_TEXT} entries for unknown, "
            f"beginning, end and the bytes, but this one has {len(entries)} in all."
        )
    proto = model_pb2.ModelProto()
    proto.trainer_spec.model_type = 2  # BPE
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.vocab_size = len(entries)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.escape_whitespaces = True
    for id, (score, text) in enumerate(entries):
        piece, kind = _piece(id, text)
        proto.pieces.add(piece=piece, score=score, type=kind)
    return proto.SerializeToString()


def _entries(content: bytes) -> list[tuple[float, bytes]]:
    """Return (score, bytes) of each entry."""
    found, at = [], 4
    try:
        (longest,) = struct.unpack_from("<i", content)
        while at < len(content):
            score, length = struct.unpack_from("<fi", content, at)
            text = content[at + 8 : at + 8 + length]
            if not 0 <= length == len(text) or length > longest:
                raise ValueError(f"entry {len(found)} has a length of {length}")
            found.append((score, text))
            at += 8 + length
    except (struct.error, ValueError) as error:
        raise ValueError(
            f"this is no vocabulary in the layout of llama2.c: {error}."
        ) from error
    return found


def _piece(id: int, text: bytes) -> tuple[str, int]:
    """Return the spelling and the type of an entry."""
    if id < _FIRST_BYTE:
        name = ("<unk>", "<s>", "</s>")[id]
        return name, _PIECE.CONTROL if id else _PIECE.UNKNOWN
    if id < _FIRST_TEXT:
        return plain.bytes_piece(bytes([id - _FIRST_BYTE])), _PIECE.BYTE
    try:
        return text.decode().replace(" ", "\u2581"), _PIECE.NORMAL
    except UnicodeDecodeError as error:
        raise ValueError(f"entry {id} of the vocabulary is no UTF-8 text.") from error
