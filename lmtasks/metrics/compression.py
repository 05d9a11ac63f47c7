"""What a general compressor makes of a text: the yardstick of bits per byte."""

from __future__ import annotations

import lzma
from collections.abc import Iterable

# Far enough back to see the whole training text again.
DICTIONARY = 1 << 26


def xz_bits_per_byte(training: Iterable[str], held_out: Iterable[str]) -> float:
    """Return the bits per byte xz spends on the held-out texts after the training texts.

    The difference of two archives: of both, and of the training texts alone.
    """
    seen = "\n".join(training).encode()
    new = "\n".join(held_out).encode()
    if not new:
        raise ValueError("xz needs a held-out text to compress")
    return 8 * (_size(seen + new) - _size(seen)) / len(new)


def _size(data: bytes) -> int:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": DICTIONARY}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters))
