"""Objective: what arrays an example becomes, and what loss they have."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math

import jax
import numpy as np

from lmtasks import losses
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import templates
from lmtasks.decode import choose
from lmtasks.decode import constraints
from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.decode import stream
from lmtasks.types import Features
from lmtasks.types import Sums

# (kind of example, architecture) -> objective modules, the first by default. The only
# such table.
SUPPORT = {
    ("Text", "encoder"): ("mlm", "rtd"),
    ("Text", "decoder"): ("clm", "denoise"),
    ("Text", "encoder_decoder"): ("denoise",),
    ("Turns", "decoder"): ("generate",),
    ("Turns", "encoder_decoder"): ("generate",),
    ("Labelled", "encoder"): ("classify",),
    ("Labelled", "decoder"): ("classify", "generate"),
    ("Labelled", "encoder_decoder"): ("classify", "generate"),
    ("Choice", "encoder"): ("choice",),
    ("Choice", "decoder"): ("choice", "generate"),
    ("Choice", "encoder_decoder"): ("choice", "generate"),
    ("Tagged", "encoder"): ("tag",),
    ("Tagged", "decoder"): ("generate",),
    ("Tagged", "encoder_decoder"): ("generate",),
    ("Span", "encoder"): ("span",),
    ("Span", "decoder"): ("generate",),
    ("Span", "encoder_decoder"): ("generate",),
    ("Pair", "encoder"): ("embed",),
    ("Pair", "decoder"): ("embed",),
}
PLANNED = ("prefer",)


def supported(kind: str, architecture: str) -> str | None:
    """Return the objective that trains this kind of example by default, or None."""
    return SUPPORT.get((kind, architecture), (None,))[0]


def check_cell(name: str, kind: str, architecture: str) -> None:
    """Raise ValueError with the reason when the combination cannot be trained."""
    if name in SUPPORT.get((kind, architecture), ()):
        return
    if name in PLANNED:
        raise ValueError(f"objective={name!r} is planned and not there yet")
    known = sorted(set().union(*SUPPORT.values()))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"objective={name!r} is not one of {', '.join(known)}{hint}")
    there = [
        f"{one} on {a}" for (k, a), each in SUPPORT.items() if k == kind for one in each
    ]
    raise ValueError(
        f"objective={name!r} cannot train {kind} examples on architecture="
        f"{architecture!r}: {_reason(name, kind, architecture)}; possible here: "
        f"{', '.join(there) or 'nothing yet'}"
    )


def _reason(name, kind, architecture):
    if architecture == "encoder" and name in ("clm", "generate"):
        return "an encoder sees both sides of a token and cannot write text"
    if kind == "Text" and architecture == "encoder_decoder":
        return "plain text has a source side only where parts of it are taken out"
    if (name, architecture) == ("denoise", "encoder"):
        return "an encoder has one token for each it reads; mlm hides those"
    if (name, kind) == ("embed", "Pair"):
        return "its vectors are pooled from one stack of layers"
    if name in ("mlm", "rtd") and kind == "Text":
        return "it fills gaps from both sides, which only an encoder sees"
    return f"it does not read {kind} examples"


@dataclasses.dataclass(frozen=True)
class Setting:
    """What every objective knows of the run.

    Attributes:
        architecture: of the model.
        length: T, longest row in tokens. source_length: S of an encoder-decoder.
        labels: class names of the task. prompt: how an example reads as text.
        template: chat markers.
        label_smoothing, z_loss: see losses.token_cross_entropy.
    """

    architecture: str
    length: int = 128
    source_length: int = 128
    labels: tuple[str, ...] = ()
    prompt: str = "{text}"
    template: templates.Template = templates.Template()
    label_smoothing: float = 0.0
    z_loss: float = 0.0


class Objective:
    """What an objective is unless it says otherwise.

    Attributes:
        head, classes: of the model (see models.heads).
        stream: training rows are cut out of the concatenated documents.
        gather: only positions with weight reach the head.
        writes: predictions are text that is decoded.
        streams: what is written is the answer, piece by piece.
        packs: several examples may share a training row.
        pools: the head reads a text as a whole, by model.pooling.
        whole_batch: the loss compares the examples of a batch with each other.
        shares: rows hold several answers behind one prompt, see `options.row`.
        varies: `vary(row, rng, tokenizer)` draws a training row anew in every epoch.
    """

    head = "lm"
    classes = 0
    stream = False
    gather = True
    writes = False
    streams = True
    packs = True
    pools = False
    whole_batch = False
    shares = False
    varies = False

    def vary(self, row: Features, rng: np.random.Generator, tokenizer) -> Features:
        """Return the row of another epoch; no more tokens or weighted positions."""
        return row

    def rows_key(self) -> str:
        """Return what of the options decides the rows; resuming checks it."""
        return ""

    def asked(self, example, tokenizer) -> examples.Example:
        """Return what a sample of a split asks: a plain text's first words, other
        examples as they are.
        """
        if not isinstance(example, examples.Text):
            return example
        words = example.text[:48].rsplit(None, 1)[0] if len(example.text) > 48 else ""
        return dataclasses.replace(example, text=words or example.text[:24])

    def form(self, example) -> dict:
        """Return the keys of an answer that metrics may ask for, with any values."""
        return {}

    def report(self, totals, examples) -> dict[str, float]:
        """Return metrics of the summed losses; the task's metrics say the rest."""
        return {}


def token_loss(setting: Setting, apply, params, batch, rng) -> Sums:
    """Return the sums of one masked cross-entropy over `targets` and `weights`."""
    logits = apply(params, batch, rng)
    return token_sums(setting, logits, batch, training=rng is not None)


def token_sums(setting: Setting, logits, batch, *, training: bool) -> Sums:
    """Return the same of logits; evaluation reports the plain likelihood."""
    return losses.token_cross_entropy(
        logits,
        *learned(batch),
        label_smoothing=setting.label_smoothing if training else 0.0,
        z_loss=setting.z_loss if training else 0.0,
    )


def learned(batch) -> tuple:
    """Return (targets, weights) of the positions that reach the head."""
    at = batch.get("at")
    keys = ("targets", "weights")
    return tuple(losses.gather_at(batch[key], at) for key in keys)


def perplexity(totals) -> dict[str, float]:
    """Return {"perplexity"} of the summed loss."""
    nats, weight = totals["loss"]
    mean = nats / max(weight, 1)
    return {"perplexity": math.exp(mean) if mean < 700 else math.inf}


def write(
    model,
    params,
    batch,
    *,
    decode: plan.Decode,
    rng,
    tables: constraints.Tables | None = None,
    draft: tuple | None = None,
) -> dict:
    """Return {"written": int32[B, W, N], "log_probs": the same, "scores": [B, W]}.

    Each row draws from fold_in(rng, its example), whatever batch it stands in.

    Args:
        model, params, batch: as everywhere.
        decode: the plan. rng: key.
        tables: what the run's texts may be.
        draft: (model, params) of the model that drafts; without it a plan that wants
            one writes alone, which gives the same texts more slowly.
    """
    if decode.method == "draft" and draft is None:
        decode = dataclasses.replace(decode, method="sample")
    written = methods.write(
        *verbs(model, params, decode),
        batch,
        decode=decode,
        keys=jax.vmap(jax.random.fold_in, (None, 0))(rng, batch["example"]),
        rules=constraints.rules_of(decode, batch["tokens"].shape[0], tables),
        draft=None if draft is None else verbs(*draft, decode),
        halves=True,
    )
    return {
        "written": written.tokens,
        "log_probs": written.log_probs,
        "scores": written.scores,
    }


def verbs(model, params, decode: plan.Decode) -> tuple:
    """Return the model's (start, step) as decoding calls them."""
    start = functools.partial(model.start, params, chunk=decode.prefill)
    return start, functools.partial(model.step, params)


def texts_of(decode: plan.Decode, row: dict, tokenizer, *, continues=False) -> dict:
    """Return {"text"}; with several texts also "texts", all, "scores", of each, and
    "chosen", the index of the one.

    Args:
        decode: stop strings, and how one of several texts is chosen.
        row: "written" int32[W, N], "scores" float32[W].
        tokenizer: of the run.
        continues: the text goes on from its prompt; else it is an answer of its own,
            without the space that sets it off.
    """
    texts = []
    for ids in row["written"]:
        text = stream.cut(tokenizer.decode(ids, continues=continues), decode.stop)
        texts.append(text if continues else text.removeprefix(" "))
    scores = [float(score) for score in row["scores"]]
    if len(texts) == 1:
        return {"text": texts[0]}
    best = 0
    if decode.choose == "likeliest":
        best = choose.best_of(scores)
    if decode.choose == "vote":
        best = choose.vote(texts, lambda text: text.strip() or None, scores)
    return {"text": texts[best], "texts": texts, "scores": scores, "chosen": best}


def start_id(tokenizer) -> int | None:
    """Return what the first token of a plain text is predicted from: bos, else eos."""
    return tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id


def text_start(tokenizer) -> list[int]:
    """Return that in a list, or nothing."""
    start = start_id(tokenizer)
    return [] if start is None else [start]


def next_token_features(ids: list[int], learned: list[bool]) -> Features:
    """Return the decoder's view of a sequence: each position predicts the next id.

    ids      a  b  c  d        tokens   a  b  c
    learned  0  0  1  1   ->   targets  b  c  d
                               weights  0  1  1
    """
    return {
        "tokens": chat.int_array(ids[:-1]),
        "positions": np.arange(len(ids) - 1, dtype=np.int32),
        "targets": chat.int_array(ids[1:]),
        "weights": np.asarray(learned[1:], np.float32),
    }


def cut_to(ids: list, limit: int, *, keep: str = "start") -> tuple[list, int]:
    """Return (at most `limit` ids, how many were cut), from the start or the end."""
    extra = max(len(ids) - limit, 0)
    if not extra:
        return ids, 0
    return (ids[:limit] if keep == "start" else ids[extra:]), extra
