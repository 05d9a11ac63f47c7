"""Which tokens of a row are chosen to be predicted, and what stands in their place.

Pure functions of (ids, tokenizer, noise, generator): the same generator gives the same
row again, whatever was drawn before.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

UNITS = ("token", "word", "span")


@dataclasses.dataclass(frozen=True)
class Noise:
    """How a row is masked.

    Attributes:
        rate: of the row's tokens, special ones counted, that are predicted.
        mask: of those, hidden behind the mask token.
        random: of those, with another token in their place; the rest stays.
        unit: "token" | "word" | "span": what is chosen together.
        span_p: of the geometric distribution of a span's words.
        span_max: words of the longest span.
    """

    rate: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    unit: str = "token"
    span_p: float = 0.2
    span_max: int = 10


def masked(
    ids: np.ndarray, tokenizer, noise: Noise, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (what the model reads, bool[T] of the tokens it predicts).

    As many tokens are chosen as `count` says, of units that `choose` draws. Each is
    hidden, replaced or kept by a draw of its own (Devlin et al., 2019,
    arXiv:1810.04805), but the tokens of a span share one (Joshi et al., 2020,
    arXiv:1907.10529).

    Args:
        ids: int32[T] of a row; special tokens are never chosen.
        tokenizer: of the run; it has a mask token.
        noise: how. rng: whose draws decide.
    """
    units = units_of(ids, tokenizer, noise.unit)
    groups = choose(units, count(units, noise.rate), noise, rng)
    chosen = groups >= 0
    at = np.flatnonzero(chosen)
    if noise.unit == "span":
        draws = rng.random(groups.max(initial=-1) + 1)[groups[at]]
    else:
        draws = rng.random(len(at))
    tokens = ids.copy()
    tokens[at[draws < noise.mask]] = tokenizer.mask_id
    other = at[(draws >= noise.mask) & (draws < noise.mask + noise.random)]
    known = ordinary_ids(tokenizer)
    tokens[other] = known[rng.integers(len(known), size=len(other))]
    return tokens, chosen


def shuffled(
    ids: np.ndarray, tokenizer, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the row with `rate` of its tokens replaced by others of the same row.

    Each is drawn from the row's ordinary tokens, so that frequent ones come often; it
    may be the one that was there.
    """
    units = units_of(ids, tokenizer, "token")
    at = np.flatnonzero(choose(units, count(units, rate), Noise(), rng) >= 0)
    here = ids[units >= 0]
    tokens = ids.copy()
    if len(here):
        tokens[at] = here[rng.integers(len(here), size=len(at))]
    return tokens


def count(units: np.ndarray, rate: float) -> int:
    """Return how many tokens of a row are chosen: `rate` of all, one at least, and
    no more than may be chosen.

    Example: 2 special tokens and 18 others at .15 -> 3.
    """
    return min(int((units >= 0).sum()), max(1, round(rate * len(units))))


def units_of(ids: np.ndarray, tokenizer, unit: str) -> np.ndarray:
    """Return int64[T], the number of the unit each token is of; -1 for special ones.

    Example (BERT), words of "[CLS] a bass ##oon . [SEP]" -> -1 0 1 1 2 -1.
    """
    free = ordinary_of(tokenizer)[ids]
    begins = free
    if unit != "token":
        goes_on, closes = words_of(tokenizer)
        after = np.concatenate([[True], (~free | closes[ids])[:-1]])
        begins = free & (~goes_on[ids] | after)
    return np.where(free, np.cumsum(begins) - 1, -1)


def choose(
    units: np.ndarray, budget: int, noise: Noise, rng: np.random.Generator
) -> np.ndarray:
    """Return int64[T], the group each chosen token is of; -1 where none was chosen.

    Units are taken whole in a random order, so that their tokens are as many of the
    budget as whole units can make up: every draw has the same number. That is the
    budget itself where units are single tokens. Where every unit is longer than the
    budget, it is the length of the shortest.

    Args:
        units: of `units_of`. budget: tokens to choose.
        noise: says whether the order goes by spans. rng: draws the order.
    """
    lengths = np.bincount(units[units >= 0])
    groups = np.full(len(lengths) + 1, -1)  # the last one stands for unit -1
    if len(lengths):
        order, group = _ordered(len(lengths), noise, rng)
        taken = fill(lengths[order], max(budget, int(lengths.min())))
        groups[order[taken]] = group[taken]
    return groups[units]


def fill(lengths: np.ndarray, budget: int) -> np.ndarray:
    """Return bool[n]: which units are taken, from the first on.

    One is left out where it is too long for the rest of the budget, or where those
    after it could not use up what it leaves.

        lengths 3 2 2 1, budget 4   ->   taken 1 0 0 1
        lengths 3 2 2,   budget 4   ->   taken 0 1 1
    """
    sums = np.cumsum(lengths)
    end = int(np.searchsorted(sums, budget))
    if end < len(sums) and sums[end] == budget:
        return np.arange(len(lengths)) <= end
    # Bit s of reach[i] says that units from i on can sum to s.
    reach, within = [1], (1 << (budget + 1)) - 1
    for length in lengths[::-1].tolist():
        reach.append((reach[-1] | reach[-1] << length) & within)
    reach.reverse()
    rest, taken = reach[0].bit_length() - 1, np.zeros(len(lengths), bool)
    for i, length in enumerate(lengths.tolist()):
        if length <= rest and reach[i + 1] >> (rest - length) & 1:
            taken[i], rest = True, rest - length
    return taken


def _ordered(size: int, noise: Noise, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return (units in the order they are chosen, the group each is of)."""
    starts = rng.permutation(size)
    if noise.unit != "span":
        return starts, starts
    widths = np.arange(1, noise.span_max + 1)
    # A longest span cuts the distribution off: its mean is 3.8 words by default.
    share = (1 - noise.span_p) ** (widths - 1)
    drawn = rng.choice(widths, size, p=share / share.sum())
    free, order, groups = np.ones(size, bool), [], []
    for start, width in zip(starts.tolist(), drawn.tolist(), strict=True):
        if free[start]:
            span = range(start, min(start + width, size))
            fresh = [i for i in span if free[i]]
            order += fresh
            groups += [start] * len(fresh)
            free[fresh] = False
    return np.asarray(order), np.asarray(groups)


@functools.lru_cache(maxsize=8)
def ordinary_of(tokenizer) -> np.ndarray:
    """Return bool[V]: which ids are no special token."""
    out = np.ones(tokenizer.size, bool)
    out[list(tokenizer.special_ids)] = False
    return out


@functools.lru_cache(maxsize=8)
def ordinary_ids(tokenizer) -> np.ndarray:
    """Return the ids that are no special token, int64[n]."""
    return np.flatnonzero(ordinary_of(tokenizer))


@functools.lru_cache(maxsize=8)
def words_of(tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids that go on with a word, ids after which one begins), bool[V] each.

    A word begins at a piece with white space in front; a line break or tab ends one.
    WordPiece marks what goes on by ##, and to a word tokenizer every id is a word.
    """
    goes_on = np.zeros(tokenizer.size, bool)
    closes = np.zeros(tokenizer.size, bool)
    for id in np.flatnonzero(ordinary_of(tokenizer)).tolist():
        if tokenizer.kind == "wordpiece":
            goes_on[id] = tokenizer.piece(id).startswith("##")
        elif tokenizer.kind != "word":
            text = tokenizer.bytes_of(id) or b" "
            goes_on[id] = not text[:1].isspace()
            closes[id] = text[-1:] in (b"\n", b"\r", b"\t")
    return goes_on, closes
