"""Class names as records spell them: numbers in TFDS, numbers or names in files."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence


def name(value: typing.Any, names: Sequence[str] = (), *, first: int = 0) -> str | None:
    """Return the name of one label, None where there is none.

    A number stands for its name, counted from `first`; -1 is TFDS's hidden label.
    Without `names` every value is its own name.

    >>> name(1, ("no", "yes")), name("2", ("no", "yes"), first=1), name(3)
    ('yes', 'yes', '3')

    Raises:
        ValueError: neither one of the names nor a number that stands for one.
    """
    text = str(value).strip()
    if value is None or not text:
        return None
    if not names or text in names:
        return text
    if text == "-1":
        return None
    place = int(text) - first if text.isdecimal() else -1
    if 0 <= place < len(names):
        return names[place]
    raise ValueError(
        f"label {value!r} is none of {', '.join(names)}, nor a number from {first} to "
        f"{first + len(names) - 1}."
    )


def each(value: typing.Any) -> str | float | tuple[str, ...] | None:
    """Return one label as its name, a list of labels as their names; a number with a
    decimal point (not text) stays one, for a regression.

    >>> each(["a", 2]), each(3), each("3.5"), each(3.5)
    (('a', '2'), '3', '3.5', 3.5)
    """
    if isinstance(value, (list, tuple)):
        return tuple(str(one) for one in value)
    if isinstance(value, float):
        return value
    return name(value)


def number(value: typing.Any) -> float | None:
    """Return the finite number that a label is or says, None for any other.

    >>> number("3.8"), number(4), number("many"), number("nan")
    (3.8, 4.0, None, None)
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
