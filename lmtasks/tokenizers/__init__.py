"""Tokenizers: one protocol over bytes, characters, words, SentencePiece and HF files.

tok = tokenizers.load("runs/a/tokenizer")         # or any published vocabulary
tok = tokenizers.train("bpe", texts, size=8000)   # one of KINDS
tok.encode("Hello world"), tok.decode(ids), tok.piece(5), tok.eos_id
"""

from lmtasks.tokenizers import base
from lmtasks.tokenizers import files
from lmtasks.tokenizers import published
from lmtasks.tokenizers import training

Tokenizer = base.Tokenizer
Options = training.Options
KINDS = training.KINDS
SPECIALS = training.SPECIALS
load = files.load
published_files = published.published_files
train = training.train
extend = training.extend

__all__ = [
    "KINDS",
    "SPECIALS",
    "Options",
    "Tokenizer",
    "extend",
    "load",
    "published_files",
    "train",
]
