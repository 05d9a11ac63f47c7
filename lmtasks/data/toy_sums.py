"""Stories of somebody who gets and gives things: how many are left?

    ann has 14 pens . she finds 9 , gives away 5 and buys 7 . how many has she ?

Written out, the answer is a chain of additions; at once, a sum of up to five numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmtasks.data import toy

NAMES = ("ann", "bea", "eva", "ida", "liv", "mia", "una", "zoe")
THINGS = ("pens", "eggs", "cups", "nuts", "hats", "pins")
MORE = ("finds", "buys", "gets", "makes")
FEWER = ("loses", "sells", "gives away", "breaks")
LARGEST = 50
MOST_CHANGES = 4


def toy_sums(split: str, seed: int) -> Sequence[toy.Record]:
    """Return {"question", "steps", "answer"}: a chain of sums and what it ends in."""
    return toy.worlds(_draw, split, seed)


def _draw(rng: np.random.Generator) -> tuple[str, toy.Record]:
    pick = lambda options: options[int(rng.integers(len(options)))]
    name, thing = pick(NAMES), pick(THINGS)
    have = int(rng.integers(1, LARGEST))
    parts, steps, facts = [], [], [have]
    story = f"{name} has {have} {thing} ."
    for _ in range(int(rng.integers(2, MOST_CHANGES + 1))):
        gains = have < 2 or rng.random() < 0.5
        number = int(rng.integers(1, LARGEST if gains else have))
        parts.append(f"{pick(MORE if gains else FEWER)} {number}")
        after = have + number if gains else have - number
        steps.append(f"{have} {'+' if gains else '-'} {number} = {after} .")
        facts.append(number if gains else -number)
        have = after
    changes = " , ".join(parts[:-1]) + f" and {parts[-1]}"
    record = {
        "question": f"{story} she {changes} . how many has she ?",
        "steps": " ".join(steps),
        "answer": str(have),
    }
    return repr(facts), record
