"""Texts as vectors: those that belong together lie together."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from lmtasks import losses
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.layers import pooling
from lmtasks.objectives import base
from lmtasks.objectives import generate
from lmtasks.tokenizers import frame
from lmtasks.types import Array
from lmtasks.types import Batch
from lmtasks.types import Features
from lmtasks.types import Sums

# Room for the vectors of a row is static; an unused one costs next to nothing.
MOST_NEGATIVES = 8


@dataclasses.dataclass(frozen=True)
class Options:
    """How hidden states become a vector, and how vectors are compared.

    Attributes:
        pooling: "mean" of all tokens, those around the text included (Reimers and
            Gurevych, 2019, arXiv:1908.10084) | "cls", the first | "last" | "max" in
            each dim.
        temperature: products of vectors are divided by it.
        normalize: vectors have length 1, so that their products are cosines.
    """

    pooling: str = "mean"
    temperature: float = 0.05
    normalize: bool = True

    def __post_init__(self):
        if self.pooling not in pooling.POOLINGS:
            raise ValueError(
                f"embed.pooling={self.pooling!r} is not one of "
                f"{', '.join(pooling.POOLINGS)}"
            )
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"embed.temperature={self.temperature} must be above 0 and finite"
            )


@dataclasses.dataclass(frozen=True)
class Embed(base.Objective):
    """The first text of a pair finds the second among all seconds and all negatives of
    the batch (van den Oord et al., 2018, arXiv:1807.03748), in this direction only.

    A pair is one row, each text a segment of its own that no other sees:

        first a b, second c, negatives d     tokens    ^ a b $ ^ c $ ^ d $
                                             segments  1 1 1 1 2 2 2 3 3 3
                                             positions 0 1 2 3 0 1 2 0 1 2
                                             weights   1 0 0 0 0 0 0 0 0 0

    The weight is the pair's score, 1 without one; a row of weight 0 is neither asked
    for nor compared with. A text that is equal to the second is no negative of it.
    """

    setting: base.Setting
    options: Options = Options()
    head = "none"
    gather = False
    packs = False
    whole_batch = True

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row; [] where a text is empty or the pair's score is 0.

        Raises:
            ValueError: too many negatives, or a score outside of [0, 1].
        """
        negatives, score = example.negatives, example.score
        if len(negatives) > MOST_NEGATIVES:
            raise ValueError(
                f"a pair has {len(negatives)} negatives, at most {MOST_NEGATIVES} are "
                "read; leave some out"
            )
        score = 1.0 if score is None else score
        if not 0 <= score <= 1:
            raise ValueError(
                f"score={score} of a pair must lie in [0, 1]; divide by the largest"
            )
        texts = (example.first, example.second, *negatives)
        if not all(text.strip() for text in texts) or score == 0:
            return []
        return [self._row(texts, tokenizer, score)]

    def query(self, example, tokenizer) -> list[Features]:
        """Return a row for each text of a Pair or a Text; [] where one is empty."""
        if isinstance(example, examples.Text):
            texts = (example.text,)
        else:
            texts = (example.first, example.second)
        if not all(text.strip() for text in texts):
            return []
        return [self._row((text,), tokenizer, 0.0) for text in texts]

    def _row(self, texts, tokenizer, weight: float) -> Features:
        found = [self._framed(text, tokenizer) for text in texts]
        lengths = [len(ids) for ids, _ in found]
        tokens = chat.int_array([i for ids, _ in found for i in ids])
        weights = np.zeros(len(tokens), np.float32)
        weights[0] = weight
        numbers = np.arange(1, len(texts) + 1, dtype=np.int32)
        row = {
            "tokens": tokens,
            "positions": chat.int_array([k for n in lengths for k in range(n)]),
            "segments": np.repeat(numbers, lengths),
            "targets": np.zeros(len(tokens), np.int32),
            "weights": weights,
            "cut": sum(cut for _, cut in found),
        }
        if self.setting.architecture == "encoder":
            row["token_types"] = np.zeros(len(tokens), np.int32)
        return row

    def _framed(self, text: str, tokenizer) -> tuple[list[int], int]:
        """Return (ids as the architecture reads a text, how many were cut)."""
        before, after = around(self.setting.architecture, tokenizer)
        room = max(self.setting.length - len(before) - len(after), 1)
        ids, cut = base.cut_to(tokenizer.encode(text), room)
        return [*before, *ids, *after], cut

    def vectors(self, hidden: Array, member: Array) -> Array:
        """Return float32[B, n, D], one for each set of positions bool[B, n, T]."""
        found = pooling.pool(hidden.astype(jnp.float32), member, self.options.pooling)
        return unit(found) if self.options.normalize else found

    def loss(self, apply, params, batch, rng=None) -> Sums:
        """Return the sums "loss" and "accuracy" of finding the second."""
        member = members(batch, 2 + MOST_NEGATIVES)
        found = self.vectors(apply(params, batch, rng), member)
        weights = jnp.sum(batch["weights"], axis=1)
        there = jnp.any(member, axis=2)[:, 1:] & (weights > 0)[:, None]
        seen = marks(batch, member)[:, 1:]
        own = jnp.arange(found.shape[0]) * seen.shape[1]
        other = seen.reshape(1, -1) != seen[:, :1]
        return losses.contrastive(
            found[:, 0],
            found[:, 1:].reshape(-1, found.shape[2]),
            own,
            compared=there.reshape(1, -1) & other,
            weights=weights,
            temperature=self.options.temperature,
        )

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"vector": float32[B, D]} of the rows' first segments."""
        found = self.vectors(model.apply(params, batch), members(batch, 1))
        return {"vector": found[:, 0]}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"vector"}; of a pair also "other", of the second, and "similarity",
        the cosine of the two.
        """
        found = [np.asarray(row["vector"], np.float64) for row in outputs]
        said = {"vector": found[0].tolist()}
        if len(found) > 1:
            lengths = np.linalg.norm(found[0]) * np.linalg.norm(found[1])
            cosine = float(found[0] @ found[1] / max(lengths, 1e-12))
            said |= {"other": found[1].tolist(), "similarity": cosine}
        return said


def around(architecture: str, tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids (before, after) a text: of an encoder's rows, of an encoder-
    decoder's source, or the beginning and end of a decoder's text where it has them.
    """
    if architecture == "encoder":
        found = frame.around(tokenizer)
        return list(found.before), list(found.after)
    if architecture == "encoder_decoder":
        return generate.around_source(tokenizer)
    ends = (tokenizer.bos_id, tokenizer.eos_id)
    before, after = ([] if end is None else [end] for end in ends)
    return before, after


def members(batch: Batch, most: int) -> Array:
    """Return bool[B, n, T]: which positions belong to each of the first segments."""
    numbers = jnp.arange(1, most + 1)[None, :, None]
    here = batch["segments"][:, None] == numbers
    return here & (batch["positions"] >= 0)[:, None]


def unit(vectors: Array) -> Array:
    """Return the vectors with length 1; zero stays zero, and has a gradient."""
    square = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors / jnp.sqrt(jnp.maximum(square, 1e-24))


def marks(batch: Batch, member: Array) -> Array:
    """Return uint32[B, n], equal where two of the segments hold the same tokens.

    A sum of hashes of (token, position); two different texts share one with a
    probability of 2^-32, and are then not compared.
    """
    tokens, places = (batch[k].astype(jnp.uint32) for k in ("tokens", "positions"))
    x = tokens * jnp.uint32(0x9E3779B1) ^ places * jnp.uint32(0x85EBCA77)
    # The mixing steps of MurmurHash3 (Appleby, 2011, public domain).
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ x >> shift) * jnp.uint32(factor)
    x = x ^ x >> 16
    return jnp.sum(jnp.where(member, x[:, None], 0), axis=2, dtype=jnp.uint32)
