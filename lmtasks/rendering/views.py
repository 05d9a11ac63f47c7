"""What a person is shown of an input and its answer, by the form of the prediction."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.data import examples
from lmtasks.rendering import blocks

# Classes, fillers or answers that are listed.
TOP = 5
# Characters of a context that are shown on each side of its answer.
AROUND = 600
NONE = "(no answer)"
# Other tokenizers' masks too: only the number of them has to be right.
_MASK = re.compile(r"\[MASK\]|<mask>|<\|mask\|>")
# Keys of predictions that have a block of their own, or repeat what is in one.
_SHOWN = {
    "label", "score", "scores", "probabilities", "text", "texts", "chosen", "tags",
    "entities", "start", "end", "n_best", "choice", "choice_norm", "fills", "vector",
    "other", "error", "words", "tokens",
}  # fmt: skip


def of(example, answer: Mapping) -> blocks.View:
    """Return the blocks of one input with its answer.

    Args:
        example: what was asked; None where the input holds nothing.
        answer: a prediction of `lmtasks predict` (see lmtasks/tasks/base.py).
    """
    if "error" in answer:
        asked = () if example is None else _asked(example)
        return (*asked, blocks.fact("error", answer["error"], wrong=True))
    if isinstance(example, examples.Tagged):
        shown = _tagged(example, answer)
    elif isinstance(example, examples.Span):
        shown = _span(example, answer)
    elif "fills" in answer:
        shown = _fills(example.text, answer)
    elif "tokens" in answer:
        shown = _replaced(example.text, answer["tokens"])
    else:
        shown = (*_asked(example), *_said(example, answer))
    return (*shown, *_others(answer))


def _asked(example) -> blocks.View:
    """Return the texts of an example, a passage each."""
    if isinstance(example, examples.Turns):
        said = example.turns
        return tuple(blocks.passage(turn.role, (turn.text, "")) for turn in said)
    if isinstance(example, examples.Tagged):
        return (blocks.passage("text", (_text(example), "")),)
    names = ("text", "pair", "question", "context", "prompt", "first", "second")
    texts = ((name, getattr(example, name, None)) for name in names)
    return tuple(blocks.passage(name, (text, "")) for name, text in texts if text)


def _said(example, answer: Mapping) -> blocks.View:
    """Return the answer's class, choice, vector or text."""
    if "choice" in answer:
        return _choice(example, answer)
    if "vector" in answer:
        names = [name for name in ("vector", "other") if name in answer]
        return tuple(_vector(name, answer[name]) for name in names)
    if "label" in answer:
        return _label(answer)
    texts = answer.get("texts", [answer["text"]] if "text" in answer else [])
    chosen = answer.get("chosen", 0)
    return tuple(
        blocks.passage("answer" if i == chosen else "or", (text, blocks.ANSWER))
        for i, text in enumerate(texts)
    )


def _label(answer: Mapping) -> blocks.View:
    """Return the classes as bars; a number, or no class, as what it is."""
    label, scores = answer["label"], answer.get("scores")
    if isinstance(scores, Mapping) and scores:
        given = label if isinstance(label, list | tuple) else (label,)
        return (_bars("label", [(n, s, n in given) for n, s in scores.items()]),)
    if label is None:
        said = answer.get("text", "")
        return (blocks.fact("label", f"none in the text {said!r}", wrong=True),)
    several = isinstance(label, list | tuple)
    return (blocks.fact("label", ", ".join(label) if several else label),)


def _bars(
    name: str, rows: Sequence[tuple[str, float, bool]], top: int = TOP
) -> blocks.Bars:
    """Return the largest of (text, probability, chosen), and all that are chosen."""
    ranked = sorted(rows, key=lambda row: -row[1])
    kept = [row for i, row in enumerate(ranked) if i < top or row[2]]
    rest = len(ranked) - len(kept)
    mass = sum(score for _, score, _ in ranked) - sum(score for _, score, _ in kept)
    more = f"{rest} more, {max(mass, 0.0):.3f} together" if rest else ""
    bars = tuple(
        (blocks.share(score), f"{score:.3f}", blocks.cleaned(str(text)), chosen)
        for text, score, chosen in kept
    )
    return blocks.Bars(name, bars, more)


def _choice(example, answer: Mapping) -> blocks.View:
    """Return the options with their scores; log-likelihoods get the bar of their share."""
    scores = [float(score) for score in answer.get("scores", ())]
    options, best = example.options[: len(scores)], answer["choice"]
    shares = scores
    if scores and not _are_probabilities(scores):
        top = max(scores)  # of scores that may be nan, which a library warns of
        weights = [math.exp(score - top) for score in scores]
        shares = [weight / sum(weights) for weight in weights]
    bars = tuple(
        (blocks.share(p), blocks.number(scores[i]), blocks.cleaned(option), i == best)
        for i, (p, option) in enumerate(zip(shares, options, strict=True))
    )
    shown: blocks.View = (blocks.Bars("options", bars),)
    other = answer.get("choice_norm")
    if other is not None and other != best:
        shown += (blocks.fact("by length", example.options[other]),)
    return shown


def _are_probabilities(scores: Sequence[float]) -> bool:
    inside = all(0 <= score <= 1 for score in scores)
    return inside and math.isclose(sum(scores), 1.0, abs_tol=1e-3)


def _vector(name: str, vector: Sequence[float]) -> blocks.Fact:
    norm = math.sqrt(sum(x * x for x in vector))
    first = ", ".join(f"{x:.3f}" for x in vector[:4])
    return blocks.fact(name, f"{len(vector)} numbers, norm {norm:.3f}: {first} ...")


def _tagged(example: examples.Tagged, answer: Mapping) -> blocks.View:
    """Return the text with its entities marked and listed, or words above their tags."""
    tags, found = answer.get("tags"), answer.get("entities") or []
    if tags is not None and "entities" not in answer:
        return (blocks.Words(tuple(map(blocks.cleaned, example.words)), tuple(tags)),)
    shown: blocks.View = (blocks.passage("text", *_marked(_text(example), found)),)
    if tags is None:
        said = answer.get("text", "")
        return (*shown, blocks.fact("tags", f"none in the text {said!r}", wrong=True))
    if not found:
        return (*shown, blocks.fact("entities", "none"))
    rows = tuple(
        (
            str(one["type"]),
            blocks.cleaned(one["text"]),
            blocks.number(one.get("score", "")),
            f"{one['start']}-{one['end']}" if _placed(one) else "not found",
        )
        for one in found
    )
    return (*shown, blocks.Table(("type", "text", "score", "characters"), rows))


def _placed(entity: Mapping) -> bool:
    return entity.get("start") is not None and entity.get("end") is not None


def _text(example: examples.Tagged) -> str:
    """Return the text that the offsets of entities refer to."""
    return " ".join(example.words) if example.text is None else example.text


def _marked(text: str, found: Sequence[Mapping]) -> list[tuple[str, str]]:
    """Return the text in pieces (text, entity type); of two that overlap the first."""
    pieces, at = [], 0
    for one in sorted(filter(_placed, found), key=lambda one: one["start"]):
        if at <= one["start"] < one["end"] <= len(text):
            pieces.append((text[at : one["start"]], ""))
            pieces.append((text[one["start"] : one["end"]], str(one["type"])))
            at = one["end"]
    return [*pieces, (text[at:], "")]


def _span(example: examples.Span, answer: Mapping) -> blocks.View:
    """Return the question, the answer in its context, its score, and the next best."""
    text, context = answer.get("text") or "", example.context
    start, end = answer.get("start"), answer.get("end")
    if text and start is None and text in context:  # written, not pointed at
        start, end = context.index(text), context.index(text) + len(text)
    inside = text and start is not None and context[start:end] == text
    pieces = [(context[: 2 * AROUND], ""), (_dots(context[2 * AROUND :]), "")]
    if inside:
        before, after = context[:start], context[end:]
        pieces = [
            (_dots(before[:-AROUND]) + before[-AROUND:], ""),
            (text, blocks.ANSWER),
            (after[:AROUND] + _dots(after[AROUND:]), ""),
        ]
    shown: blocks.View = (
        blocks.passage("question", (example.question, "")),
        blocks.passage("context", *pieces),
        blocks.fact("answer", text or NONE, wrong=not text),
    )
    if "score" in answer:
        shown += (blocks.fact("score", answer["score"]),)
    best = answer.get("n_best", ())[:TOP]
    rows = tuple(
        (blocks.number(one["score"]), blocks.cleaned(one["text"]) or NONE)
        for one in best
    )
    return (*shown, blocks.Table(("score", "n-best"), rows)) if len(rows) > 1 else shown


def _dots(left_out: str) -> str:
    return " [...] " if left_out else ""


def _fills(text: str, answer: Mapping) -> blocks.View:
    """Return the text with its masks marked, the best fillers of each, and all filled."""
    fills = answer["fills"]
    masks = [match.span() for match in _MASK.finditer(text)]
    spans = [{"start": a, "end": b, "type": blocks.MASK} for a, b in masks]
    shown: blocks.View = (blocks.passage("text", *_marked(text, spans)),)
    for i, fillers in enumerate(fills, 1):
        name = "mask" if len(fills) == 1 else f"mask {i}"
        rows = [(f["token"], f["score"], k == 0) for k, f in enumerate(fillers)]
        shown += (_bars(name, rows, top=len(rows)),)
    return (*shown, blocks.passage("filled", (answer["text"], blocks.ANSWER)))


def _replaced(text: str, tokens: Sequence[Mapping]) -> blocks.View:
    """Return the text with the pieces marked that seem replaced, and the likeliest."""
    found = [one | {"type": "replaced"} for one in tokens if one["score"] >= 0.5]
    likely = sorted(tokens, key=lambda one: -one["score"])[:TOP]
    rows = [
        (text[t["start"] : t["end"]], t["score"], t["score"] >= 0.5) for t in likely
    ]
    return (blocks.passage("text", *_marked(text, found)), _bars("replaced", rows))


def _others(answer: Mapping) -> blocks.View:
    """Return what a prediction holds beside the forms above, a line each."""
    return tuple(
        blocks.fact(key, _short(value))
        for key, value in answer.items()
        if key not in _SHOWN
    )


def _short(value):
    """Return a number, or the beginning of anything else as text."""
    if isinstance(value, int | float):
        return value
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said[:200] + _dots(said[200:])
