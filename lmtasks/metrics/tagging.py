"""Entity and token scores of tag sequences, and the schemes tags are written in.

Schemes: IO (`I-PER O`, also bare `PER O`; neighbours of one type melt together),
IOB1 (B- only where an entity follows another of its type), IOB2 (every entity begins
with B-), IOBES (IOB2 with E- on the last word and S- on a single one). All scores are
fractions in [0, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from collections.abc import Sequence

from seqeval import metrics
from seqeval import scheme as schemes
from sklearn import metrics as sklearn_metrics

from lmtasks.data import examples
from lmtasks.metrics import inputs

SCHEMES = ("IO", "IOB1", "IOB2", "IOBES")
# IO is IOB1 that never writes B-.
_SEQEVAL = {
    "IO": schemes.IOB1,
    "IOB1": schemes.IOB1,
    "IOB2": schemes.IOB2,
    "IOBES": schemes.IOBES,
}
# (type, first word, word after the last)
Chunk = tuple[str, int, int]


def chunks(tags: Sequence[str]) -> tuple[Chunk, ...]:
    """Return the entities of a tag sequence of any scheme, read leniently.

    The rule of conlleval: an entity begins at B- or S-, at any other tag that does
    not continue the type before it, and after E- or S-.
    """
    found, kind, first, closed = [], None, 0, True
    for i, tag in enumerate([*tags, "O"]):
        mark, name = _split(tag)
        if kind and (mark in "OBS" or name != kind or closed):
            found.append((kind, first, i))
            kind = None
        if mark != "O" and not kind:
            kind, first = name, i
        closed = mark in "ES"
    return tuple(found)


def write(found: Iterable[Chunk], length: int, scheme: str = "IOB2") -> tuple[str, ...]:
    """Return `length` tags of the scheme for entities that do not overlap."""
    _known(scheme)
    tags = ["O"] * length
    before = None
    for kind, first, end in sorted(found, key=lambda chunk: chunk[1]):
        follows = before == (kind, first)
        tags[first:end] = _marked(kind, end - first, scheme, follows)
        before = (kind, end)
    return tuple(tags)


def convert(tags: Sequence[str], scheme: str) -> tuple[str, ...]:
    """Return the tags of any scheme in the given one; into IO is not reversible.

    >>> convert(["PER", "O", "LOC", "LOC"], "IOB2")
    ('B-PER', 'O', 'B-LOC', 'I-LOC')
    """
    return write(chunks(tags), len(tags), scheme)


def scheme_of(sequences: Sequence[Sequence[str]]) -> str | None:
    """Return the scheme the tags are written in, or None.

    None means that the tags name no chunks (parts of speech): no prefixes, no O.
    A few wrong tags do not change the answer: a B- that continues nothing is IOB2.
    """
    seen = {tag for tags in sequences for tag in tags}
    marks = {_split(tag)[0] for tag in seen} - {"O"}
    if any(tag != "O" and tag[1:2] != "-" for tag in seen):
        return "IO" if "O" in seen and marks == {"I"} else None
    if marks & {"E", "S"}:
        return "IOBES"
    for tags in sequences:
        for before, tag in itertools.pairwise(["O", *tags]):
            if tag[:2] == "B-" and tag[2:] != _split(before)[1]:
                return "IOB2"
    if "B" in marks:
        return "IOB1"
    return "IO" if marks else "IOB2"


def entities(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return strict_ and lenient_ precision, recall and f1 over entities (seqeval).

    Strict reads the predictions in the scheme of the gold tags, where an entity
    without its beginning is none; lenient is the rule of conlleval (see `chunks`).
    {} when the gold tags name no chunks, as parts of speech do.
    """
    gold, said, scheme = _chunked(predictions, scored)
    if scheme is None:
        return {}
    settings = {
        "strict": {"mode": "strict", "scheme": _SEQEVAL[scheme]},
        "lenient": {},
    }
    parts = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
    }
    return {
        f"{name}_{part}": float(score(gold, said, zero_division=0, **setting))
        for name, setting in settings.items()
        for part, score in parts.items()
    }


def _chunked(predictions, scored):
    """Return gold tags, predicted tags and their scheme, None where there is none."""
    gold, said = sequences(predictions, scored)
    scheme = scheme_of(gold)
    if scheme == "IO":
        # seqeval wants prefixes, and IO data may be written without.
        gold, said = (
            [list(convert(tags, "IO")) for tags in side] for side in (gold, said)
        )
    return gold, said, scheme


def entity_counts(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, list[tuple[float, float, float]]]:
    """Return {"strict", "lenient"}: (both, predicted, gold) entities of each example,
    whose sums give the precision, recall and F1 of `entities`.
    """
    gold, said, scheme = _chunked(predictions, scored)
    if scheme is None:
        return {}

    def strict(tags):
        found = schemes.Entities([tags], _SEQEVAL[scheme]).entities[0]
        return {entity.to_tuple()[1:] for entity in found}

    def counts(find):
        pairs = [(find(a), find(b)) for a, b in zip(gold, said, strict=True)]
        return [(float(len(a & b)), float(len(b)), float(len(a))) for a, b in pairs]

    return {"strict": counts(strict), "lenient": counts(lambda t: set(chunks(t)))}


def token_accuracy(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"token_accuracy", "unparsed"} over all words of all examples.

    A prediction with tags None has every word wrong and is counted as "unparsed".
    """
    gold, said = sequences(predictions, scored, missing="")
    flat = [[tag for tags in side for tag in tags] for side in (gold, said)]
    unparsed = sum(prediction.get("tags") is None for prediction in predictions)
    return {
        "token_accuracy": float(sklearn_metrics.accuracy_score(*flat)),
        "unparsed": float(unparsed),
    }


def missed(
    predictions: Sequence[inputs.Prediction], scored: Sequence[examples.Example]
) -> dict[str, float]:
    """Return {"missed"}: how much in the predictions could not be placed.

    Generated entities and tags that the words do not have, and words for which the
    tokenizer has no piece.
    """
    inputs.check(predictions, scored)
    return {"missed": float(sum(one.get("missed", 0) for one in predictions))}


def sequences(predictions, scored, missing: str = "O"):
    """Return gold and predicted tags of each example, lists of str; `missing` fills
    what has tags None.

    Raises:
        ValueError: an example has not one of each for every word.
    """
    inputs.check(predictions, scored)
    gold, said = [], []
    for i, (prediction, example) in enumerate(zip(predictions, scored)):
        right = getattr(example, "tags", ())
        tags = prediction.get("tags")
        tags = [missing] * len(right) if tags is None else list(tags)
        if not right or len(right) != len(tags):
            raise ValueError(
                f"example {i} has {len(right)} gold tags and {len(tags)} predicted "
                "ones; give one of each for every word."
            )
        gold.append(list(right))
        said.append(tags)
    return gold, said


def _split(tag: str) -> tuple[str, str]:
    """Return (mark, type): ("B", "PER") of B-PER, ("I", "PER") of bare PER."""
    if tag == "O":
        return "O", ""
    if tag[:2] in ("B-", "I-", "E-", "S-"):
        return tag[0], tag[2:]
    return "I", tag


def _marked(kind: str, size: int, scheme: str, follows: bool) -> list[str]:
    """Return the tags of one entity; `follows` = right after one of its type."""
    begin = scheme in ("IOB2", "IOBES") or (scheme == "IOB1" and follows)
    marks = ["B" if begin else "I"] + ["I"] * (size - 1)
    if scheme == "IOBES":
        marks[-1] = "S" if size == 1 else "E"
    return [f"{mark}-{kind}" for mark in marks]


def _known(scheme: str) -> None:
    """Refuse a scheme that is not one of SCHEMES."""
    if scheme not in SCHEMES:
        raise ValueError(
            f"tag scheme {scheme!r} is unknown; use one of {', '.join(SCHEMES)}."
        )
