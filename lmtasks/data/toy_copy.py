"""Lists of words that are written again: how far back can a model look?

    copy bee oak fern :   ->   bee oak fern

Between a word and its copy lie as many words as the list has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmtasks.data import toy

LONGEST = 24
CHOICE = toy.ANIMALS + toy.PLANTS


def toy_copy(split: str, seed: int) -> Sequence[toy.Record]:
    """Return {"source", "target", "words"}: a list, the same list, how long it is."""
    return toy.worlds(_draw, split, seed)


def _draw(rng: np.random.Generator) -> tuple[str, toy.Record]:
    count = int(rng.integers(1, LONGEST + 1))
    words = " ".join(CHOICE[i] for i in rng.integers(len(CHOICE), size=count))
    return words, {"source": f"copy {words} :", "target": words, "words": count}
