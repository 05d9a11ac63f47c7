"""Texts with parts taken out, which a model learns to put back.

Pure functions of (ids, how, generator). The rules and roundings are those of T5 (Raffel
et al., 2020, arXiv:1910.10683); infilling is BART's (Lewis et al., 2020,
arXiv:1910.13461).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from lmtasks.data import noise

ENDS = ("noise", "any")


@dataclasses.dataclass(frozen=True)
class Marks:
    """What a tokenizer has to write noise with.

    Attributes:
        sentinels: int64[n]. mask_id: stands for a gap.
        stops, closes, goes_on: bool[V], ids with a full stop at their end, with a line
            break there, and that go on with a word.
    """

    sentinels: np.ndarray
    mask_id: int | None
    stops: np.ndarray
    closes: np.ndarray
    goes_on: np.ndarray


@functools.lru_cache(maxsize=8)
def marks_of(tokenizer) -> Marks:
    """Return the marks of a tokenizer."""
    goes_on, closes = noise.words_of(tokenizer)
    stops = np.zeros(tokenizer.size, bool)
    for id in np.flatnonzero(noise.ordinary_of(tokenizer)).tolist():
        text = (tokenizer.bytes_of(id) or b"").rstrip()
        stops[id] = text[-1:] in (b".", b"!", b"?")
    sentinels = np.asarray(tokenizer.sentinels, np.int64)
    return Marks(sentinels, tokenizer.mask_id, stops, closes, goes_on)


@dataclasses.dataclass(frozen=True)
class Spans:
    """How much of a text is taken out, in spans of which length.

    Attributes:
        rate: of the tokens.
        mean: tokens of a span on average.
        ends: "noise": the text's end is always taken out, its beginning never, as in
            T5 (up to 30 tokens of a text at its rates leave one choice only); "any":
            spans lie anywhere, and one more sentinel closes the last.
    """

    rate: float = 0.15
    mean: float = 3.0
    ends: str = "noise"

    def counts(self, length: int) -> tuple[int, int]:
        """Return (tokens taken out, spans) of a text of at least 2 tokens.

        Example: 568 tokens -> 85, 28; halves are rounded to even numbers: 30 -> 4, 1.
        """
        taken = min(max(round(length * self.rate), 1), length - 1)
        return taken, min(max(round(taken / self.mean), 1), length - taken)

    def sizes(self, length: int) -> tuple[int, int]:
        """Return how many tokens the two sides have, sentinels counted."""
        taken, spans = self.counts(length)
        return length - taken + spans, taken + spans + (self.ends == "any")

    def longest(self, source: int, target: int) -> int:
        """Return the most tokens of a text whose two sides fit; 0 if not even two do.

        Example: 511 (an end-of-sequence follows) and any -> 568.
        """
        return _longest(self, source, target)

    def draw(self, ids, marks: Marks, rng, room) -> tuple[np.ndarray, np.ndarray]:
        """Return (source, target) of a text of at least 2 tokens.

        Args:
            ids: int32[n], at most `longest(*room)`. marks: of the tokenizer.
            rng: whose draws decide. room: of the two sides.
        """
        return self._sides(ids, *self.counts(len(ids)), marks, rng)

    def redraw(self, source, target, marks: Marks, rng):
        """Return the two sides of another draw, of the same sizes."""
        ids = restored(source, target, marks.sentinels)
        spans = int(np.isin(source, marks.sentinels).sum())
        return self._sides(ids, len(ids) - len(source) + spans, spans, marks, rng)

    def _sides(self, ids, taken, spans, marks, rng):
        mask = span_mask(len(ids), taken, spans, self.ends, rng)
        return sides(ids, mask, marks.sentinels, close=self.ends == "any")


def size_of(rest: int, longest: int) -> int:
    """Return how many of the remaining tokens a row takes; one is never left alone."""
    size = min(rest, longest)
    return size - 1 if rest - size == 1 else size


@dataclasses.dataclass(frozen=True)
class Prefix:
    """A text is cut in two anywhere, and the second part goes on from the first."""

    def longest(self, source: int, target: int) -> int:
        """Return the most tokens of a text: those of the longer side."""
        return max(source, target)

    def draw(self, ids, marks: Marks, rng, room) -> tuple[np.ndarray, np.ndarray]:
        """Return (source, target), at least one token each; see `Spans.draw`."""
        first = max(1, len(ids) - room[1])
        at = int(rng.integers(first, min(len(ids) - 1, room[0]) + 1))
        return ids[:at], ids[at:]


@dataclasses.dataclass(frozen=True)
class Infill:
    """BART's noise: sentences in another order, and gaps behind one mask each.

    Attributes:
        rate: of the tokens that are hidden. mean: tokens of a gap on average (Poisson).
        permute: sentences change places.
    """

    rate: float = 0.3
    mean: float = 3.0
    permute: bool = True

    def longest(self, source: int, target: int) -> int:
        """Return the most tokens of a text; gaps of no token may lengthen its source."""
        return min(source, target)

    def draw(self, ids, marks: Marks, rng, room) -> tuple[np.ndarray, np.ndarray]:
        """Return (source, target): the target is the text; see `Spans.draw`."""
        lengths = gaps(len(ids), self.rate, self.mean, rng)
        return self._hide(ids, lengths, marks, rng)

    def redraw(self, source, target, marks: Marks, rng):
        """Return the two sides of another draw, of the same sizes.

        Poisson numbers of a given sum are a multinomial draw.
        """
        count = int((source == marks.mask_id).sum())
        hidden = len(target) - (len(source) - count)
        lengths = rng.multinomial(hidden, np.full(count, 1 / count))
        return self._hide(target, lengths, marks, rng)

    def _hide(self, ids, lengths, marks, rng):
        before = permuted(ids, marks, rng) if self.permute else ids
        return infilled(before, lengths, marks.mask_id, rng), ids


def span_mask(
    length: int, taken: int, spans: int, ends: str, rng: np.random.Generator
) -> np.ndarray:
    """Return bool[length], which tokens are taken out: `taken` in `spans` runs.

    All ways to divide the tokens among the runs, and those between, are as likely.
    """
    runs = _parts(taken, spans, rng)
    if ends == "noise":
        between = _parts(length - taken, spans, rng)
    else:
        between = _parts(length - taken + 2, spans + 1, rng)
        between[0] -= 1
        between[-1] -= 1
    lengths = np.zeros(len(between) + len(runs), np.int64)
    lengths[0::2], lengths[1::2] = between, runs
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _parts(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` numbers of 1 or more with the sum `total`, drawn uniformly."""
    cuts = np.sort(rng.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)


def sides(
    ids: np.ndarray, mask: np.ndarray, sentinels: np.ndarray, *, close: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return (source, target): each run of the mask is one sentinel in the source, and
    the target says after each what stood there.

    A sentinel closes the target where the text goes on after the last run, and with
    `close` always.

        a b c d e f, mask 0 1 1 0 1 0   ->   a <0> d <1> f   and   <0> b c <1> e <2>
    """
    begins = mask & ~np.concatenate([[False], mask[:-1]])
    marks = sentinels[np.maximum(np.cumsum(begins) - 1, 0)]
    source = np.where(begins, marks, ids)[~mask | begins]
    taken, first = ids[mask], begins[mask]
    target = np.insert(taken, np.flatnonzero(first), marks[begins])
    if close or not mask[-1]:
        target = np.append(target, sentinels[begins.sum()])
    return source.astype(np.int32), target.astype(np.int32)


def spans_of(target: np.ndarray, sentinels: np.ndarray) -> dict[int, np.ndarray]:
    """Return {sentinel: what stands after it}; the first of two equal ones holds."""
    target = np.asarray(target)
    at = np.flatnonzero(np.isin(target, sentinels))
    out: dict[int, np.ndarray] = {}
    for begin, end in zip(at, np.append(at, len(target))[1:], strict=True):
        out.setdefault(int(target[begin]), target[begin + 1 : end])
    return out


def restored(
    source: np.ndarray, target: np.ndarray, sentinels: np.ndarray
) -> np.ndarray:
    """Return the text of two sides; a sentinel the target lacks stands for nothing."""
    spans, parts, last = spans_of(target, sentinels), [], 0
    for at in np.flatnonzero(np.isin(source, sentinels)):
        parts += [source[last:at], spans.get(int(source[at]), source[:0])]
        last = at + 1
    return np.concatenate([*parts, source[last:]]).astype(np.int32)


def gaps(length: int, rate: float, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Return how long the gaps of an infilled text are, which may be 0.

    Lengths are drawn from Poisson(mean) until they are `rate` of the tokens, of which
    one at least stays; the last is cut to that number. The gaps are at most as many as
    the tokens they hide, and as have room beside each other.
    """
    wanted = min(max(round(length * rate), 1), length - 1)
    drawn = rng.poisson(mean, 4 + 4 * wanted)
    sums = np.minimum(np.cumsum(drawn), wanted)
    sums[-1] = wanted  # where the mean is near 0
    end = int(np.searchsorted(sums, wanted))
    out = np.diff(sums[: end + 1], prepend=0)
    most = min(wanted, length - wanted + 1)
    held = out[out > 0]
    if len(held) > most:
        return np.append(held[: most - 1], held[most - 1 :].sum())
    empty = min(len(out) - len(held), most - len(held))
    return np.concatenate([held, np.zeros(empty, np.int64)])


def infilled(
    ids: np.ndarray, lengths: np.ndarray, mask_id: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the ids with gaps of these lengths, each filled by one mask.

    A gap of no token puts a mask between two. No two masks touch; all places are as
    likely, and so is the order of the lengths.

        a b c d e f, lengths 2 0   ->   a M d e M f
    """
    kept = len(ids) - int(lengths.sum())
    before = np.sort(rng.choice(kept + 1, len(lengths), replace=False))
    begins = before + np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    hidden = np.zeros(len(ids) + 1, np.int64)
    np.add.at(hidden, begins, 1)
    np.add.at(hidden, begins + lengths, -1)
    shown = np.cumsum(hidden)[:-1] == 0
    at = np.cumsum(np.concatenate([[0], shown]))[begins]
    return np.insert(ids[shown], at, mask_id).astype(np.int32)


def permuted(ids: np.ndarray, marks: Marks, rng: np.random.Generator) -> np.ndarray:
    """Return the ids with the sentences in another order.

    A sentence ends at a full stop, ! or ? before a new word, or at a line break.
    """
    new_word = ~marks.goes_on[ids[1:]]
    closed = marks.closes[ids[:-1]]
    ends = closed | (marks.stops[ids[:-1]] & new_word)
    parts = np.split(ids, np.flatnonzero(ends) + 1)
    return np.concatenate([parts[i] for i in rng.permutation(len(parts))])


@functools.lru_cache(maxsize=64)
def _longest(how: Spans, source: int, target: int) -> int:
    fits = 0
    for length in range(2, source + target + 1):
        sizes = how.sizes(length)
        if sizes[0] <= source and sizes[1] <= target:
            fits = length
        elif fits:
            break
    return fits
