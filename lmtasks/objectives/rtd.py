"""Replaced-token detection: which tokens of a text are not those that stood there."""

from __future__ import annotations

import dataclasses
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks import losses
from lmtasks.data import noise
from lmtasks.objectives import base
from lmtasks.objectives import mlm
from lmtasks.tokenizers import frame
from lmtasks.types import Array
from lmtasks.types import Batch
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class Options:
    """The section config.rtd.

    Attributes:
        rate: of the row's tokens, special ones counted, that are replaced.
        generator: work directory of the masked language model that replaces; "" takes
            other tokens of the same row.
    """

    rate: float = 0.15
    generator: str = ""

    def __post_init__(self):
        if not 0 < self.rate < 1:
            raise ValueError(f"rtd.rate={self.rate} must be above 0 and below 1")


@dataclasses.dataclass(frozen=True)
class Rtd(base.Objective):
    """Every token is judged: was it replaced? (ELECTRA: Clark et al., 2020,
    arXiv:2003.10555). A replacement that is the token itself counts as not replaced.

    What differs from the paper: the generator is not trained along, nor are its
    embeddings shared; it is a masked language model that was trained before and stays
    as it is, so the loss is the discriminator's alone and needs no weight. All chosen
    tokens are hidden from it, and special tokens are not judged. Without a generator a
    replacement is another token of the same row, which is nearest to the paper's unigram
    generator and easier to tell: a word that comes twice is a hint. Evaluation takes
    the generator's likeliest token instead of drawing one, so that it is the same for
    any batch.

    The head is one logit a position over a dense layer, ELECTRA's own where the shape
    is ELECTRA's.

    Attributes:
        setting, options: as everywhere.
        generator: batch with "at" -> float32[B, A, V], logits of the frozen model there.
    """

    setting: base.Setting
    options: Options = Options()
    generator: typing.Callable[[Batch], Array] | None = dataclasses.field(
        default=None, repr=False
    )
    head = "classify"
    classes = 1
    gather = False
    varies = True

    def __post_init__(self):
        if self.setting.label_smoothing or self.setting.z_loss:
            raise ValueError(
                "loss.label_smoothing and loss.z_loss do nothing for objective='rtd'; "
                "leave them 0"
            )

    def rows_key(self) -> str:
        """Return how rows are changed."""
        return repr(self.options)

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row a window, changed as its ids alone decide; [] for a text
        without words the tokenizer knows.

        Raises:
            ValueError: there is a generator and the tokenizer has no mask token.
        """
        if self.options.generator:
            mlm.Mlm.mask_of(tokenizer)
        rows = []
        for row in self.query(example, tokenizer):
            rng = np.random.default_rng(row["targets"].astype(np.uint32))
            rows.append(self.vary(row, rng, tokenizer))
        return [row for row in rows if row["weights"].any()]

    def vary(self, row, rng, tokenizer) -> Features:
        """Return the row changed anew: tokens hidden for the generator, or replaced."""
        ids, rate = row["targets"], self.options.rate
        if self.options.generator:
            hidden = noise.Noise(rate, mask=1.0, random=0.0)
            return {**row, "tokens": noise.masked(ids, tokenizer, hidden, rng)[0]}
        return {**row, "tokens": noise.shuffled(ids, tokenizer, rate, rng)}

    def query(self, example, tokenizer) -> list[Features]:
        """Return the text as it is, one row a window; [] for an empty text."""
        if not example.text.strip():
            return []
        rows = []
        for piece in mlm.pieces_of(example.text, tokenizer, self.setting.length):
            row = mlm.row_of(piece, tokenizer)
            judged = noise.ordinary_of(tokenizer)[row["targets"]]
            rows.append(row | {"weights": judged.astype(np.float32)})
        return rows

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over all tokens, "recall" over those
        that were replaced and "precision" over those called so.
        """
        if self.options.generator:
            rng, draw = (None, None) if rng is None else jax.random.split(rng)
            batch = {**batch, "tokens": self._replaced(batch, draw)}
        logits = apply(params, batch, rng)[..., 0].astype(jnp.float32)
        weights = batch["weights"]
        replaced = batch["tokens"] != batch["targets"]
        # A sigmoid is the softmax over 0 and the logit.
        both = jnp.stack([jnp.zeros_like(logits), logits], axis=-1)
        sums = losses.token_cross_entropy(both, replaced.astype(jnp.int32), weights)
        called = jnp.where(logits > 0, weights, 0.0)
        right = jnp.sum(jnp.where(replaced, called, 0.0))
        there = jnp.sum(jnp.where(replaced, weights, 0.0))
        return sums | {"recall": (right, there), "precision": (right, jnp.sum(called))}

    def _replaced(self, batch: Batch, rng: Array | None) -> Array:
        """Return the tokens with what the generator puts in the place of its masks."""
        assert self.generator is not None, "rtd.generator was not loaded"
        tokens = jnp.asarray(batch["tokens"])
        b, t = tokens.shape
        # Of a row of two tokens one is hidden; of longer ones a smaller share, or the
        # rate and what rounding adds.
        most = min(t, math.ceil(t * max(1 / 2, self.options.rate + 1 / 4)))
        place = jnp.where(tokens != batch["targets"], jnp.arange(t)[None], t)
        at = jnp.sort(place, axis=1)[:, :most]
        logits = jax.lax.stop_gradient(self.generator({**batch, "at": at}))
        logits = logits.astype(jnp.float32)
        if rng is None:
            said = jnp.argmax(logits, axis=-1)
        else:
            said = jax.random.categorical(rng, logits, axis=-1)
        rows = jnp.arange(b)[:, None]
        return tokens.at[rows, at].set(said.astype(tokens.dtype), mode="drop")

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"replaced": float32[B, T]}: the probability of each token."""
        logits = model.apply(params, batch)[..., 0]
        return {"replaced": jax.nn.sigmoid(logits.astype(jnp.float32))}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text", "tokens"}.

        `tokens` are {"token", "start", "end", "score"} of each, `score` the probability
        that it was replaced, text[start:end] what it stands for. `text` has those more
        likely replaced than not in [[brackets]].
        """
        ids, spans = tokenizer.encode_offsets(example.text)
        room = mlm.room_of(tokenizer, self.setting.length)
        first, said = len(frame.around(tokenizer).before), []
        for k, row in enumerate(outputs):
            here = len(ids[k * room : (k + 1) * room])
            said += row["replaced"][first : first + here].tolist()
        tokens = [
            {"token": tokenizer.piece(id), "start": a, "end": b, "score": score}
            for id, (a, b), score in zip(ids, spans, said, strict=True)
        ]
        return {"text": _marked(example.text, tokens), "tokens": tokens}


def _marked(text: str, tokens: list[dict]) -> str:
    """Return the text with the places of suspected tokens in [[brackets]]."""
    out, at = [], 0
    for token in tokens:
        start, end = max(token["start"], at), token["end"]
        if token["score"] > 1 / 2 and start < end:  # several bytes share a character
            out += [text[at:start], f"[[{text[start:end]}]]"]
            at = end
    return "".join([*out, text[at:]])
