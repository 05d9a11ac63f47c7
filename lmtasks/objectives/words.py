"""One class per example by the likelihood of label words after a prompt."""

from __future__ import annotations

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from lmtasks import losses
from lmtasks.objectives import base
from lmtasks.objectives import generate
from lmtasks.objectives import options
from lmtasks.types import Features

LABEL_NORMS = ("sum", "tokens", "bytes", "pmi")


def class_of(label, labels: tuple[str, ...]) -> int:
    """Return the index of a label, which may be a number, among the labels."""
    if str(label) not in labels:
        raise ValueError(
            f"label {label!r} is not one of {', '.join(labels)}; set config.data.labels "
            "or correct the record"
        )
    return labels.index(str(label))


def ranked(labels, probabilities) -> dict:
    """Return {"label", "score", "scores"}: the likeliest label, and all of them."""
    best = int(np.argmax(probabilities))
    scores = {name: float(p) for name, p in zip(labels, probabilities, strict=True)}
    return {"label": labels[best], "score": scores[labels[best]], "scores": scores}


def form(labels: tuple[str, ...]) -> dict:
    """Return the scores of a prediction that knows nothing."""
    return {"scores": dict.fromkeys(labels, 1 / len(labels))}


@dataclasses.dataclass(frozen=True)
class ClassifyWords(base.Objective):
    """The label whose words are most likely after the prompt.

    Training is `Generate` on the label words. All labels are scored in one row, see
    `options.row`: the prompt is seen by all, each label is a segment of its own.
    `weights`, one per label, multiply the loss of a class's examples in training.
    """

    shares = True
    setting: base.Setting
    label_norm: str = "sum"
    weights: tuple[float, ...] = ()

    def __post_init__(self):
        if self.label_norm not in LABEL_NORMS:
            raise ValueError(
                f"label_norm={self.label_norm!r} is not one of {', '.join(LABEL_NORMS)}"
            )
        if self.weights and len(self.weights) != len(self.setting.labels):
            raise ValueError(
                f"classify.weights={self.weights!r} are {len(self.weights)} for "
                f"{len(self.setting.labels)} labels; give one each, or balanced"
            )

    def rows_key(self) -> str:
        """Return the class weights, which are in the rows' weights."""
        return f"weights={self.weights}" if self.weights else ""

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return the prompt with the right label as its completion."""
        if not example.text.strip() or example.label is None:
            return []
        place = class_of(example.label, self.setting.labels)
        rows = self._writer.featurize(example, tokenizer)
        for row in rows if self.weights else ():
            row["weights"] = row["weights"] * np.float32(self.weights[place])
        return rows

    @property
    def _writer(self):
        return generate.Generate(self.setting)

    def label_ids(self, tokenizer) -> list[list[int]]:
        """Return each label's ids with its leading space; one that begins another
        label is closed with what ends an answer.
        """
        return choice_ids(self.setting, tokenizer, closed=True)

    def query(self, example, tokenizer) -> list[Features]:
        """Return the row that scores all labels; a second one without text for pmi."""
        if not example.text.strip():
            return []
        rows = [self._options(example, tokenizer)]
        if self.label_norm == "pmi":
            pair = None if example.pair is None else ""
            empty = dataclasses.replace(example, text="", pair=pair)
            rows.append(self._options(empty, tokenizer))
        return rows

    def _options(self, example, tokenizer) -> Features:
        prompt = self._writer.query(example, tokenizer)[0]
        return options.row(prompt, self.label_ids(tokenizer), self.setting.length)

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the labels' tokens."""
        if self.weights and rng is None:  # evaluation reports the plain likelihood
            plain = (batch["weights"] > 0).astype(jnp.float32)
            batch = {**batch, "weights": plain}
        return base.token_loss(self.setting, apply, params, batch, rng)

    def form(self, example) -> dict:
        """Return scores, which calibration is measured by."""
        return form(self.setting.labels)

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"log_probs": float32[B, C]}: of each label given the prompt."""
        at = batch.get("at")
        log_p, _ = losses.log_likelihood(
            model.apply(params, batch), losses.gather_at(batch["targets"], at)
        )
        log_p = jnp.where(losses.gather_at(batch["weights"], at) > 0, log_p, 0.0)
        segments = losses.gather_at(batch["segments"], at)
        labels = jnp.arange(1, len(self.setting.labels) + 1)
        mine = segments[:, None, :] == labels[None, :, None]  # [B, C, A]
        return {"log_probs": jnp.sum(jnp.where(mine, log_p[:, None, :], 0), axis=-1)}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"label", "score", "scores", "probabilities", "mass"}.

        `probabilities` are P(label given prompt), `mass` their sum, `scores` what
        `label_norm` makes of them, renormalised over the labels.
        """
        log_probs = np.asarray(outputs[0]["log_probs"], np.float64)
        scores = log_probs
        if self.label_norm == "tokens":
            scores = log_probs / [len(ids) for ids in self.label_ids(tokenizer)]
        elif self.label_norm == "bytes":
            scores = log_probs / [len(x.encode()) for x in self.setting.labels]
        elif self.label_norm == "pmi":
            scores = log_probs - np.asarray(outputs[1]["log_probs"], np.float64)
        weights = np.exp(scores - scores.max())
        said = ranked(self.setting.labels, weights / weights.sum())
        names, raw = self.setting.labels, np.exp(log_probs)
        said["probabilities"] = dict(zip(names, map(float, raw), strict=True))
        said["mass"] = float(raw.sum())
        return said


@functools.lru_cache(maxsize=8)
def choice_ids(
    setting: base.Setting, tokenizer, *, closed: bool = False
) -> list[list[int]]:
    """Return the ids of each of setting.labels as an answer to a prompt.

    With `closed`, one that begins another is closed with what ends an answer. Asked
    for every example, so kept (77 labels took 2.5 ms each).
    """
    labels = setting.labels
    ids = [generate.reply_ids(one, setting, tokenizer) for one in labels]
    for i, one in enumerate(ids):
        if one in ids[:i]:
            raise ValueError(
                f"the labels {labels[ids.index(one)]!r} and {labels[i]!r} are the "
                "same ids to the tokenizer; use another tokenizer or other labels"
            )
    if not closed:
        return ids
    end = tokenizer.eos_id
    if setting.architecture == "decoder":
        end = setting.template.stop_id(tokenizer)
    if end is None:
        return ids

    def begins_another(one):
        return any(one != o and o[: len(one)] == one for o in ids)

    return [[*one, end] if begins_another(one) else one for one in ids]
