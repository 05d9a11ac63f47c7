"""What both sides of the translation benchmark are told.

Imports neither jax nor torch, so that each side's process holds only its own library.
"""

from __future__ import annotations

import dataclasses

BEAMS = 4
NEW = 64


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a side is told at its start.

    Attributes:
        work: the work directory. data: its parallel text.
        split, limit: what is translated, how many sentences of it; 0 = all.
        batch: sentences of a batch.
        checkpoint, ids: what our side writes and the peer reads.
        device: "cpu" or "cuda" of the peer.
    """

    work: str
    data: str
    split: str
    limit: int
    batch: int
    checkpoint: str
    ids: str
    device: str = "cpu"
