"""A conversation with a trained run: what was said stays read.

The conversation is token ids: a reply is never decoded and encoded again. Each turn is
rendered behind the others, what the cache holds of it already is kept, and the rest is
read in one step. (A tokenizer's own template goes by the texts; where their ids differ
from those that were written, more is read again.)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks import decoding
from lmtasks.data import chat
from lmtasks.data import pack
from lmtasks.decode import constraints
from lmtasks.decode import loop
from lmtasks.decode import plan
from lmtasks.decode import sampling
from lmtasks.decode import stream
from lmtasks.models import cache as caches
from lmtasks.training import parallel
from lmtasks.training import writing


@dataclasses.dataclass(frozen=True)
class Said:
    """A turn of a conversation; `ids` are those a reply was written in."""

    role: str
    text: str
    ids: tuple[int, ...] | None = None


class Talk:
    """One conversation with a decoder.

    Attributes:
        turns: all that was said, also what no longer fits.
        temperature: of the next reply; 0 = greedy.
        dropped: of the turns, the oldest that the last reply did not see.
        read: tokens the last reply had to read; the others lay in the cache.
    """

    def __init__(self, loaded: writing.Loaded, decode: plan.Decode | None = None):
        run = loaded.run
        _check(run)
        self.turns: list[Said] = []
        self.dropped = self.read = 0
        self.decode = decode or run.decode
        self.temperature = self.decode.temperature
        self._run, self._mesh, self._replies = run, loaded.mesh, 0
        self._context = run.config.data.length
        self._model = decoding.model_of(run, writes=True)
        self._params = decoding.params_of(run, loaded.params, writes=True)
        self._held: list[int] = []  # what the cache holds
        self._cache: caches.Cache | None = None
        self._begin = jax.jit(self._traced_begin, donate_argnums=1)
        self._advance = jax.jit(self._traced_advance, donate_argnums=1)

    def say(self, text: str) -> Iterator[str]:
        """Yield the reply to a user's turn in pieces; both are turns then.

        Closing the iterator ends the reply with what was written.

        Raises:
            ValueError: the text is empty, or fills the context alone.
        """
        if not text.strip():
            raise ValueError("an empty turn asks nothing; write some text")
        before = len(self.turns)
        self.turns.append(Said("user", text))
        try:
            ids = self._fitting()
        except ValueError:
            del self.turns[before:]
            raise
        return self._reply(ids)

    def retry(self) -> Iterator[str]:
        """Yield another reply to the last user's turn.

        Raises:
            ValueError: nothing was asked yet.
        """
        while self.turns and self.turns[-1].role == "assistant":
            self.turns.pop()
        if not self.turns or self.turns[-1].role != "user":
            raise ValueError("there is nothing to reply to yet")
        return self._reply(self._fitting())

    def reset(self, system: str = "") -> None:
        """Forget what was said; begin with a system turn, if there is one."""
        self.turns = [Said("system", system)] if system.strip() else []
        self.dropped = 0

    def rendered(self, turns) -> list[int]:
        """Return the ids of turns, up to what stands before a reply."""
        template = self._run.objective.setting.template
        return chat.render(turns, self._run.tokenizer, template, bos=True)[0]

    def _fitting(self) -> list[int]:
        """Return the ids of the turns, without the oldest where they do not fit."""
        system = [t for t in self.turns[:1] if t.role == "system"]
        rest = self.turns[len(system) :]
        asked = [i for i, turn in enumerate(rest) if turn.role == "user"]
        # What did not fit before does not fit now.
        for first in [i for i in asked if i >= self.dropped] or asked[-1:]:
            ids = self.rendered([*system, *rest[first:]])
            if len(ids) <= self._context:
                self.dropped = first
                return ids
        raise ValueError(
            f"the turn has {len(ids)} tokens with what stands around it, and data.length="
            f"{self._context} is all the model reads; shorten it"
        )

    def _reply(self, ids: list[int]) -> Iterator[str]:
        written: list[int] = []
        text = stream.TextStream(self._run.tokenizer, self.decode.stop)
        said = ""
        try:
            with contextlib.closing(self._tokens(ids)) as coming:
                for tokens in coming:
                    written += tokens
                    piece = text.push(tokens)
                    said += piece
                    if piece:
                        yield piece
                    if text.finished:
                        break
            piece = text.finish()
            said += piece
            if piece:
                yield piece
        finally:
            cut = text.finished  # a stop string: what follows it was not said
            self.turns.append(Said("assistant", said, None if cut else tuple(written)))

    def _tokens(self, ids: list[int]) -> Iterator[list[int]]:
        """Yield the tokens of a reply as they come, its end left out."""
        most = self.decode.max_tokens
        self._replies += 1
        draws = self._drawing()
        state = self._read(ids, draws)
        stops, seen = set(self.decode.stop_ids), 0
        try:
            while True:
                done, n = jax.device_get((state.done[0, 0], state.n))
                new = np.asarray(state.written.tokens[0, 0, seen:n]).tolist()
                seen = int(n)
                yield [t for t in new if t >= 0 and t not in stops]
                if done or seen >= most:
                    return
                limit = jnp.int32(min(seen + writing.EVERY, most))
                with self._here():
                    state = self._advance(self._params, state, limit, draws)
        finally:
            if not state.token.is_deleted():  # interrupted in the middle of a step
                written = np.asarray(state.written.tokens[0, 0, :seen]).tolist()
                # The last one was drawn and not read yet.
                self._held, self._cache = [*ids, *written[:-1]], state.cache

    def _read(self, ids: list[int], draws) -> loop.State:
        """Return the state after the first token of a reply to ids."""
        kept = _common(self._held, ids[:-1])
        rest = ids[kept:]
        self.read = len(rest)
        size = pack.Shape(pack.default_buckets(self._context)).of([(len(rest), 0)])[0]
        part = np.zeros((2, 1, size), np.int32)
        part[0, 0, : len(rest)] = rest
        part[1, 0] = -1
        part[1, 0, : len(rest)] = np.arange(kept, len(ids))
        prompt = np.full((1, self._context), -1, np.int32)
        prompt[0, : len(ids)] = ids
        if self._cache is None:
            with self._here():
                one = {"tokens": part[0], "positions": part[1]}
                begin = jax.jit(self._empty)
                self._cache = begin(self._params, one)
        cache, self._cache, self._held = self._cache, None, []
        read = (part[0], part[1], prompt, jnp.int32(kept))
        with self._here():
            return self._begin(self._params, cache, *read, draws)

    def _empty(self, params, batch):
        size = self._context + self.decode.max_tokens
        return self._model.begin(params, batch, size)

    def _drawing(self):
        """Return (how the reply is sampled, its key, what it may be)."""
        key = jax.random.fold_in(jax.random.key(self._run.config.seed), self._replies)
        draws = sampling.sampling_of(self.decode, 1)
        draws = draws.replace(temperature=jnp.full(1, self.temperature, jnp.float32))
        return draws, key[None], self._run.tables

    def _given(self, draws) -> dict:
        sample, keys, tables = draws
        rules = constraints.rules_of(self.decode, 1, tables)
        return {"sampling": sample, "keys": keys, "rules": rules}

    def _traced_begin(self, params, cache, tokens, positions, prompt, kept, draws):
        cache = caches.rewind(cache, kept)
        slot = kept[None]
        logits, cache = self._model.step(params, tokens, positions, cache, slot)
        last = jnp.argmax(positions, axis=1)[:, None, None]
        logits = jnp.take_along_axis(logits, last, axis=1)[:, 0]
        places = jnp.where(prompt >= 0, jnp.arange(prompt.shape[1]), -1)
        batch = {"tokens": prompt, "positions": places}
        start = lambda batch, size: (logits, cache)
        return loop.begin(start, batch, decode=self.decode, **self._given(draws))

    def _traced_advance(self, params, state, limit, draws):
        step = functools.partial(self._model.step, params)
        return loop.advance(step, state, limit, **self._given(draws))

    @contextlib.contextmanager
    def _here(self):
        with jax.set_mesh(self._mesh), parallel.rules():
            yield


def _common(first: list[int], second: list[int]) -> int:
    """Return how many ids two lists begin with alike."""
    size = min(len(first), len(second))
    alike = np.asarray(first[:size]) == np.asarray(second[:size])
    return size if alike.all() else int(np.argmin(alike))


def _check(run) -> None:
    if run.model.architecture != "decoder" or run.model.head != "lm":
        raise ValueError(
            f"architecture={run.model.architecture!r} with objective="
            f"{run.config.objective!r} holds no conversation; chat needs a decoder that "
            "writes"
        )
    if run.decode.method != "sample" or run.decode.lanes > 1:
        raise ValueError(
            f"decode.method={run.decode.method!r} with decode.texts={run.decode.texts} "
            "writes no reply as it comes; chat needs method=sample and texts=1"
        )
