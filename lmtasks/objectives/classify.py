"""One class per example: a head on [CLS], or the likelihood of label words."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks import losses
from lmtasks.data import chat
from lmtasks.objectives import base
from lmtasks.objectives import generate
from lmtasks.tokenizers import frame
from lmtasks.types import Features

LABEL_NORMS = ("sum", "tokens", "bytes", "pmi")


@dataclasses.dataclass(frozen=True)
class ClassifyHead:
    """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`, or what the tokenizer's
    checkpoint has around texts; the class is a target at the first token (Devlin et
    al., 2019, arXiv:1810.04805).
    """

    setting: base.Setting
    head = "classify"
    stream = False
    gather = True
    writes = False

    @property
    def classes(self) -> int:
        """C, the number of labels."""
        return len(self.setting.labels)

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row; [] for an empty text or a missing label."""
        if example.label is None:
            return []
        rows = self.query(example, tokenizer)
        for row in rows:
            row["targets"][0] = self._class(example.label)
            row["weights"][0] = 1.0
        return rows

    def _class(self, label) -> int:
        if label not in self.setting.labels:
            raise ValueError(
                f"label {label!r} is not one of {', '.join(self.setting.labels)}; "
                "set config.data.labels or correct the record"
            )
        return self.setting.labels.index(label)

    def query(self, example, tokenizer) -> list[Features]:
        """Return the row without its target; [] for an empty text."""
        if not example.text.strip():
            return []
        around = frame.around(tokenizer)
        first = tokenizer.encode(example.text)
        second = tokenizer.encode(example.pair) if example.pair is not None else None
        used = len(around.before) + len(around.after)
        used += len(around.between) if second is not None else 0
        first, second, cut = cut_longest(first, second, self.setting.length - used)
        ids = [*around.before, *first]
        ids += around.after if second is None else around.between
        types = [0] * len(ids)
        if second is not None:
            ids += [*second, *around.after]
            types += [1] * (len(ids) - len(types))
        n = len(ids)
        row = {
            "tokens": chat.int_array(ids),
            "positions": np.arange(n, dtype=np.int32),
            "token_types": chat.int_array(types),
            "targets": np.zeros(n, np.int32),
            "weights": np.zeros(n, np.float32),
            "cut": cut,
        }
        return [row]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the examples."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return nothing beyond the loss; the task's metrics say the rest."""
        return {}

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"probabilities": float32[B, C]}."""
        at = jnp.zeros((batch["tokens"].shape[0], 1), jnp.int32)
        logits = model.apply(params, {**batch, "at": at})[:, 0]
        return {"probabilities": jax.nn.softmax(logits, axis=-1)}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"label", "score", "scores"}."""
        probabilities = np.asarray(outputs[0]["probabilities"], np.float64)
        return _ranked(self.setting.labels, probabilities)


def cut_longest(first, second, room):
    """Return both id lists cut to `room` together, the longer one first, and the
    number of ids cut.
    """
    if second is None:
        first, cut = base.cut_to(first, room)
        return first, None, cut
    a, b = len(first), len(second)
    while a + b > room:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    return first[:a], second[:b], len(first) + len(second) - a - b


def _ranked(labels, probabilities) -> dict:
    best = int(np.argmax(probabilities))
    scores = {name: float(p) for name, p in zip(labels, probabilities, strict=True)}
    return {"label": labels[best], "score": scores[labels[best]], "scores": scores}


@dataclasses.dataclass(frozen=True)
class ClassifyWords:
    """The label whose words are most likely after the prompt.

    Training is `Generate` on the label words. All labels are scored in one row: the
    prompt is segment 0, seen by all, and each label a segment of its own that begins
    again with the prompt's last token:

        prompt a b c, labels x y | z     tokens    a b  c x  c
                                         segments  0 0  1 1  2
                                         positions 0 1  2 3  2
                                         targets   . .  x y  z
    """

    setting: base.Setting
    label_norm: str = "sum"
    head = "lm"
    classes = 0
    stream = False
    gather = True
    writes = False

    def __post_init__(self):
        if self.label_norm not in LABEL_NORMS:
            raise ValueError(
                f"label_norm={self.label_norm!r} is not one of {', '.join(LABEL_NORMS)}"
            )

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return the prompt with the right label as its completion."""
        if not example.text.strip() or example.label is None:
            return []
        if example.label not in self.setting.labels:
            raise ValueError(
                f"label {example.label!r} is not one of "
                f"{', '.join(self.setting.labels)}; set config.data.labels or correct "
                "the record"
            )
        return self._writer.featurize(example, tokenizer)

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
        labels = self.label_ids(tokenizer)
        row = self._writer.query(example, tokenizer)[0]
        longest = max(len(ids) for ids in labels)
        keep = max(self.setting.length - longest, 1)
        prompt, cut = base.cut_to(row["tokens"].tolist(), keep, keep="end")
        tokens, positions = list(prompt[:-1]), list(range(len(prompt) - 1))
        segments, targets = [0] * len(tokens), [0] * len(tokens)
        for i, ids in enumerate(labels):
            tokens += [prompt[-1], *ids[:-1]]
            positions += range(len(prompt) - 1, len(prompt) - 1 + len(ids))
            segments += [i + 1] * len(ids)
            targets += ids
        features = {
            "tokens": chat.int_array(tokens),
            "positions": chat.int_array(positions),
            "segments": chat.int_array(segments),
            "targets": chat.int_array(targets),
            "weights": (np.asarray(segments) > 0).astype(np.float32),
            "cut": row["cut"] + cut,
        }
        if "source" in row:
            features |= {k: row[k] for k in ("source", "source_positions")}
            features["source_segments"] = np.zeros(len(row["source"]), np.int32)
        return features

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the labels' tokens."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def report(self, totals, examples) -> dict[str, float]:
        """Return nothing beyond the loss; the task's metrics say the rest."""
        return {}

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
        said = _ranked(self.setting.labels, weights / weights.sum())
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


def make(setting: base.Setting, label_norm: str) -> ClassifyHead | ClassifyWords:
    """Return the form of classification that the architecture can do."""
    if not setting.labels:
        raise ValueError("classification needs labels; set config.data.labels")
    if setting.architecture == "encoder":
        return ClassifyHead(setting)
    return ClassifyWords(setting, label_norm)
