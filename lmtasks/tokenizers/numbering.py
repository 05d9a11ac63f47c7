"""Ids that a checkpoint's model gives to SentencePiece pieces where they differ."""

from __future__ import annotations

import dataclasses

from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2 as model_pb2

_PIECE = model_pb2.ModelProto.SentencePiece
_MBART = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ "
    "ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"
)
_MBART50 = (
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN "
    "pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES "
    "sl_SI"
)
# How many pieces stand before Pegasus' own, two of them in the file.
_PEGASUS = 103


@dataclasses.dataclass(frozen=True)
class Numbering:
    """Names in front of the pieces and behind them.

    Attributes:
        head: special tokens from id 0; "<unk>" among them stands for unknown text.
        skip: how many pieces at the front of the file they replace.
        tail: special tokens on top.
    """

    head: tuple[str, ...] = ()
    skip: int = 0
    tail: tuple[str, ...] = ()


# The file has <unk> <s> </s>; the models count <s> <pad> </s> <unk> (fairseq).
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
_MASKED = Numbering(_FAIRSEQ, 3, ("<mask>",))
_BY_CLASS = {
    "XLMRobertaTokenizer": _MASKED,
    "BarthezTokenizer": _MASKED,
    "MBartTokenizer": Numbering(_FAIRSEQ, 3, (*_MBART.split(), "<mask>")),
    "MBart50Tokenizer": Numbering(
        _FAIRSEQ, 3, (*_MBART.split(), *_MBART50.split(), "<mask>")
    ),
    "XGLMTokenizer": Numbering(
        _FAIRSEQ, 3, tuple(f"<madeupword{n}>" for n in range(7))
    ),
    "CamembertTokenizer": Numbering(
        ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"), 1, ("<mask>",)
    ),
}
_REFUSED = ("M2M100Tokenizer", "MarianTokenizer", "Speech2TextTokenizer")


def numbering_of(kind: str, file: str, config: dict) -> Numbering:
    """Return how the ids of a model file are counted.

    Args:
        kind: the class that published it, such as "XLMRobertaTokenizer", or "".
        file: its name.
        config: the content of tokenizer_config.json.

    Raises:
        ValueError: the ids cannot be told.
    """
    if kind in _REFUSED:
        raise ValueError(
            f"{kind} numbers the pieces of {file} by another file; only a checkpoint "
            "with tokenizer.json can be read."
        )
    if kind == "NllbTokenizer":
        codes = config.get("additional_special_tokens") or config.get(
            "extra_special_tokens"
        )
        if not codes:
            raise ValueError(
                "NLLB's language codes are in no file; tokenizer_config.json has to "
                "list them as additional_special_tokens."
            )
        codes = [c["content"] if isinstance(c, dict) else c for c in codes]
        codes = [code for code in codes if code != "<mask>"]
        return Numbering(_FAIRSEQ, 3, (*codes, "<mask>"))
    if kind == "PegasusTokenizer":
        count = int(config.get("offset", _PEGASUS))
        unused = tuple(f"<unk_{n}>" for n in range(2, count))
        masks = ("<mask_1>", "<mask_2>")
        head = ("<pad>", "</s>", *masks, *unused)
        return Numbering(head, 2) if count else Numbering()
    if kind in _BY_CLASS:
        return _BY_CLASS[kind]
    if file == "sentencepiece.bpe.model" and not kind:
        raise ValueError(
            f"the ids of {file} depend on the model (XLM-R, mBART, CamemBERT count "
            "them differently); put its config.json or tokenizer_config.json beside it."
        )
    return Numbering()


def renumber(model: bytes, numbering: Numbering, special: frozenset[str]) -> bytes:
    """Return the model file with its pieces in the order of their ids.

    Args:
        model: the file.
        numbering: what comes before and behind.
        special: pieces that the configuration calls special tokens.

    Raises:
        ValueError: the front of the file holds text, which would be lost.
    """
    try:
        proto = model_pb2.ModelProto.FromString(model)
    except message.DecodeError as error:
        raise ValueError("this is no SentencePiece model file.") from error
    hidden = (_PIECE.CONTROL, _PIECE.UNKNOWN)
    stated = [p for p in proto.pieces if p.piece in special and p.type not in hidden]
    if numbering == Numbering() and not stated:
        return model
    for piece in stated:
        piece.type = _PIECE.CONTROL
    front, kept = list(proto.pieces)[: numbering.skip], list(proto.pieces)
    for piece in front:
        if piece.type == _PIECE.NORMAL:
            raise ValueError(
                f"the piece {piece.piece!r} stands where the model has special tokens;"
                " this file is not of the stated class."
            )
    kept = kept[numbering.skip :]
    present = {piece.piece for piece in kept}
    tail = [name for name in numbering.tail if name not in present]
    pieces = [*map(_control, numbering.head), *kept, *map(_control, tail)]
    del proto.pieces[:]
    proto.pieces.extend(pieces)
    return proto.SerializeToString()


def _control(name: str) -> _PIECE:
    kind = _PIECE.UNKNOWN if name == "<unk>" else _PIECE.CONTROL
    return _PIECE(piece=name, score=0.0, type=kind)
