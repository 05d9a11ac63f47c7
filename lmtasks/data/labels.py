"""Class names as records spell them: numbers in TFDS, numbers or names in files."""

from __future__ import annotations

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


def each(value: typing.Any) -> str | tuple[str, ...] | None:
    """Return one label as its name, a list of labels as their names."""
    if isinstance(value, (list, tuple)):
        return tuple(str(one) for one in value)
    return name(value)
