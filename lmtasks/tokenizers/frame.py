"""The special tokens that a checkpoint was trained to see around its texts."""

from __future__ import annotations

import dataclasses
import functools
import json

import tokenizers as library

from lmtasks.tokenizers import base
from lmtasks.tokenizers import fast


@dataclasses.dataclass(frozen=True)
class Frame:
    """Ids around texts: before + A + after, or before + A + between + B + after."""

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@functools.lru_cache(maxsize=8)
def frame_of(tokenizer: base.Tokenizer) -> Frame | None:
    """Return what stands around one text and a pair, or None where nothing says so.

    A tokenizer.json says it itself. Else the roles do: BERT's [CLS] A [SEP] B [SEP];
    RoBERTa's <s> A </s></s> B </s>; T5's A </s> B </s>, with no beginning.

    Example (BERT): Frame((101,), (102,), (102,)).
    """
    core = tokenizer.core
    if isinstance(core, fast.FastCore) and _processed(core.raw):
        return _stated(core.raw)
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    if cls is not None and sep is not None:
        double = tokenizer.piece(cls) == "<s>"
        return Frame((cls,), (sep, sep) if double else (sep,), (sep,))
    if tokenizer.bos_id is None and tokenizer.eos_id is not None:
        return Frame((), (tokenizer.eos_id,), (tokenizer.eos_id,))
    return None


def around(tokenizer: base.Tokenizer) -> Frame:
    """Return what an encoder reads around a text and between two."""
    found = frame_of(tokenizer)
    if found is not None and found.before:
        return found
    cls = tokenizer.cls_id if tokenizer.cls_id is not None else tokenizer.bos_id
    sep = tokenizer.sep_id if tokenizer.sep_id is not None else tokenizer.eos_id
    if cls is None or sep is None:
        raise ValueError(
            "the tokenizer has neither [CLS]/[SEP] nor begin/end-of-sequence tokens, "
            "which an encoder's rows need; train one with `lmtasks tokenizer train`"
        )
    return Frame((cls,), (sep,), (sep,))


def _processed(raw: bytes) -> bool:
    return json.loads(raw).get("post_processor") is not None


def _stated(raw: bytes) -> Frame:
    """Return what the file's own post-processor puts around a pair."""
    engine = library.Tokenizer.from_str(raw.decode())
    engine.no_padding()
    engine.no_truncation()
    found = engine.encode("a", "a")
    texts = [i for i, side in enumerate(found.sequence_ids) if side is not None]
    second = found.sequence_ids.index(1)
    first_end = max(i for i in texts if i < second) + 1
    ids = found.ids
    return Frame(
        tuple(ids[: texts[0]]),
        tuple(ids[first_end:second]),
        tuple(ids[texts[-1] + 1 :]),
    )
