"""Classes, several labels or a number per example: a head on [CLS], or label words."""

from __future__ import annotations

import dataclasses
import math
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks import losses
from lmtasks.data import chat
from lmtasks.data import labels as names
from lmtasks.objectives import base
from lmtasks.objectives import label_losses
from lmtasks.objectives import mixup
from lmtasks.objectives import words
from lmtasks.tokenizers import frame
from lmtasks.types import Features
from lmtasks.types import Sums

KINDS = ("", "single", "multi", "regression")
LABEL_NORMS = words.LABEL_NORMS
ClassifyWords = words.ClassifyWords
choice_ids = words.choice_ids


@dataclasses.dataclass(frozen=True)
class Options:
    """The section config.classify.

    Attributes:
        kind: "single" (one class an example), "multi" (any number of labels),
            "regression" (a number); "" = single.
        weights: one number per label, () = all alike. In training, single: multiplies
            the loss and the weight of the examples of a class, so that the mean stays
            a weighted one; multi: multiplies the loss of a label where it is given.
        threshold: multi: the probability from which on a label is given.
        mixup: alpha of the beta distribution that class vectors are mixed by in
            training, 0 = off.
    """

    kind: str = ""
    weights: tuple[float, ...] = ()
    threshold: float = 0.5
    mixup: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"classify.kind={self.kind!r} is not one of {', '.join(KINDS[1:])}"
            )
        good = (isinstance(w, numbers.Real) and 0 < w < math.inf for w in self.weights)
        if not all(good):
            raise ValueError(
                f"classify.weights={self.weights!r} takes one positive number per "
                "label, or balanced"
            )
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"classify.threshold={self.threshold} is a probability; set it between "
                "0 and 1"
            )
        if not 0 <= self.mixup < math.inf:
            raise ValueError(f"classify.mixup={self.mixup} must be at least 0; 0 = off")


@dataclasses.dataclass(frozen=True)
class ClassifyHead(base.Objective):
    """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`, or what the tokenizer's
    checkpoint has around texts; the class is a target at the first token (Devlin et
    al., 2019, arXiv:1810.04805).

    Targets are int32[B, T] classes, float32[B, T, C] of several labels, or
    float32[B, T] numbers.
    """

    setting: base.Setting
    options: Options = Options()
    head = "classify"
    pools = True

    def __post_init__(self):
        given, labels = self.options.weights, self.setting.labels
        if given and self.kind == "regression":
            raise ValueError(
                "classify.weights are of classes; leave them unset for a regression"
            )
        if given and len(given) != len(labels):
            raise ValueError(
                f"classify.weights={given!r} are {len(given)} for {len(labels)} labels "
                f"({', '.join(labels):.80}); give one each, or balanced"
            )
        if self.kind == "regression" and self.setting.label_smoothing:
            raise ValueError(
                "loss.label_smoothing is of classes; set it to 0 for a regression"
            )
        if self.kind != "single" and self.setting.z_loss:
            raise ValueError(
                f"loss.z_loss has no meaning for classify.kind={self.kind!r}, which "
                "has no softmax; set it to 0"
            )

    @property
    def kind(self) -> str:
        """What the targets are: "single", "multi" or "regression"."""
        return self.options.kind or "single"

    @property
    def classes(self) -> int:
        """C: the number of labels; 1 for a number."""
        return 1 if self.kind == "regression" else len(self.setting.labels)

    def rows_key(self) -> str:
        """Return what the targets are, which decides the rows."""
        return "" if self.kind == "single" else self.kind

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row; [] for an empty text or a missing label."""
        if example.label is None:
            return []
        rows = self.query(example, tokenizer)
        for row in rows:
            target = self._target(example.label)
            if self.kind != "single":
                shape = (len(row["tokens"]), *target.shape)
                row["targets"] = np.zeros(shape, np.float32)
            row["targets"][0] = target
            row["weights"][0] = 1.0
        return rows

    def _target(self, label):
        """Return the class, float32[C] of the labels, or the number."""
        if self.kind == "single":
            return words.class_of(label, self.setting.labels)
        if self.kind == "multi":
            target = np.zeros(self.classes, np.float32)
            for one in label if isinstance(label, tuple) else (label,):
                target[words.class_of(one, self.setting.labels)] = 1
            return target
        found = names.number(label)
        if found is None:
            raise ValueError(
                f"label {label!r} is not a number, which classify.kind=regression "
                "learns; correct the record or set config.classify.kind=single"
            )
        return np.float32(found)

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

    def loss(self, apply, params, batch, rng=None) -> Sums:
        """Return the sums "loss" and, but for a regression, "accuracy"."""
        if rng is None or not self.options.mixup:
            logits = apply(params, batch, rng)
            return self._sums(logits, *_learned(batch), train=rng is not None)
        targets, weights = _learned(batch)
        draw, rng = jax.random.split(rng)
        mixed = mixup.draw(draw, weights, self.options.mixup)
        logits = apply(params, {**batch, **mixed}, rng)
        share, mix = mixed["mix_share"], mixed["mix"]
        parts = (
            (targets, share * weights),
            (mixup.take(targets, mix), (1 - share) * mixup.take(weights, mix)),
        )
        one, two = (self._sums(logits, t, w, train=True) for t, w in parts)
        return jax.tree.map(jnp.add, one, two)

    def _sums(self, logits, targets, weights, *, train: bool) -> Sums:
        if self.kind == "regression":
            return label_losses.squared_error(logits[..., 0], targets, weights)
        # Evaluation reports the plain likelihood: no smoothing, no class weights.
        smoothing = self.setting.label_smoothing if train else 0.0
        of_classes = self.options.weights if train else ()
        given = jnp.asarray(of_classes) if of_classes else None
        if self.kind == "multi":
            return label_losses.binary_cross_entropy(
                logits,
                targets,
                weights,
                label_smoothing=smoothing,
                positive=given,
                threshold=self.options.threshold,
            )
        return losses.token_cross_entropy(
            logits,
            targets,
            weights if given is None else weights * given[targets],
            label_smoothing=smoothing,
            z_loss=self.setting.z_loss if train else 0.0,
        )

    def form(self, example) -> dict:
        """Return scores, which calibration is measured by."""
        return words.form(self.setting.labels) if self.kind == "single" else {}

    def report(self, totals, examples) -> dict[str, float]:
        """Return the error of a regression in the units of its numbers."""
        if self.kind != "regression":
            return {}
        total, weight = totals["loss"]
        return {"rmse": math.sqrt(total / max(weight, 1))}

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"probabilities": float32[B, C]}, or {"values": float32[B]}."""
        at = jnp.zeros((batch["tokens"].shape[0], 1), jnp.int32)
        logits = model.apply(params, {**batch, "at": at})[:, 0]
        if self.kind == "regression":
            return {"values": logits[:, 0]}
        squash = jax.nn.sigmoid if self.kind == "multi" else jax.nn.softmax
        return {"probabilities": squash(logits)}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"label", "score", "scores"}; several labels: {"label": the names,
        "scores"}; a number: {"label", "score"}, both the number.
        """
        if self.kind == "regression":
            value = float(outputs[0]["values"])
            return {"label": value, "score": value}
        probabilities = np.asarray(outputs[0]["probabilities"], np.float64)
        said = words.ranked(self.setting.labels, probabilities)
        if self.kind == "single":
            return said
        scores, least = said["scores"], self.options.threshold
        chosen = [name for name, p in scores.items() if p >= least]
        return {"label": chosen, "scores": scores}


def _learned(batch) -> tuple:
    """Return (targets, weights) of the positions that the head reads."""
    at = batch.get("at")
    return tuple(losses.gather_at(batch[key], at) for key in ("targets", "weights"))


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


def make(
    setting: base.Setting, label_norm: str, options: Options = Options()
) -> ClassifyHead | words.ClassifyWords:
    """Return the form of classification that the architecture can do."""
    kind = options.kind or "single"
    if not setting.labels and kind != "regression":
        raise ValueError("classification needs labels; set config.data.labels")
    if setting.architecture == "encoder":
        return ClassifyHead(setting, options)
    if kind != "single":
        raise ValueError(
            f"classify.kind={kind!r} needs a head on [CLS]; use architecture='encoder',"
            " or objective='generate', which writes the answer"
        )
    if options.mixup:
        raise ValueError(
            f"classify.mixup={options.mixup} mixes the vectors of [CLS], which "
            f"architecture={setting.architecture!r} has none of; set it to 0"
        )
    return words.ClassifyWords(setting, label_norm, options.weights)
