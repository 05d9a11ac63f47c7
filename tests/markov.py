"""A hand-made language model: what follows (a, b) is a row of a table.

Its cache holds tokens and positions by slot, like a real one's keys: a query finds the
token before it by position among the slots it may see. So lanes, ragged rows, chunks
and rewound proposals are all exercised, and brute force knows every probability.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Markov:
    """A second-order table float32[V, V, V] of logits, and unit vectors [V, V, D]."""

    table: np.ndarray

    @classmethod
    def drawn(cls, v=6, seed=0, scale=2.0):
        """Return a random table."""
        rng = np.random.default_rng(seed)
        return cls((rng.normal(size=(v, v, v)) * scale).astype(np.float32))

    @property
    def v(self):
        return len(self.table)

    @property
    def log_p(self):
        """float64[V, V, V]."""
        t = self.table.astype(np.float64)
        return t - np.log(np.exp(t).sum(-1, keepdims=True))

    def vectors(self):
        """Return float32[V, V, D], the hidden state after (a, b)."""
        return np.random.default_rng(9).normal(size=(self.v, self.v, 8)).astype("f4")

    def start(self, batch, size, *, hidden=False):
        tokens, positions = batch["tokens"], batch["positions"]
        rows = tokens.shape[0]
        cache = {
            "tokens": jnp.zeros((rows, size), jnp.int32),
            "positions": jnp.full((rows, size), -1, jnp.int32),
        }
        slot = jnp.zeros(rows, jnp.int32)
        out, cache = self.step(tokens, positions, cache, slot, hidden=True)
        last = jnp.argmax(positions, axis=1)[:, None, None]
        logits = jnp.take_along_axis(out[0], last, axis=1)[:, 0]
        return ((logits, out[1]) if hidden else logits), cache

    def step(self, tokens, positions, cache, slot, sees=None, *, hidden=False):
        rows, width = tokens.shape
        at = slot[:, None] + jnp.arange(width)
        row = jnp.arange(rows)[:, None]
        held = {
            "tokens": cache["tokens"].at[row, at].set(tokens, mode="drop"),
            "positions": cache["positions"].at[row, at].set(positions, mode="drop"),
        }
        before = held["positions"][:, None, :] == positions[:, :, None] - 1
        before = before & (positions[:, :, None] > 0)
        if sees is not None:
            before = before & sees
        found = jnp.argmax(before, axis=-1)  # [B, T]
        previous = jnp.take_along_axis(held["tokens"], found, axis=1)
        there = jnp.any(before, axis=-1)
        previous = jnp.where(there, previous, 0)
        logits = jnp.asarray(self.table)[previous, tokens]
        if hidden:
            vectors = jnp.asarray(self.vectors())[previous, tokens]
            return (logits, vectors), held
        return logits, held

    def sequences(self, prompt, longest, stop=()):
        """Yield (tokens, sum of log-probs) of every text that ends by a stop id or is
        `longest` tokens long.
        """
        for n in range(1, longest + 1):
            for text in itertools.product(range(self.v), repeat=n):
                ends = text[-1] in stop or n == longest
                if ends and not any(t in stop for t in text[:-1]):
                    yield text, self.score(prompt, text)

    def score(self, prompt, text):
        """Return the log-probability of a text after a prompt."""
        whole, log_p = [*prompt, *text], self.log_p
        places = range(len(prompt), len(whole))
        return sum(log_p[whole[i - 2], whole[i - 1], whole[i]] for i in places)


def prompts(*texts):
    """Return the batch of ragged prompts, padded on the right."""
    wide = max(map(len, texts))
    tokens = np.array([[*t, *[0] * (wide - len(t))] for t in texts], np.int32)
    inside = np.arange(wide) < np.array([len(t) for t in texts])[:, None]
    positions = np.where(inside, np.arange(wide), -1).astype(np.int32)
    return {"tokens": tokens, "positions": positions}


def keys(rows, seed=0):
    """Return key[rows]."""
    return jax.random.split(jax.random.key(seed), rows)
