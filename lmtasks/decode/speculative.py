"""Speculative decoding over (start, step): a draft model, or n-grams of the text.

Several tokens are proposed and read in one step; as many are kept as the model itself
would have written (Leviathan et al., 2023, arXiv:2211.17192): greedy texts are those of
greedy decoding, sampled ones have the model's distribution. Row b's token n stands at
slot and position length + n, so what was refused is written over before it is seen.
"""

from __future__ import annotations

import typing

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.decode import constraints
from lmtasks.decode import loop
from lmtasks.decode import sampling as samplers
from lmtasks.decode.plan import Decode
from lmtasks.layers.attention import BIG_NEGATIVE
from lmtasks.types import Array
from lmtasks.types import Batch

# The longest run of tokens that a lookup searches the text for.
LONGEST = 3


@struct.dataclass
class Speculated:
    """What was written, and what it took.

    Attributes:
        written: as of loop.generate, with one text a prompt.
        rounds: int32[], steps of the model.
        accepted: int32[B], proposed tokens that were kept.
    """

    written: loop.Written
    rounds: Array
    accepted: Array


@struct.dataclass
class _State:
    n: Array  # int32[B], tokens written
    token: Array  # int32[B], the last one, not read yet
    cache: object
    helper: typing.Any  # the draft's cache
    done: Array
    found: Speculated
    states: Array


class Lookup:
    """Proposes what followed the last time the text ended like this.

    The last LONGEST, else fewer, tokens are searched for in prompt and text; the
    latest place counts (Saxena, 2023, prompt lookup decoding).
    """

    def begin(self, batch: Batch, size: int):
        """Return the helper's state: nothing."""
        return ()

    def propose(self, helper, whole, length, done, k, *, sampling, keys):
        """Return (int32[B, k] tokens, -1 where there are none, None, helper).

        Args:
            helper: this state.
            whole: int32[B, P + N], prompt and text. length: int32[B], of both.
            done: bool[B]. k: tokens to propose.
            sampling, keys: of the rows, for helpers that draw.
        """
        at = jnp.arange(whole.shape[1])
        best = jnp.full(whole.shape[0], -1)
        for size in range(1, LONGEST + 1):
            match = (at >= size) & (at < length[:, None])
            for back in range(1, size + 1):
                last = jnp.take_along_axis(
                    whole, jnp.maximum(length - back, 0)[:, None], axis=1
                )
                match = match & (jnp.roll(whole, back, axis=1) == last)
            place = jnp.max(jnp.where(match, at, -1), axis=1)
            best = jnp.where((place >= 0) & (length > size), place, best)
        places = best[:, None] + jnp.arange(k)
        there = (best >= 0)[:, None] & (places < length[:, None])
        places = jnp.clip(places, 0, whole.shape[1] - 1)
        tokens = jnp.take_along_axis(whole, places, axis=1)
        return jnp.where(there, tokens, -1), None, helper


class Draft:
    """Proposes what a smaller model of the same vocabulary writes."""

    def __init__(self, start, step):
        self._start, self._step = start, step

    def begin(self, batch: Batch, size: int):
        """Return the draft's cache after the prompts."""
        return self._start(batch, size)[1]

    def propose(self, helper, whole, length, done, k, *, sampling, keys):
        """Return (int32[B, k] tokens, float32[B, k, V] their distributions, cache)."""
        # The last proposal was never read, so the last two tokens are; there are two,
        # a prompt and what was written after it.
        places = length[:, None] - 2 + jnp.arange(2)
        tokens = jnp.take_along_axis(whole, jnp.maximum(places, 0), axis=1)
        proposed, probs = [], []
        for i in range(k):
            positions = jnp.where(done[:, None], -1, places)
            logits, helper = self._step(tokens, positions, helper, places[:, 0])
            mine = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
            token = samplers.sample(logits[:, -1], sampling, mine)
            proposed.append(token)
            probs.append(distribution(logits[:, -1], sampling))
            tokens, places = token[:, None], places[:, -1:] + 1
        known = None if sampling is None else jnp.stack(probs, 1)
        return jnp.stack(proposed, 1), known, helper


def distribution(logits: Array, sampling: samplers.Sampling | None) -> Array | None:
    """Return float32[B, V]: what `sampling.sample` draws from; one-hot where a row is
    greedy, None where every row is.
    """
    if sampling is None:
        return None
    temperature = jnp.where(sampling.temperature > 0, sampling.temperature, 1.0)
    scaled = logits.astype(jnp.float32) / temperature[:, None]
    keep = samplers.keep_mask(scaled, sampling)
    probs = jax.nn.softmax(jnp.where(keep, scaled, BIG_NEGATIVE), axis=-1)
    greedy = jax.nn.one_hot(samplers.argmax(logits), logits.shape[-1])
    return jnp.where((sampling.temperature > 0)[:, None], probs, greedy)


def generate(
    start,
    step,
    batch: Batch,
    *,
    decode: Decode,
    sampling: samplers.Sampling | None,
    keys: Array,
    helper: Lookup | Draft,
    rules: constraints.Rules | None = None,
) -> Speculated:
    """Return texts with the model's own distribution, several tokens a step.

    Args:
        start, step, batch, sampling, keys, rules: as for `loop.generate`.
        decode: drafted tokens a step, limits.
        helper: what proposes.
    """
    prompt, length = loop.prompt_of(batch)
    rows, size = prompt.shape[0], prompt.shape[1] + decode.slots + 1
    rules = rules or constraints.rules_of(decode, rows)
    logits, cache = start(batch, size)
    given = {"prompt": prompt, "sampling": sampling, "keys": keys, "rules": rules}
    zeros = jnp.zeros(rows, jnp.int32)
    state = _State(
        n=zeros,
        token=zeros,
        cache=cache,
        helper=helper.begin(batch, size),
        done=length <= 0,
        found=Speculated(loop.blank(rows, 1, decode.max_tokens), jnp.int32(0), zeros),
        states=constraints.begin(rules, rows, 1),
    )
    none = jnp.zeros((rows, 0), jnp.int32)
    state = _keep(state, logits[:, None], none, None, decode=decode, **given)

    def body(s):
        whole = _join(prompt, length, s.found.written.tokens[:, 0])
        tags = jax.vmap(jax.random.fold_in)(_tagged(keys, 2), s.n)
        proposed, probs, help_next = helper.propose(
            s.helper,
            whole,
            length + s.n,
            s.done,
            decode.drafted,
            sampling=sampling,
            keys=tags,
        )
        chunk = jnp.concatenate([s.token[:, None], jnp.maximum(proposed, 0)], axis=1)
        first = length + s.n - 1
        places = first[:, None] + jnp.arange(decode.drafted + 1)
        positions = jnp.where(s.done[:, None], -1, places)
        logits, cache = step(chunk, positions, s.cache, first)
        s = s.replace(cache=cache, helper=help_next)
        s = _keep(s, logits, proposed, probs, decode=decode, **given)
        found = s.found.replace(rounds=s.found.rounds + 1)
        return s.replace(found=found)

    return jax.lax.while_loop(lambda s: ~jnp.all(s.done), body, state).found


def _tagged(keys, tag: int):
    return jax.vmap(jax.random.fold_in, (0, None))(keys, tag)


def _join(prompt: Array, length: Array, text: Array) -> Array:
    """Return int32[B, P + N]: the text set right behind the prompt's last token."""
    whole = jnp.pad(prompt, ((0, 0), (0, text.shape[1])), constant_values=-1)
    at = length[:, None] + jnp.arange(text.shape[1])
    return whole.at[jnp.arange(len(whole))[:, None], at].set(text)


def _keep(s: _State, logits, proposed, probs, *, decode, prompt, sampling, keys, rules):
    """Return the state with the tokens that stand: proposals while they are accepted,
    then one that the model draws itself.

    Args:
        s: the state.
        logits: float32[B, k + 1, V], after the last token and each proposal.
        proposed: int32[B, k]. probs: float32[B, k, V] they were drawn from; None for
            certain ones.
        decode, prompt, sampling, keys, rules: as in `generate`.
    """
    k = proposed.shape[1]
    going = ~s.done  # no proposal has been refused so far
    for i in range(k + 1):
        written = s.found.written
        allowed = constraints.apply(
            rules,
            logits[:, i : i + 1],
            n=s.n[:, None],
            prompt=prompt,
            text=written.tokens,
            states=s.states,
        )[:, 0]
        x = proposed[:, i] if i < k else jnp.full_like(s.token, -1)
        if sampling is None:
            token = samplers.argmax(allowed)
            stands = x == token
        else:
            q = None if probs is None or i == k else probs[:, i]
            target = distribution(allowed, sampling)
            stands, token = _accept(target, x, q, _uniform(keys, s.n))
        s = _append(s, logits[:, i], token, going, stands, decode, rules)
        going = going & stands & ~s.done
    return s


def _uniform(keys, n):
    mine = jax.vmap(jax.random.fold_in)(_tagged(keys, 1), n)
    return jax.vmap(lambda key: jax.random.uniform(key, (2,)))(mine)


def _accept(target, x, q, uniform):
    """Return (bool[B] whether x stands, int32[B] the token written).

    x stands with probability min(1, p / q); otherwise one is drawn from max(0, p - q).
    Without a proposal (-1) one is drawn from p.
    """
    at = jnp.maximum(x, 0)[:, None]
    p_x = jnp.take_along_axis(target, at, axis=1)[:, 0]
    known = x >= 0
    if q is None:
        q = jax.nn.one_hot(x, target.shape[-1])  # all zero where x is -1
    q_x = jnp.take_along_axis(q, at, axis=1)[:, 0]
    stands = known & (uniform[:, 0] * q_x < p_x)
    rest = jnp.maximum(target - jnp.where(known[:, None], q, 0), 0)
    # p = q leaves nothing, and is never refused but by rounding.
    empty = jnp.sum(rest, axis=-1, keepdims=True) <= 0
    other = samplers.invert(jnp.where(empty, target, rest), uniform[:, 1])
    return stands, jnp.where(stands, x, other)


def _append(s: _State, logits, token, live, stands, decode: Decode, rules) -> _State:
    """Return the state with `token` written in the rows of `live`."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    log_prob = jnp.take_along_axis(log_p, token[:, None], axis=1)[:, 0]
    log_prob = jnp.where(live, log_prob, 0)
    rows, w = jnp.arange(len(token)), s.found.written
    at = jnp.where(live, s.n, decode.max_tokens)  # out of range: dropped
    written = loop.Written(
        tokens=w.tokens.at[rows, 0, at].set(token, mode="drop"),
        log_probs=w.log_probs.at[rows, 0, at].set(log_prob, mode="drop"),
        lengths=w.lengths + live[:, None],
        scores=w.scores + log_prob[:, None],
    )
    states, ends = constraints.advance(rules, s.states, token[:, None])
    n = s.n + live
    accepted = s.found.accepted + (live & stands)
    return s.replace(
        n=n,
        token=jnp.where(live, token, s.token),
        done=s.done | (live & (ends[:, 0] | (n >= decode.max_tokens))),
        states=jnp.where(live[:, None, None], states, s.states),
        found=s.found.replace(written=written, accepted=accepted),
    )
