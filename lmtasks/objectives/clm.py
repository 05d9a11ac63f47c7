"""Causal language modelling of plain text, packed with documents kept apart."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class Clm(base.Objective):
    """Every token is predicted from those before it in its document.

    Training concatenates documents and cuts rows of T out of the stream (`stream`);
    evaluation scores each token exactly once, in windows of T.
    """

    setting: base.Setting
    decode: plan.Decode = plan.Decode()
    stream = True
    gather = False
    writes = True

    def ids(self, example, tokenizer) -> np.ndarray:
        """Return the document as int32[n + 1]: its ids, then the end-of-sequence."""
        ids = tokenizer.encode(example.text)
        if tokenizer.eos_id is not None:
            ids = [*ids, tokenizer.eos_id]
        return np.asarray(ids, np.int32)

    def start_id(self, tokenizer) -> int | None:
        """Return what the first token of a document is predicted from."""
        return base.start_id(tokenizer)

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return windows of T; each token of the document is a target once.

        T = 3, document a b c d e:   tokens  ^ a b | c d e
                                     targets a b c | d e $
        """
        if not example.text:
            return []
        ids = self.ids(example, tokenizer)
        start = self.start_id(tokenizer)
        inputs = ids[:-1] if start is None else np.concatenate([[start], ids[:-1]])
        targets = ids[1:] if start is None else ids
        windows = []
        for i in range(0, len(targets), self.setting.length):
            piece = slice(i, i + self.setting.length)
            n = len(targets[piece])
            windows.append(
                {
                    "tokens": np.asarray(inputs[piece], np.int32),
                    "positions": np.arange(n, dtype=np.int32),
                    "targets": targets[piece],
                    "weights": np.ones(n, np.float32),
                }
            )
        return windows

    def query(self, example, tokenizer) -> list[Features]:
        """Return the text as a prompt to go on from, its last T tokens."""
        ids = tokenizer.encode(example.text)
        start = self.start_id(tokenizer)
        ids = ids if start is None else [start, *ids]
        ids, cut = base.cut_to(ids, self.setting.length, keep="end")
        features = base.next_token_features([*ids, 0], [False] * (len(ids) + 1))
        return [features | {"cut": cut}]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over all tokens."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return perplexity, and bits per byte and word perplexity of the text.

        The likelihood includes each document's end-of-sequence; words are what white
        space separates.
        """
        nats, weight = totals["loss"]
        size = sum(len(e.text.encode()) for e in examples)
        words = sum(len(e.text.split()) for e in examples)
        return {
            "perplexity": _exp(nats / max(weight, 1)),
            "bits_per_byte": nats / math.log(2) / max(size, 1),
            "word_perplexity": _exp(nats / max(words, 1)),
        }

    def predict(self, model, params, batch, rng, tables=None):
        """Return what `base.write` returns."""
        given = {"decode": self.decode, "rng": rng, "tables": tables}
        return base.write(model, params, batch, **given)

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text"}: what was written after the prompt, see Generate.answer."""
        return base.texts_of(self.decode, outputs[0], tokenizer, continues=True)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
