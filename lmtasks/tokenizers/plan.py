"""What to train: the arguments of `train`, checked."""

from __future__ import annotations

import dataclasses

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>", "<cls>", "<sep>", "<mask>")
UNK = "<unk>"
MASK = "<mask>"


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings that only some kinds have.

    Attributes:
        lowercase: word, wordpiece: lower-case first; wordpiece strips accents too.
        byte_fallback: unigram, bpe: write unknown characters as bytes.
        exact: unigram, bpe: refuse a size that the text cannot fill; otherwise,
            and for every other kind, the size is a cap.
    """

    lowercase: bool = False
    byte_fallback: bool = True
    exact: bool = True


@dataclasses.dataclass(frozen=True)
class Plan:
    """One tokenizer to train.

    Attributes:
        kind: one of KINDS.
        size: number of ids, special tokens and sentinels counted; None = no cap.
        specials: special tokens, ids from 0 in this order.
        sentinels: number of ids kept free at the top.
        options: settings that only some kinds have.
    """

    kind: str
    size: int | None
    specials: tuple[str, ...]
    sentinels: int
    options: Options

    @property
    def room(self) -> int | None:
        """Return the number of ids below the sentinels."""
        return None if self.size is None else self.size - self.sentinels

    def too_small(self, need: int) -> ValueError:
        """Return the error for a text whose `need` ids do not fit into `room`."""
        return ValueError(
            f"size={self.size} is too small for kind={self.kind}: special tokens and "
            f"characters of this text need {need + self.sentinels} ids; use size="
            f"{need + self.sentinels} or more."
        )

    def too_large(self, most: int) -> ValueError:
        """Return the error for a text that yields only `most` ids."""
        return ValueError(
            f"size={self.size} is too large for kind={self.kind}: this text yields "
            f"{most + self.sentinels} ids; use size={most + self.sentinels} or less, "
            "or more text."
        )
