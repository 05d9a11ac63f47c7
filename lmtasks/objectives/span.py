"""Find the answer to a question in a text: where it starts and where it ends."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from scipy import special

from lmtasks import losses
from lmtasks.objectives import base
from lmtasks.objectives import span_search
from lmtasks.objectives import windows
from lmtasks.types import Features


@dataclasses.dataclass(frozen=True)
class Options:
    """The section config.span.

    Attributes:
        stride: tokens that two windows of a long context share.
        max_answer: most tokens of an answer.
        n_best: answers that are kept with their scores.
        reduce: "mean" or "sum" of the losses of start and end.
        no_answer: "" is the answer where its score leads that of the best span by more
            than this; inf = never, where every question has an answer.
    """

    stride: int = 128
    max_answer: int = 30
    n_best: int = 20
    reduce: str = "mean"
    no_answer: float = 0.0

    def __post_init__(self):
        for name, least in (("stride", 0), ("max_answer", 1), ("n_best", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"span.{name}={getattr(self, name)} must be at least {least}"
                )
        if self.reduce not in ("mean", "sum"):
            raise ValueError(f"span.reduce={self.reduce!r} is neither mean nor sum")
        if math.isnan(self.no_answer):
            raise ValueError("span.no_answer=nan is no number; inf means never")


@dataclasses.dataclass(frozen=True)
class Span(base.Objective):
    """`[CLS] question [SEP] context [SEP]`; start and end are a softmax over all
    positions (Devlin et al., 2019, arXiv:1810.04805).

    A window without the whole answer, and a question without any, points at the first
    token with both. Weight 1 stands at the first token of each window.
    """

    setting: base.Setting
    options: Options = Options()
    head = "span"
    gather = False

    def __post_init__(self):
        if self.setting.label_smoothing or self.setting.z_loss:
            raise ValueError(
                "loss.label_smoothing and loss.z_loss do nothing for objective='span'; "
                "leave them 0"
            )

    def rows_key(self) -> str:
        """Return the stride: it decides the windows."""
        return f"stride={self.options.stride}"

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row a window; [] for a question, a context or an answer without
        text.

        A window is taught the first of the answers that it holds whole. Tokens of an
        answer that no window holds whole are counted in "cut".
        """
        if not (example.question.strip() and example.context.strip()):
            return []
        found = self.layout(example, tokenizer)
        golds = [found.tokens_of(at, at + len(text)) for text, at in example.answers]
        golds = [tokens for tokens in golds if tokens is not None]
        if example.answers and not golds:
            return []
        rows, taught = [], False
        for k in range(len(found.places)):
            slots = [found.slots_of(k, tokens) for tokens in golds]
            first, last = next(filter(None, slots), (0, 0))
            row = found.row(k)
            row["targets"][first] |= 1
            row["targets"][last] |= 2
            row["weights"][0] = 1.0
            rows.append(row)
            taught |= last > 0
        lost = found.lost(golds[0]) if golds and not taught else 0
        rows[0]["cut"] = found.cut + lost
        return rows

    def query(self, example, tokenizer) -> list[Features]:
        """Return one row a window; [] for a question without text."""
        if not example.question.strip():
            return []
        found = self.layout(example, tokenizer)
        rows = [found.row(k) for k in range(len(found.places))]
        rows[0]["cut"] = found.cut
        return rows

    def layout(self, example, tokenizer) -> windows.Windows:
        """Return how the example lies in rows."""
        return windows.of(
            example.question,
            example.context,
            tokenizer,
            length=self.setting.length,
            stride=self.options.stride,
        )

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over windows."""
        return losses.span_cross_entropy(
            apply(params, batch, rng),
            batch["targets"],
            batch["weights"],
            positions=batch["positions"],
            segments=batch.get("segments"),
            reduce=self.options.reduce,
        )

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"starts", "ends"}: float32[B, T], the logits of each position."""
        logits = model.apply(params, batch).astype(jnp.float32)
        return {"starts": logits[..., 0], "ends": logits[..., 1]}

    def form(self, example) -> dict:
        """Return the scores that a threshold is found by."""
        return {"null_score": 0.0, "span_score": None, "n_best": []}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"text", "start", "end", "score", "null_score", "span_score", "n_best"}.

        `text` is context[start:end], or "" for no answer; `score` its share in the
        softmax over `n_best`, entries {"text", "start", "end", "score"} from all
        windows, best first. `span_score` is the logits' sum of the best span, None
        where the context has no text, and `null_score` the least of the first tokens'
        over the windows (as for SQuAD 2.0): their difference is compared with
        options.no_answer.
        """
        found = self.layout(example, tokenizer)
        kept = self._spans(outputs, found, example.context)
        null = min(float(o["starts"][0]) + float(o["ends"][0]) for o in outputs)
        nothing = span_search.Found(0, 0, null)
        best = kept[0].score if kept else None
        ranked, chosen = kept, kept[0] if kept else nothing
        if self.options.no_answer < math.inf or not kept:
            # It is one of those that share the probability.
            ranked = span_search.merged([*kept, nothing], len(kept) + 1)
            if kept and null - best > self.options.no_answer:
                chosen = nothing
        shares = special.softmax([one.score for one in ranked]).tolist()
        n_best = [
            _said(example.context, one, share)
            for one, share in zip(ranked, shares, strict=True)
        ]
        said = n_best[ranked.index(chosen)]
        return said | {"null_score": null, "span_score": best, "n_best": n_best}

    def _spans(self, outputs, found: windows.Windows, context: str):
        """Return the best spans of all windows; they begin and end with text."""
        texts = np.array([bool(context[a:b].strip()) for a, b in found.spans], bool)
        spans = []
        for (begin, end), row in zip(found.places, outputs, strict=True):
            slots = slice(len(found.head), len(found.head) + end - begin)
            best = span_search.best_spans(
                row["starts"][slots],
                row["ends"][slots],
                longest=self.options.max_answer,
                count=self.options.n_best,
                allowed=texts[begin:end],
            )
            for score, first, last in best:
                start = found.spans[begin + first][0]
                stop = found.spans[begin + last][1]
                spans.append(span_search.Found(start, stop, score))
        return span_search.merged(spans, self.options.n_best)


def _said(context: str, one: span_search.Found, share: float) -> dict:
    text = context[one.start : one.end]
    return {"text": text, "start": one.start, "end": one.end, "score": share}
