"""What a text may go on with: penalties, bans, forced beginnings, automata."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct

from lmtasks.decode import automaton as automata
from lmtasks.decode.plan import Decode
from lmtasks.layers.attention import BIG_NEGATIVE
from lmtasks.types import Array


@struct.dataclass
class Penalties:
    """Numbers float32[B] that lower the logits of tokens already there.

    Attributes:
        repetition: logits of tokens of the prompt and the text are divided by it
            where positive and multiplied where negative (Keskar et al., 2019,
            arXiv:1909.05858); 1 = off.
        presence: subtracted once from tokens of the text; 0 = off.
        frequency: subtracted for each time a token stands in the text; 0 = off.
    """

    repetition: Array
    presence: Array
    frequency: Array


@struct.dataclass
class Rules:
    """All constraints of a batch; what is None or empty costs nothing.

    Attributes:
        penalties: [B], or None.
        min_tokens: int32[B], no stop id before so many tokens, or None.
        forced: int32[B, F], tokens a text begins with, -1 where free, or None.
        forbidden: bool[V], tokens never written, or None.
        automata: tables a text walks through from its beginning.
        stop_ids: vocabulary ids that end a text.
        no_repeat_ngram: no run of so many tokens stands twice in prompt and text;
            0 = off.
    """

    penalties: Penalties | None = None
    min_tokens: Array | None = None
    forced: Array | None = None
    forbidden: Array | None = None
    automata: tuple[automata.Automaton, ...] = ()
    stop_ids: tuple[int, ...] = struct.field(pytree_node=False, default=())
    no_repeat_ngram: int = struct.field(pytree_node=False, default=0)

    @property
    def rows(self) -> tuple:
        """The arrays that have a row for each of the batch."""
        return self.penalties, self.min_tokens, self.forced

    def with_rows(self, rows: tuple) -> Rules:
        """Return the rules of other rows, given as by `rows`."""
        penalties, min_tokens, forced = rows
        return self.replace(penalties=penalties, min_tokens=min_tokens, forced=forced)

    @property
    def reads(self) -> bool:
        """Whether the rules look at the tokens written so far."""
        return self.penalties is not None or bool(self.no_repeat_ngram)


@struct.dataclass
class Tables:
    """What a run's words become: arrays that every row shares.

    Attributes:
        automata: of stop strings, forbidden phrases, choices, a pattern or a schema.
        forced: int32[F], the tokens every text begins with, or None.
        forbidden: bool[V], ids that are no text, or None.
    """

    automata: tuple[automata.Automaton, ...] = ()
    forced: Array | None = None
    forbidden: Array | None = None


def rules_of(decode: Decode, batch: int, tables: Tables | None = None) -> Rules:
    """Return the rules that a run's decoding asks for, the same for `batch` rows."""
    d, tables = decode, tables or Tables()
    forced = tables.forced
    if forced is not None:
        forced = jnp.broadcast_to(forced, (batch, *forced.shape))

    def full(x):
        return jnp.full(batch, x, jnp.float32)

    penalties = None
    if d.repetition_penalty != 1 or d.presence_penalty or d.frequency_penalty:
        numbers = (d.repetition_penalty, d.presence_penalty, d.frequency_penalty)
        penalties = Penalties(*map(full, numbers))
    return Rules(
        penalties=penalties,
        min_tokens=jnp.full(batch, d.min_tokens, jnp.int32) if d.min_tokens else None,
        forced=forced,
        forbidden=tables.forbidden,
        automata=tables.automata,
        stop_ids=d.stop_ids,
        no_repeat_ngram=d.no_repeat_ngram,
    )


def apply(
    rules: Rules, logits: Array, *, n: Array, prompt: Array, text: Array, states: Array
) -> Array:
    """Return the logits with what the rules forbid at BIG_NEGATIVE.

    Args:
        rules: with leading dim B in its arrays.
        logits: float32[B, W, V].
        n: int32[] or int32[B, W], tokens written so far.
        prompt: int32[B, P], -1 where empty.
        text: int32[B, W, N], -1 where nothing is written yet.
        states: int32[B, W, A], where each text stands in each automaton.
    """
    b, w, v = logits.shape
    n = jnp.broadcast_to(n, (b, w))
    if rules.reads:
        prompt = jnp.broadcast_to(prompt[:, None], (b, w, prompt.shape[-1]))
    if rules.penalties is not None:
        logits = _penalize(rules.penalties, logits, prompt, text)
    banned = jnp.zeros((1, 1, v), bool)
    if rules.no_repeat_ngram:
        banned = banned | _repeats(rules.no_repeat_ngram, prompt, text, n, v)
    if rules.forbidden is not None:
        banned = banned | rules.forbidden
    if rules.min_tokens is not None and rules.stop_ids:
        early = (n < rules.min_tokens[:, None])[..., None]
        banned = banned | (early & one_of(rules.stop_ids, v))
    for i, one in enumerate(rules.automata):
        fits = automata.allowed(one, states[..., i].reshape(-1)).reshape(b, w, v)
        banned = banned | ~fits
    if rules.forced is not None:
        banned = _force(rules.forced, n, banned, v)
    return jnp.where(banned, BIG_NEGATIVE, logits)


def one_of(ids: tuple[int, ...], v: int) -> Array:
    """Return bool[V], True at the ids."""
    at = jnp.arange(v)
    return jnp.isin(at, jnp.asarray(ids or (-1,)))


def counts(tokens: Array, v: int) -> Array:
    """Return float32[..., V]: how often each id stands in int32[..., T]; -1 nowhere."""
    flat = tokens.reshape(-1, tokens.shape[-1])
    rows = jnp.arange(flat.shape[0])[:, None]
    # An id of -1 would wrap around to the last one.
    at = jnp.where(flat >= 0, flat, v)
    found = jnp.zeros((flat.shape[0], v), jnp.float32).at[rows, at].add(1, mode="drop")
    return found.reshape(*tokens.shape[:-1], v)


def _penalize(penalties, logits, prompt, text):
    v = logits.shape[-1]
    written = counts(text, v)
    there = (written + counts(prompt, v)) > 0

    def row(x):
        return x[:, None, None]

    r = row(penalties.repetition)
    divided = jnp.where(logits < 0, logits * r, logits / r)
    logits = jnp.where(there, divided, logits)
    logits = logits - row(penalties.presence) * (written > 0)
    return logits - row(penalties.frequency) * written


def _repeats(size, prompt, text, n, v):
    """Return bool[B, W, V]: what would complete a run of `size` tokens once more.

    The prompt may be ragged and the text goes on from its end, so both are first
    brought together: places count from each row's first token.
    """
    b, w, _ = prompt.shape
    whole = jnp.concatenate([prompt, text], axis=-1)
    # Stable: what is empty goes to the end, the rest keeps its order.
    order = jnp.argsort(whole < 0, axis=-1, stable=True)
    whole = jnp.take_along_axis(whole, order, axis=-1)
    length = jnp.sum(prompt >= 0, axis=-1) + n  # [B, W]
    total = whole.shape[-1]
    match = jnp.ones((b, w, total), bool)
    at = jnp.arange(total)
    for back in range(1, size):
        last = jnp.take_along_axis(
            whole, jnp.maximum(length - back, 0)[..., None], axis=-1
        )
        # Place i completes a run when the tokens before i are the last ones written.
        shifted = jnp.where(at >= back, jnp.roll(whole, back, axis=-1), -2)
        match = match & (shifted == last)
    match = match & (whole >= 0) & (at >= size - 1)
    match = match & (length >= size - 1)[..., None]
    return counts(jnp.where(match, whole, -1), v) > 0


def _force(forced, n, banned, v):
    places = jnp.minimum(n, forced.shape[1] - 1)
    one = jnp.take_along_axis(forced, places, axis=1)  # [B, W]
    one = jnp.where(n < forced.shape[1], one, -1)[..., None]
    return jnp.where(one >= 0, jnp.arange(v) != one, banned)


def begin(rules: Rules, batch: int, lanes: int) -> Array:
    """Return int32[B, W, A]: every automaton at its first state."""
    return jnp.zeros((batch, lanes, len(rules.automata)), jnp.int32)


def advance(rules: Rules, states: Array, tokens: Array) -> tuple[Array, Array]:
    """Return (states after int32[B, W] tokens, bool[B, W] whether a text ends).

    A text ends with a stop id, or where an automaton's state says so.
    """
    ends = jnp.isin(tokens, jnp.asarray(rules.stop_ids or (-2,)))
    moved = []
    for i, one in enumerate(rules.automata):
        flat = automata.advance(one, states[..., i].reshape(-1), tokens.reshape(-1))
        moved.append(flat.reshape(tokens.shape))
        ends = ends | one.ends[moved[-1]]
    return (jnp.stack(moved, axis=-1) if moved else states), ends
