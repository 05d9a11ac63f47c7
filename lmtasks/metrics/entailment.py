"""Whether each sentence of an answer follows from its source."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.metrics import inputs

# (source, answer) pairs -> what zero_shot.verify says of each, None without text.
Verify = Callable[[Sequence[tuple[str, str]]], Sequence[dict | None]]
# From this probability on, a sentence counts as supported.
SUPPORTED = 0.5
# The examples with a source that an answer can follow from.
SOURCED = (examples.Span, examples.Turns)

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


def sentences(text: str) -> list[str]:
    """Return the sentences of a text.

    A sentence ends behind `.`, `!` or `?` where what follows begins like another one,
    behind a full stop of Chinese or Japanese, at an empty line, and before an item of a
    list. Not behind an initial or a common abbreviation.

    >>> sentences('Dr. Lee left at 5 p.m. today. "Why?" asked J. Doe. No idea!')
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
    found = sentences(text)
    last = max(len(found) - size, 0)
    return [" ".join(found[i : i + size]) for i in range(last + 1) if found]


def support(
    predictions: Sequence[inputs.Prediction],
    scored: Sequence[examples.Example],
    *,
    verify: Verify,
) -> dict[str, float]:
    """Return {"entailment_support", "unanswered"}.

    The former is the mean over answers of the share of sentences whose entailment by the
    source has a probability above 0.5; an answer without text is counted by the latter
    and left out. The source is a question's context, or what the turns before the answer
    say.

    Args:
        predictions: whose "text" is the answer.
        scored: Span or Turns.
        verify: of a trained run, `functools.partial(zero_shot.verify, loaded)`.
    """
    inputs.check(predictions, scored)
    texts = inputs.said_texts(predictions)
    pairs = [(_source(one), text) for one, text in zip(scored, texts, strict=True)]
    found = [one for one in verify(pairs) if one is not None]
    shares = []
    for one in found:
        held = [row["support"] > SUPPORTED for row in one["sentences"]]
        shares.append(sum(held) / len(held))
    return {
        "entailment_support": sum(shares) / max(len(shares), 1),
        "unanswered": float(len(pairs) - len(shares)),
    }


def _source(example: examples.Example) -> str:
    if isinstance(example, examples.Span):
        return example.context
    if isinstance(example, examples.Turns):
        turns = example.turns
        if turns and turns[-1].role == "assistant":
            turns = turns[:-1]
        return "\n\n".join(turn.text for turn in turns)
    raise ValueError(
        f"a {type(example).__name__} has no source that an answer could follow from; "
        "entailment_support reads Span and Turns."
    )
