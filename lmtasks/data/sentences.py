"""Text as sentences."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*\u2022]|\d+[.)])\s)")
_OPEN, _CLOSE = "\"'(\\[\u201c\u2018\u00ab", "\"')\\]\u201d\u2019\u00bb"
# Behind a mark that ends a sentence; Chinese and Japanese write no space there.
_END = re.compile(f"(?:[.!?\u2026]+[{_CLOSE}]*\\s+|[\u3002\uff01\uff1f][{_CLOSE}]*)")
# What a period belongs to: titles and the like, or an initial ("J. S. Bach", "e.g.").
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:mr|mrs|ms|dr|prof|st|sr|jr|vs|cf|fig|nos?|approx|inc|ltd|co|"
    r"gen|col|sen|rep|rev|e\.g|i\.e|u\.s|u\.k|[A-Za-z])\.$",
    re.IGNORECASE,
)


def split(text: str) -> list[str]:
    """Return the sentences of a text.

    A sentence ends behind `.`, `!` or `?` where what follows begins like another one,
    behind a full stop of Chinese or Japanese, at an empty line, and before an item of a
    list. Not behind an initial or a common abbreviation.

    >>> split('Dr. Lee left at 5 p.m. today. "Why?" asked J. Doe. No idea!')
    ['Dr. Lee left at 5 p.m. today.', '"Why?" asked J. Doe.', 'No idea!']
    """
    found = []
    for block in _BLOCK.split(text):
        start = 0
        for end in _END.finditer(block):
            if _ends(block, end):
                found.append(block[start : end.end()])
                start = end.end()
        found.append(block[start:])
    return [" ".join(one.split()) for one in found if one.strip()]


def _ends(block: str, end: re.Match) -> bool:
    """Return whether a mark ends a sentence."""
    if end[0][0] in "\u3002\uff01\uff1f":
        return True
    following = block[end.end() :].lstrip("\"'([\u201c\u2018\u00ab")[:1]
    if following.islower():
        return False
    before = block[: end.start() + 1]
    return not (end[0][0] == "." and _ABBREVIATION.search(before))


def windows(text: str, size: int) -> list[str]:
    """Return every run of `size` sentences of a text, all of it if it has fewer.

    >>> windows("One. Two. Three.", 2)
    ['One. Two.', 'Two. Three.']

    Raises:
        ValueError: size is not positive.
    """
    if size < 1:
        raise ValueError(f"window={size} sentences must be at least 1")
    found = split(text)
    last = max(len(found) - size, 0)
    return [" ".join(found[i : i + size]) for i in range(last + 1) if found]
