"""Contrastive search over (start, step) with hidden states (Su et al., 2022)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.decode import constraints
from lmtasks.decode import loop
from lmtasks.decode.plan import Decode
from lmtasks.types import Array
from lmtasks.types import Batch


@struct.dataclass
class _State:
    n: Array
    logits: Array  # [B, V] after what is written
    past: Array  # [B, P + N, D], unit hidden states of prompt and text; 0 where none
    chosen: Array  # int32[B, N], the lane in which token n was read
    cache: object
    done: Array
    written: loop.Written
    states: Array


def generate(
    start, step, batch: Batch, *, decode: Decode, rules: constraints.Rules | None = None
) -> loop.Written:
    """Return one text a row: likely tokens whose hidden states repeat nothing.

    Each of the decode.top_k likeliest tokens v is read in a lane of its own; taken is
    the one with the largest (1 - alpha) p(v) - alpha max_j cos(h_v, h_j) over the
    states h_j of prompt and text (arXiv:2202.06417). The slots of the others are seen
    by nobody.

    Args:
        start, step: as for `loop.generate`, with (logits, hidden states [B, T, D]) for
            the logits.
        batch: the prompts.
        decode: top_k, alpha, limits.
        rules: constraints, or None for those of `decode` alone.
    """
    prompt, length = loop.prompt_of(batch)
    rows, longest = prompt.shape
    k, size = decode.top_k, longest + decode.slots
    rules = rules or constraints.rules_of(decode, rows)
    (logits, hidden), cache = start(batch, size)
    read = jnp.where((prompt >= 0)[..., None], _unit(hidden), 0)
    state = _State(
        n=jnp.int32(0),
        logits=logits,
        past=jnp.pad(read, ((0, 0), (0, decode.max_tokens), (0, 0))),
        chosen=jnp.full((rows, decode.max_tokens), -1, jnp.int32),
        cache=cache,
        done=length <= 0,
        written=loop.blank(rows, 1, decode.max_tokens),
        states=constraints.begin(rules, rows, 1),
    )

    def body(s):
        p, tokens = _candidates(s, prompt, k, rules)
        # Every lane sees the lanes taken before, and itself now.
        taken = jnp.broadcast_to(s.chosen[:, None], (rows, k, decode.max_tokens))
        taken = taken.at[:, :, s.n].set(jnp.arange(k))
        positions = jnp.where(s.done, -1, length + s.n)[:, None]
        (logits, hidden), cache = step(
            tokens,
            jnp.broadcast_to(positions, tokens.shape),
            s.cache,
            length + s.n * k,
            loop.sees_of(length, taken, size),
        )
        states = _unit(hidden)
        best = _best(p, states, s.past, decode.alpha)
        new = s.replace(
            logits=_lane(logits, best),
            past=s.past.at[:, longest + s.n].set(_lane(states, best)),
            chosen=s.chosen.at[:, s.n].set(best),
            cache=cache,
        )
        return _take(new, s.logits, _lane(tokens, best), rules)

    def more(s):
        return (s.n < decode.max_tokens) & ~jnp.all(s.done)

    return jax.lax.while_loop(more, body, state).written


def _candidates(s: _State, prompt, k: int, rules) -> tuple[Array, Array]:
    """Return (float32[B, k] probabilities, int32[B, k] tokens) of the likeliest."""
    allowed = constraints.apply(
        rules,
        s.logits[:, None],
        n=s.n,
        prompt=prompt,
        text=s.written.tokens,
        states=s.states,
    )[:, 0]
    return jax.lax.top_k(jax.nn.softmax(allowed, axis=-1), k)


def _best(p: Array, states: Array, past: Array, alpha: float) -> Array:
    """Return int32[B], the lane with the largest score."""
    likeness = jnp.einsum("BWD,BTD->BWT", states, past)
    there = jnp.any(past != 0, axis=-1)[:, None]
    worst = jnp.max(jnp.where(there, likeness, -1), axis=-1)
    score = (1 - alpha) * p - alpha * worst
    # A token that the rules forbid is there only to fill up the k.
    return jnp.argmax(jnp.where(p > 0, score, -jnp.inf), axis=1)


def _take(s: _State, logits: Array, token: Array, rules) -> _State:
    """Return the state with the token written, scored by the logits before it."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    live = ~s.done
    log_prob = jnp.take_along_axis(log_p, token[:, None], axis=1)[:, 0]
    log_prob = jnp.where(live, log_prob, 0)
    states, ends = constraints.advance(rules, s.states, token[:, None])
    w = s.written
    written = loop.Written(
        tokens=w.tokens.at[:, 0, s.n].set(jnp.where(live, token, -1)),
        log_probs=w.log_probs.at[:, 0, s.n].set(log_prob),
        lengths=w.lengths + live[:, None],
        scores=w.scores + log_prob[:, None],
    )
    done = s.done | ends[:, 0]
    return s.replace(n=s.n + 1, done=done, written=written, states=states)


def _unit(x: Array) -> Array:
    x = x.astype(jnp.float32)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def _lane(x: Array, at: Array) -> Array:
    at = at.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.take_along_axis(x, at, axis=1)[:, 0]
