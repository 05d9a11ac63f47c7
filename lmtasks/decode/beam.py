"""Beam search over (start, step): length penalties, n-best, diverse groups.

The W beams of a prompt are lanes of one row (see loop.py): the cache is never copied
nor reordered, a beam that takes over another's past only changes which slots it sees.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.decode import constraints
from lmtasks.decode import loop
from lmtasks.decode import shrink
from lmtasks.decode.plan import Decode
from lmtasks.layers.attention import BIG_NEGATIVE
from lmtasks.types import Array
from lmtasks.types import Batch

# Below this a score is no score: a lane without text, or a forbidden token.
NONE = BIG_NEGATIVE / 2


@struct.dataclass
class Beams:
    """Where a search stands.

    Attributes:
        n: int32[], tokens written. cache: of the model.
        live: the W texts in progress; scores are sums of (constrained) log_probs.
        ancestors: int32[B, W, N], see loop.sees_of.
        states: int32[B, W, A], places in the automata.
        finished: the best finished texts of each group, best first; scores are
            divided by the length penalty, below NONE where there is no text.
        open: bool[B, G], groups whose search goes on.
    """

    n: Array
    cache: object
    live: loop.Written
    ancestors: Array
    states: Array
    finished: loop.Written
    open: Array


def penalty(decode: Decode, n: Array) -> Array:
    """Return what the score of a text of n tokens is divided by, float32.

    "gnmt": ((5 + n) / 6) ** a (Wu et al., 2016, arXiv:1609.08144); "average": n ** a;
    "none": 1.
    """
    n = jnp.asarray(n, jnp.float32)
    if decode.length_penalty == "none":
        return jnp.ones_like(n)
    base = (5 + n) / 6 if decode.length_penalty == "gnmt" else n
    return base**decode.length_exponent


def generate(
    start,
    step,
    batch: Batch,
    *,
    decode: Decode,
    rules: constraints.Rules | None = None,
    halves: bool = False,
) -> loop.Written:
    """Return the decode.beams best texts of each row, best first.

    Candidates are ranked by the sum of log-probabilities after the rules. The best
    (1 + stop ids) W go on: those that end are finished where they are among the best
    W, the best W others stay alive, so ends never starve the search. Neither the
    batch around a row nor its padding changes its texts.

    Args:
        start, step, batch, rules, halves: as for `loop.generate`.
        decode: beams, groups, length penalty, early stopping.
    """
    prompt, length = loop.prompt_of(batch)
    count, w = prompt.shape[0], decode.beams
    rules = rules or constraints.rules_of(decode, count)
    size = prompt.shape[1] + decode.slots
    logits, cache = start(batch, size)
    beams = _first(cache, count, decode, rules, length)
    logits = jnp.broadcast_to(logits[:, None], (count, w, logits.shape[-1]))
    beams = _select(beams, logits, prompt, decode, rules)

    def body(beams, given):
        length, prompt, rows = given
        n = beams.n - 1
        token = beams.live.tokens[:, :, n]
        positions = jnp.where(jnp.any(beams.open, 1), length + n, -1)[:, None]
        positions = jnp.broadcast_to(positions, token.shape)
        sees = loop.sees_of(length, beams.ancestors, size)
        logits, cache = step(
            jnp.maximum(token, 0), positions, beams.cache, length + n * w, sees
        )
        beams = beams.replace(cache=cache)
        return _select(beams, logits, prompt, decode, rules.with_rows(rows))

    found = shrink.loop(
        body,
        beams,
        (length, prompt, rules.rows),
        more=lambda beams: beams.n < decode.max_tokens,
        going=lambda beams: jnp.any(beams.open, axis=1),
        result=lambda beams: beams.finished,
        halves=halves,
    )
    order = jax.lax.top_k(found.scores, w)[1]  # the groups together
    return jax.tree.map(lambda x: _take(x, order), found)


def _first(cache, rows, decode, rules, length) -> Beams:
    w, groups, size = decode.beams, decode.beam_groups, decode.max_tokens
    live = loop.blank(rows, w, size)
    # One lane of each group: equal lanes would find the same texts.
    first = jnp.arange(w) % (w // groups) == 0
    alive = jnp.broadcast_to(jnp.where(first, 0.0, BIG_NEGATIVE), (rows, w))
    ended = loop.blank(rows, w, size)
    return Beams(
        n=jnp.int32(0),
        cache=cache,
        live=live.replace(scores=alive),
        ancestors=jnp.full((rows, w, size), -1, jnp.int32),
        states=constraints.begin(rules, rows, w),
        finished=ended.replace(scores=jnp.full((rows, w), BIG_NEGATIVE, jnp.float32)),
        open=jnp.broadcast_to((length > 0)[:, None], (rows, groups)),
    )


def _take(x: Array, at: Array) -> Array:
    """Return x [B, X, ...] at int32[B, Y] of its second dim: [B, Y, ...]."""
    return jnp.take_along_axis(x, at.reshape(*at.shape, *[1] * (x.ndim - 2)), axis=1)


def _select(beams: Beams, logits, prompt, decode: Decode, rules) -> Beams:
    """Return the beams with one more token, chosen group after group."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    ranked = constraints.apply(
        rules,
        log_p,
        n=beams.n,
        prompt=prompt,
        text=beams.live.tokens,
        states=beams.states,
    )
    total = beams.live.scores[..., None] + ranked
    w = decode.beams // decode.beam_groups
    parts, taken = [], []
    for g in range(decode.beam_groups):
        mine = slice(g * w, (g + 1) * w)
        score = total[:, mine]
        if taken:
            others = jnp.concatenate(taken, axis=1)
            again = constraints.counts(others, score.shape[-1])[:, None]
            wanted = score - decode.diversity * again
        else:
            wanted = score
        part = _select_group(beams, mine, g, score, wanted, log_p, decode, rules)
        parts.append(part)
        taken.append(part.live.tokens[:, :, beams.n])
    joined = jax.tree.map(
        lambda *x: x[0] if x[0].ndim == 0 else jnp.concatenate(x, axis=1),
        *(part.replace(cache=()) for part in parts),
    )
    return joined.replace(n=beams.n + 1, cache=beams.cache)


def _best(wanted, count):
    """Return (lane, token) int32[B, count] of the largest of [B, W, V], in order.

    Each lane's best first, then the best of these: a row is never flattened.
    """
    w, v = wanted.shape[1:]
    each = min(count, v)
    values, tokens = jax.lax.top_k(wanted, each)
    count = min(count, w * each)
    at = jax.lax.top_k(values.reshape(len(values), -1), count)[1]
    return at // each, jnp.take_along_axis(tokens.reshape(len(at), -1), at, axis=1)


def _select_group(beams, mine, g, score, wanted, log_p, decode, rules) -> Beams:
    """Return group g alone with one more token; its cache stays out."""
    w = score.shape[1]
    count = max(2, 1 + len(decode.stop_ids)) * w
    lane, token = _best(wanted, count)
    cut = jax.tree.map(lambda x: x[:, mine], (beams.live, beams.states, log_p))
    live, states, log_p = cut

    def of(x):  # x[b, lane, token]
        return jnp.take_along_axis(_take(x, lane), token[..., None], axis=-1)[..., 0]

    found = of(score)
    n = beams.n
    states, ends = constraints.advance(rules, _take(states, lane), token)
    candidates = loop.Written(
        tokens=_take(live.tokens, lane).at[:, :, n].set(token),
        log_probs=_take(live.log_probs, lane).at[:, :, n].set(of(log_p)),
        lengths=_take(live.lengths, lane) + 1,
        scores=found,
    )
    ends = ends | (n + 1 >= decode.max_tokens)
    opened = beams.open[:, g]
    finished = jax.tree.map(lambda x: x[:, mine], beams.finished)
    top = jnp.arange(found.shape[1]) < w
    ended = ends & top & (found > NONE) & opened[:, None]
    finished = _merge(finished, candidates, ended, penalty(decode, n + 1))
    # What has ended cannot go on.
    on = jax.lax.top_k(jnp.where(ends, BIG_NEGATIVE, of(wanted)), w)[1]
    going = candidates.replace(scores=jnp.where(ends, BIG_NEGATIVE, found))
    alive = jax.tree.map(lambda x: _take(x, on), going)
    ancestors = _take(_take(beams.ancestors[:, mine], lane), on)
    ancestors = ancestors.at[:, :, n].set(jnp.arange(mine.start, mine.stop))
    opened = opened & _may_improve(decode, alive.scores, finished.scores, n + 1)
    return Beams(
        n=n,
        cache=(),
        live=alive,
        ancestors=ancestors,
        states=_take(states, on),
        finished=finished,
        open=opened[:, None],
    )


def _merge(finished, candidates, ended, divided_by):
    """Return the best of the finished texts and of the candidates that ended."""
    scores = jnp.where(ended, candidates.scores / divided_by, BIG_NEGATIVE)
    both = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b], axis=1),
        finished,
        candidates.replace(scores=scores),
    )
    best, at = jax.lax.top_k(both.scores, finished.scores.shape[1])
    out = jax.tree.map(lambda x: _take(x, at), both).replace(scores=best)
    there = best > NONE
    return out.replace(
        tokens=jnp.where(there[..., None], out.tokens, -1),
        log_probs=jnp.where(there[..., None], out.log_probs, 0),
        lengths=jnp.where(there, out.lengths, 0),
    )


def _may_improve(decode: Decode, live, finished, n) -> Array:
    """Return bool[B]: whether a live text may still enter the finished ones.

    A sum of log-probabilities only falls, so the best a live text can reach is its
    score now over the largest penalty it can get.
    """
    full = jnp.min(finished, axis=1) > NONE
    if decode.early_stopping == "full":
        return ~full
    grows = decode.length_exponent > 0 and decode.early_stopping == "exact"
    best = jnp.max(live, axis=1) / penalty(decode, decode.max_tokens if grows else n)
    return (best > NONE) & (~full | (best > jnp.min(finished, axis=1)))
