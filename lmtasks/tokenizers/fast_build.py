"""Make a tokenizer.json: from vocabulary files, or by training."""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

import tokenizers as library
from tokenizers import decoders
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import trainers

from lmtasks.tokenizers import fast
from lmtasks.tokenizers import names as special_names
from lmtasks.tokenizers import plan as plans

# Pairs and words seen once are not worth a piece (the library's BERT default).
_MIN_FREQUENCY = 2


def from_vocab_txt(content: bytes, lowercase: bool | None = None) -> bytes:
    """Return the tokenizer.json of a BERT `vocab.txt`, one piece a line.

    Args:
        content: the file.
        lowercase: lower-case and strip accents; None = if no piece has a capital.

    Raises:
        ValueError: the vocabulary has no unknown token.
    """
    pieces = content.decode().removesuffix("\n").split("\n")
    vocab = {piece.rstrip("\r"): i for i, piece in enumerate(pieces)}
    unknown = [name for name in special_names.ROLES["unk"] if name in vocab]
    if not unknown:
        raise ValueError(
            f"vocab.txt has no unknown token among {len(vocab)} lines; a WordPiece "
            "vocabulary holds one piece a line and [UNK]."
        )
    special = [piece for piece in vocab if special_names.is_special(piece)]
    if lowercase is None:
        ordinary = vocab.keys() - set(special)
        lowercase = all(piece == piece.lower() for piece in ordinary)
    return _word_piece(vocab, special, unknown[0], lowercase).to_str().encode()


def from_merges(vocab: bytes, merges: bytes, *, spaced: bool = False) -> bytes:
    """Return the tokenizer.json of byte-level BPE files, as GPT-2 and RoBERTa have.

    Args:
        vocab: `vocab.json` or `encoder.json`.
        merges: `merges.txt` or `vocab.bpe`; a first line "#version" is skipped.
        spaced: put a space before a text that begins with none.

    Raises:
        ValueError: the files do not belong together or are not byte-level.
    """
    lines = merges.decode().splitlines()
    lines = lines[1:] if lines and lines[0].startswith("#version") else lines
    try:
        ids = dict(json.loads(vocab))
    except (TypeError, ValueError) as error:
        raise ValueError("the vocabulary is no JSON object.") from error
    if "a</w>" in ids:
        raise ValueError(
            "the vocabulary marks the ends of words, as CLIP's does; only byte-level "
            "BPE that is cut as GPT-2's can be read from vocabulary and merges."
        )
    if not set(fast.LETTERS.values()) <= ids.keys():
        raise ValueError(
            "the vocabulary lacks some of the 256 byte letters; only byte-level BPE, "
            "as GPT-2's, can be read from vocabulary and merges."
        )
    try:
        pairs = [tuple(line.split(" ")) for line in lines if line.strip()]
        model = models.BPE(vocab=ids, merges=pairs)
    # The library raises bare Exceptions.
    except Exception as error:
        raise ValueError(
            f"vocabulary and merges do not fit: {error!r:.200}."
        ) from error
    special = [piece for piece in ids if special_names.is_special(piece)]
    return _byte_level(model, special, spaced=spaced).to_str().encode()


def train_bytes(texts: Iterable[str], plan: plans.Plan) -> bytes:
    """Return the tokenizer.json of byte-level BPE trained on `texts`.

    Words are cut as GPT-2 does, with the space before them.

    Raises:
        ValueError: the size has no room for the 256 bytes.
    """
    need = len(plan.specials) + 256
    if plan.room < need:
        raise plan.too_small(need)
    engine = _byte_level(models.BPE(), ())
    trainer = trainers.BpeTrainer(
        vocab_size=plan.room,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=_added(plan.specials),
        initial_alphabet=sorted(fast.LETTERS.values()),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    return engine.to_str().encode()


def train_word_pieces(texts: Iterable[str], plan: plans.Plan) -> bytes:
    """Return the tokenizer.json of WordPiece trained on `texts`.

    The library numbers continuing letters in the order of a hash table and breaks
    ties by number, so two runs differ; numbered beforehand they do not.

    Raises:
        ValueError: the size has no room for the letters.
    """
    shape = _word_piece({plans.UNK: 0}, (), plans.UNK, plan.options.lowercase)
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        words = shape.pre_tokenizer.pre_tokenize_str(
            shape.normalizer.normalize_str(text)
        )
        counts.update(word for word, _ in words)
    starts = sorted({char for word in counts for char in word})
    inner = sorted({f"##{char}" for word in counts for char in word[1:]})
    pieces = [*plan.specials, *starts, *inner]
    if plan.room < len(pieces):
        raise plan.too_small(len(pieces))
    trainer = trainers.WordPieceTrainer(
        vocab_size=plan.room,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=pieces,
        show_progress=False,
    )
    bare = library.Tokenizer(models.WordPiece(unk_token=plans.UNK))
    bare.train_from_iterator(_repeat(counts), trainer)
    vocab = dict(sorted(bare.get_vocab().items(), key=lambda item: item[1]))
    engine = _word_piece(vocab, plan.specials, plans.UNK, plan.options.lowercase)
    return engine.to_str().encode()


def _repeat(counts: Mapping[str, int]) -> Iterator[str]:
    for word in sorted(counts):
        yield from itertools.repeat(word, counts[word])


def _word_piece(
    vocab: Mapping[str, int], special: Iterable[str], unknown: str, lowercase: bool
) -> library.Tokenizer:
    """Return BERT's way to cut text, as `BertWordPieceTokenizer` puts it together."""
    engine = library.Tokenizer(models.WordPiece(dict(vocab), unk_token=unknown))
    engine.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.add_special_tokens(_added(special))
    return engine


def _byte_level(
    model: models.BPE, special: Iterable[str], *, spaced: bool = False
) -> library.Tokenizer:
    engine = library.Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens(_added(special))
    return engine


def _added(names: Iterable[str]) -> list[library.AddedToken]:
    """Return special tokens; a mask stands for a word with the space before it."""
    masks = special_names.ROLES["mask"]
    return [
        library.AddedToken(name, special=True, normalized=False, lstrip=name in masks)
        for name in names
    ]
