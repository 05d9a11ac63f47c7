"""Tags as text that a model writes, and that text read back as tags.

Entities are listed in their order, `PER: Tim Cook; ORG: Apple`, or `none`; tags that
name no entities, such as parts of speech, stand one after another.
"""

from __future__ import annotations

import collections
import re
import typing
from collections.abc import Sequence

from lmtasks.data import align
from lmtasks.data import examples
from lmtasks.metrics import tagging

NONE = "none"
Prediction = dict[str, typing.Any]


def name_entities(labels: Sequence[str]) -> bool:
    """Return whether tags name entities, in any scheme; parts of speech do not."""
    return tagging.scheme_of([labels]) is not None


def write(example: examples.Tagged, labels: Sequence[str] = ()) -> str:
    """Return the tags of the words as text.

    Args:
        example: words with tags.
        labels: all tags of the task; () = the example's own say what they name.
    """
    if not name_entities(labels or example.tags):
        return " ".join(example.tags)
    found = [
        f"{kind}: {' '.join(example.words[first:end])}"
        for kind, first, end in tagging.chunks(example.tags)
    ]
    return "; ".join(found) or NONE


def read(text: str, example: examples.Tagged, labels: Sequence[str]) -> Prediction:
    """Return {"tags", "entities", "missed", "text"} of a generated text.

    `missed` counts what the words do not have: an entity that is not among them or of
    a type that is not in the labels, a tag too many or too few. Tags are None where the
    text is nothing of the kind. Parts of speech have no "entities".
    """
    if name_entities(labels or example.tags):
        return _read_entities(text, example, labels)
    return _read_tags(text, example, labels)


def _read_tags(text: str, example: examples.Tagged, labels) -> Prediction:
    """Return one tag per word: in order, and the commonest where there is none."""
    known = {label.casefold(): label for label in labels}
    said = [known.get(tag.casefold(), "" if known else tag) for tag in text.split()]
    counts = collections.Counter(tag for tag in said if tag)
    if not counts:
        return {"tags": None, "missed": len(example.words), "text": text}
    count = len(example.words)
    usual = counts.most_common(1)[0][0]
    tags = [tag or usual for tag in said[:count]]
    missed = abs(count - len(said)) + said[:count].count("")
    tags += [usual] * (count - len(tags))
    return {"tags": tags, "missed": missed, "text": text}


def _read_entities(text: str, example: examples.Tagged, labels) -> Prediction:
    """Return each entity at the first unused occurrence of its words."""
    if _plain(text).rstrip(".").casefold() == NONE:
        tags = ["O"] * len(example.words)
        return {"tags": tags, "entities": [], "missed": 0, "text": text}
    parts, missed = _parts(text, labels)
    if not parts:
        return {"tags": None, "entities": [], "missed": missed, "text": text}
    words = [_plain(word) for word in example.words]
    used, chunks = [False] * len(words), []
    for kind, said in parts:
        place = _find(said, words, used)
        if place is None:  # what follows a semicolon may be of no known type
            said, *others = _items(said) or [""]
            missed += len(others)
            place = _find(said, words, used)
        if place is None:
            missed += 1
            continue
        used[slice(*place)] = [True] * (place[1] - place[0])
        chunks.append((kind, *place))
    chunks.sort(key=lambda chunk: chunk[1])
    whole, spans = align.placed(example)
    found = [
        align.entity(whole, kind, spans[first][0], spans[end - 1][1])
        for kind, first, end in chunks
    ]
    tags = _tags(chunks, len(words), labels)
    return {"tags": tags, "entities": found, "missed": missed, "text": text}


def _plain(text: str) -> str:
    """Return a text without white space: some tokenizers put their own into it."""
    return "".join(text.split())


def _items(text: str) -> list[str]:
    return [item for item in text.split(";") if item.strip()]


def _parts(text: str, labels) -> tuple[list[tuple[str, str]], int]:
    """Return ((type, text) of each "TYPE: text", how many other items there are).

    With labels only their types count, so that a text may hold a colon or semicolon.
    """
    kinds = {_plain(kind).casefold(): kind for kind in _kinds(labels)}
    # Letter by letter, for some tokenizers write "creative - work".
    spelled = (r"\s*".join(map(re.escape, kind)) for kind in kinds)
    kind = "|".join(sorted(spelled, key=len, reverse=True)) or r"[^\s;:]+"
    marks = list(re.finditer(rf"(?:^|;)\s*({kind})\s*:", text, re.IGNORECASE))
    if not marks:
        return [], max(len(_items(text)), 1)
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    parts = []
    for mark, end in zip(marks, ends, strict=True):
        name = kinds.get(_plain(mark[1]).casefold(), mark[1])
        parts.append((name, text[mark.end() : end]))
    return parts, len(_items(text[: marks[0].start()]))


def _kinds(labels) -> list[str]:
    """Return the types of entities that labels name."""
    found = (kind for label in labels for kind, _, _ in tagging.chunks([label]))
    return list(dict.fromkeys(found))


def _find(said: str, words: Sequence[str], used: Sequence[bool]):
    """Return (first, end) of the first unused words that spell a text, or None.

    As it is written before ignoring case.
    """
    for fold in (str, str.casefold):
        wanted = fold(_plain(said))
        for first in range(len(words)):
            spelled = ""
            for end in range(first, len(words)):
                spelled += fold(words[end])
                if used[end] or not wanted.startswith(spelled):
                    break
                if spelled == wanted and wanted:
                    return first, end + 1
    return None


def _tags(chunks, length: int, labels) -> list[str]:
    """Return the tags of chunks in the scheme of the labels, IOB2 where it is open."""
    marks = {label[:2] for label in labels}
    scheme = "IOBES" if marks & {"E-", "S-"} else "IOB2" if "B-" in marks else "IO"
    tags = tagging.write(chunks, length, scheme if labels else "IOB2")
    bare = {f"I-{label}": label for label in labels} if scheme == "IO" else {}
    return [tag if tag in labels else bare.get(tag, tag) for tag in tags]
