"""The codes of languages that mBART reads and writes around texts.

mBART ends a source with its code and begins a text with it (Liu et al., 2020,
arXiv:2001.08210); mBART-50 begins both with it (Tang et al., 2020, arXiv:2008.00401).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

# A code that only mBART-50 has.
_OF_50 = "sl_SI"


@dataclasses.dataclass(frozen=True)
class Codes:
    """The ids of a source's language, a target's, and of the end of a text.

    Attributes:
        leads: the code stands before a source, else behind its end.
    """

    source: int
    target: int
    end: int
    leads: bool

    @property
    def around_source(self) -> tuple[list[int], list[int]]:
        """Return the ids (before, after) a source."""
        if self.leads:
            return [self.source], [self.end]
        return [], [self.end, self.source]

    @property
    def decoder_start(self) -> list[int]:
        """Return the ids the decoder begins with."""
        return [self.end, self.target] if self.leads else [self.target]


def codes_of(fields: Mapping[str, str], tokenizer) -> Codes | None:
    """Return the codes of an example's fields "source_code" and "target_code".

    None unless both are special tokens of the tokenizer: others say the languages in
    the prompt alone.

    Example (mBART-50, en_XX to de_DE): Codes(250004, 250003, 2, leads=True).
    """
    names = [fields.get("source_code"), fields.get("target_code")]
    ids = [tokenizer.names.get(name) for name in names]
    if None in ids or tokenizer.eos_id is None:
        return None
    return Codes(*ids, end=tokenizer.eos_id, leads=_OF_50 in tokenizer.names)
