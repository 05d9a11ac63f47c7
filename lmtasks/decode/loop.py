"""Greedy decoding and sampling over (start, step), as one while loop.

A prompt may be gone on with in W lanes at once. Lanes are further queries of the same
row: the prompt is read and cached once, token n of lane w is written at slot
length + n W + w, and a lane sees the prompt and its own slots.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.decode import constraints
from lmtasks.decode import sampling as samplers
from lmtasks.decode import shrink
from lmtasks.decode.plan import Decode
from lmtasks.types import Array
from lmtasks.types import Batch


@struct.dataclass
class Written:
    """What was written, W texts a prompt.

    Attributes:
        tokens: int32[B, W, N]; -1 after the end.
        log_probs: float32[B, W, N] of the unmodified model; 0 after the end.
        lengths: int32[B, W], tokens written, the stop id included.
        scores: float32[B, W]: the sum of log_probs; of beams what they are ranked by.
    """

    tokens: Array
    log_probs: Array
    lengths: Array
    scores: Array


@struct.dataclass
class State:
    """Where a loop stands; `advance` takes it and gives it back.

    Attributes:
        n: int32[], tokens written. token: int32[B, W], the last ones, not read yet.
        cache: of the model. length: int32[B], of the prompts.
        done: bool[B, W]. written: so far.
        states: int32[B, W, A], places in the automata.
        prompt: int32[B, P], -1 where empty.
    """

    n: Array
    token: Array
    cache: object
    length: Array
    done: Array
    written: Written
    states: Array
    prompt: Array


def blank(batch: int, lanes: int, size: int) -> Written:
    """Return room for `size` tokens of each text."""
    return Written(
        tokens=jnp.full((batch, lanes, size), -1, jnp.int32),
        log_probs=jnp.zeros((batch, lanes, size), jnp.float32),
        lengths=jnp.zeros((batch, lanes), jnp.int32),
        scores=jnp.zeros((batch, lanes), jnp.float32),
    )


def prompt_of(batch: Batch) -> tuple[Array, Array]:
    """Return (int32[B, P] the prompts with -1 where empty, int32[B] their lengths)."""
    tokens, positions = batch["tokens"], batch["positions"]
    length = jnp.max(positions, axis=1) + 1
    return jnp.where(positions >= 0, tokens, -1).astype(jnp.int32), length


def sees_of(first: Array, ancestors: Array, size: int) -> Array:
    """Return bool[B, W, S]: which slots a lane's query may look at.

    Args:
        first: int32[B], the slot after the prompt.
        ancestors: int32[B, W, N]: the lane in which a text's token n was written; -1
            where there is none. Token n of lane w stands at slot first + n W + w.
        size: S.
    """
    lanes, longest = ancestors.shape[1:]
    place = jnp.arange(size) - first[:, None]  # [B, S]
    n, lane = place // lanes, place % lanes
    at = jnp.clip(n, 0, longest - 1)[:, None, :]
    at = jnp.broadcast_to(at, (*ancestors.shape[:2], size))
    mine = jnp.take_along_axis(ancestors, at, axis=2) == lane[:, None]
    return (place < 0)[:, None] | (mine & (n < longest)[:, None])


def begin(
    start,
    batch: Batch,
    *,
    decode: Decode,
    sampling: samplers.Sampling | None,
    keys: Array,
    rules: constraints.Rules,
) -> State:
    """Return the state after the prompts are read and the first token is drawn.

    The arguments are those of `generate`.
    """
    prompt, length = prompt_of(batch)
    rows, lanes = prompt.shape[0], decode.lanes
    logits, cache = start(batch, prompt.shape[1] + decode.slots)
    state = State(
        n=jnp.int32(0),
        token=jnp.zeros((rows, lanes), jnp.int32),
        cache=cache,
        length=length,
        done=jnp.broadcast_to((length <= 0)[:, None], (rows, lanes)),
        written=blank(rows, lanes, decode.max_tokens),
        states=constraints.begin(rules, rows, lanes),
        prompt=prompt,
    )
    logits = jnp.broadcast_to(logits[:, None], (rows, lanes, logits.shape[-1]))
    return _draw(state, logits, sampling=sampling, keys=keys, rules=rules)


def _draw(state: State, logits, *, sampling, keys, rules) -> State:
    """Return the state with one more token a lane, drawn from logits [B, W, V]."""
    b, w, v = logits.shape
    written = state.written
    allowed = constraints.apply(
        rules,
        logits,
        n=state.n,
        prompt=state.prompt,
        text=written.tokens,
        states=state.states,
    )
    lanes = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    mine = lanes(keys, jnp.arange(w)).reshape(-1)
    mine = jax.vmap(jax.random.fold_in, (0, None))(mine, state.n)
    each = jax.tree.map(lambda x: jnp.repeat(x, w, axis=0), sampling)
    token = samplers.sample(allowed.reshape(b * w, v), each, mine).reshape(b, w)
    picked = jnp.take_along_axis(logits, token[..., None], axis=-1)[..., 0]
    log_prob = picked - jax.nn.logsumexp(logits, axis=-1)
    live = ~state.done
    states, ends = constraints.advance(rules, state.states, token)
    n, log_prob = state.n, jnp.where(live, log_prob, 0.0)
    written = Written(
        tokens=written.tokens.at[:, :, n].set(jnp.where(live, token, -1)),
        log_probs=written.log_probs.at[:, :, n].set(log_prob),
        lengths=written.lengths + live,
        scores=written.scores + log_prob,
    )
    done, states = state.done | ends, jnp.where(live[..., None], states, state.states)
    return state.replace(
        n=n + 1, token=token, done=done, written=written, states=states
    )


def advance(
    step,
    state: State,
    limit: Array,
    *,
    sampling: samplers.Sampling | None,
    keys: Array,
    rules: constraints.Rules,
) -> State:
    """Return the state after up to `limit` tokens a lane; stops when all are done.

    `limit` int32[] is traced: one program writes a whole text or a few tokens of it
    at a time. The other arguments are those of `generate`.
    """
    sees = _own_slots(state)

    def body(state):
        state, logits = _read(step, state, sees)
        return _draw(state, logits, sampling=sampling, keys=keys, rules=rules)

    def more(state):
        return (state.n < limit) & ~jnp.all(state.done)

    return jax.lax.while_loop(more, body, state)


def _own_slots(state: State) -> Array | None:
    """Return bool[B, W, S]: the slots each lane sees; None where there is one lane."""
    rows, lanes, longest = state.written.tokens.shape
    if lanes == 1:
        return None
    size = state.prompt.shape[1] + longest * lanes
    mine = jnp.broadcast_to(jnp.arange(lanes)[:, None], (rows, lanes, longest))
    return sees_of(state.length, mine, size)


def _read(step, state: State, sees: Array | None) -> tuple[State, Array]:
    """Return (state, logits [B, W, V]) after the model has read the last tokens."""
    # A finished lane goes on reading its last token unseen, at position -1.
    place = (state.length + state.n - 1)[:, None]
    positions = jnp.where(state.done, -1, place)
    slot = state.length + (state.n - 1) * state.token.shape[1]
    logits, cache = step(state.token, positions, state.cache, slot, sees)
    return state.replace(cache=cache), logits


def generate(
    start,
    step,
    batch: Batch,
    *,
    decode: Decode,
    sampling: samplers.Sampling | None,
    keys: Array,
    rules: constraints.Rules | None = None,
    halves: bool = False,
) -> Written:
    """Return up to decode.max_tokens tokens in decode.lanes lanes a row.

    Each lane draws from its own key, so its text depends neither on its neighbours nor
    on how many lanes there are.

    Args:
        start: (batch, size) -> (logits float32[B, V], cache).
        step: (tokens [B, T], positions [B, T], cache, slot [B], sees bool[B, T, S] or
            None) -> (logits [B, T, V], cache).
        batch: the prompts; ragged rows are padded with positions of -1.
        decode: limits and stop ids.
        sampling: parameters [B], or None where every row is greedy.
        keys: key[B]; lane w of row b draws its token n from fold_in(fold_in(keys[b],
            w), n).
        rules: constraints, or None for those of `decode` alone.
        halves: go on with half of the rows once half have ended; `step` then takes
            fewer rows than `start`, and all arrays of a cache have the rows first.
    """
    rules = rules or constraints.rules_of(decode, batch["tokens"].shape[0])
    drawn = {"sampling": sampling, "keys": keys, "rules": rules}
    state = begin(start, batch, decode=decode, **drawn)

    def body(state, given):
        sampling, keys, rows, sees = given
        state, logits = _read(step, state, sees)
        own = rules.with_rows(rows)
        return _draw(state, logits, sampling=sampling, keys=keys, rules=own)

    return shrink.loop(
        body,
        state,
        (sampling, keys, rules.rows, _own_slots(state)),
        more=lambda state: state.n < decode.max_tokens,
        going=lambda state: ~jnp.all(state.done, axis=1),
        result=lambda state: state.written,
        halves=halves,
    )
