"""Greedy decoding and sampling over (start, step), as one while loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.decode import sampling as samplers
from lmtasks.types import Array
from lmtasks.types import Batch


@struct.dataclass
class Written:
    """What was written.

    Attributes:
        tokens: int32[B, N]; -1 after the end.
        log_probs: float32[B, N] of the unmodified model; 0 after the end.
        lengths: int32[B], tokens written, the stop id included.
    """

    tokens: Array
    log_probs: Array
    lengths: Array


@struct.dataclass
class _State:
    n: Array
    logits: Array
    cache: object
    length: Array
    done: Array
    written: Written


def generate(
    start,
    step,
    batch: Batch,
    *,
    decode: samplers.Decode,
    sampling: samplers.Sampling,
    keys: Array,
) -> Written:
    """Return up to decode.max_tokens tokens a row; stops early when all are done.

    Each row draws from its own key, so its text does not depend on its neighbours.

    Args:
        start: (batch, size) -> (logits float32[B, V], cache).
        step: (tokens [B, 1], positions [B, 1], cache, slot [B]) -> (logits, cache).
        batch: the prompts; ragged rows are padded with positions of -1.
        decode: limit and stop ids.
        sampling: parameters [B].
        keys: key[B]; row b draws its token n from fold_in(keys[b], n).
    """
    rows, limit = batch["tokens"].shape[0], decode.max_tokens
    logits, cache = start(batch, batch["tokens"].shape[1] + limit)
    stops = jnp.asarray(decode.stop_ids or (-1,), jnp.int32)

    def draw(state):
        mine = jax.vmap(jax.random.fold_in, (0, None))(keys, state.n)
        uniform = jax.vmap(jax.random.uniform)(mine)
        token = samplers.sample(state.logits, sampling, uniform)
        log_z = jax.nn.logsumexp(state.logits, axis=-1)
        picked = jnp.take_along_axis(state.logits, token[:, None], axis=1)[:, 0]
        return token, picked - log_z

    def body(state):
        token, log_prob = draw(state)
        live = ~state.done
        w = state.written
        written = Written(
            tokens=w.tokens.at[:, state.n].set(jnp.where(live, token, -1)),
            log_probs=w.log_probs.at[:, state.n].set(jnp.where(live, log_prob, 0.0)),
            lengths=w.lengths + live,
        )
        done = state.done | jnp.isin(token, stops)
        # A finished row goes on reading its last token unseen, at position -1.
        position = jnp.where(live, state.length, -1)
        logits, cache = step(
            token[:, None], position[:, None], state.cache, state.length
        )
        length = state.length + live
        return _State(state.n + 1, logits[:, 0], cache, length, done, written)

    state = _State(
        n=jnp.int32(0),
        logits=logits,
        cache=cache,
        length=jnp.max(batch["positions"], axis=1) + 1,
        done=jnp.max(batch["positions"], axis=1) < 0,
        written=Written(
            tokens=jnp.full((rows, limit), -1, jnp.int32),
            log_probs=jnp.zeros((rows, limit), jnp.float32),
            lengths=jnp.zeros(rows, jnp.int32),
        ),
    )
    state = jax.lax.while_loop(lambda s: (s.n < limit) & ~jnp.all(s.done), body, state)
    return state.written
