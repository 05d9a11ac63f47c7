"""The right one of an example's options: a head on each, or each one's likelihood."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lmtasks import losses
from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import pack
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import generate
from lmtasks.objectives import options
from lmtasks.objectives import words
from lmtasks.types import Features

# The prompt without its question, where the task's ends with nothing of its own.
_BARE = "Answer:"


def _answer(example: examples.Choice) -> int | None:
    """Return the index of the right option, None where it is unknown."""
    if example.answer >= len(example.options):
        raise ValueError(
            f"the answer is option {example.answer}, counted from 0, of "
            f"{len(example.options)} options; correct the record"
        )
    return example.answer if example.answer >= 0 else None


def _check(example: examples.Choice) -> None:
    if len(example.options) < 2:
        raise ValueError(f"{len(example.options)} options are no choice; give two")
    for number, option in enumerate(example.options, 1):
        if not option.strip():
            raise ValueError(f"option {number} is empty; an option has a text")


def _chosen(example: examples.Choice, scores: np.ndarray) -> dict:
    """Return {"choice", "text", "scores"}; the first of equal options is chosen."""
    best = int(np.argmax(scores))
    text = example.options[best]
    return {"choice": best, "text": text, "scores": special.softmax(scores).tolist()}


@dataclasses.dataclass(frozen=True)
class ChoiceHead(base.Objective):
    """A number for each option, at the first token of `[CLS] context [SEP] option
    [SEP]`; the loss is the softmax over the options of an example (Radford et al., 2018).

    The options stand side by side in one row, as segments that do not see each other,
    each with up to T tokens:

        context a, options x | y     tokens    C a S x S  C a S y S
                                     segments  1 1 1 1 1  2 2 2 2 2
                                     positions 0 1 2 3 4  0 1 2 3 4
        answer 1                     targets   0 . . . .  1 . . . .
                                     weights   1 0 0 0 0  1 0 0 0 0
    """

    setting: base.Setting
    head = "classify"
    pools = True
    classes = 1
    packs = False

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return one row; [] without a context or where the answer is unknown."""
        right = _answer(example)
        if right is None:
            return []
        rows = self.query(example, tokenizer)
        for row in rows:
            firsts = np.flatnonzero(row["weights"])
            row["targets"][firsts[right]] = 1
        return rows

    def query(self, example, tokenizer) -> list[Features]:
        """Return the row without its target; [] without a context."""
        if not example.context.strip():
            return []
        _check(example)
        head = classify.ClassifyHead(self.setting)
        parts, cut = [], 0
        for option in example.options:
            pair = examples.Labelled(example.context, None, option)
            found = head.query(pair, tokenizer)[0]
            cut += found["cut"]
            n = len(found["tokens"])
            first = (np.arange(n) == 0).astype(np.float32)
            kept = {key: found[key] for key in ("tokens", "positions", "token_types")}
            parts.append(kept | {"targets": np.zeros(n, np.int32), "weights": first})
        return [pack.join(parts) | {"cut": cut}]

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the examples, each of weight 1."""
        logits = apply(params, batch, rng)[..., 0].astype(jnp.float32)  # [B, A]
        there = options.numbers(batch) > 0
        targets = losses.gather_at(batch["targets"], batch.get("at"))
        right = there & (targets > 0)
        known = jnp.any(right, axis=1)
        logits = jnp.where(there, logits, losses.BIG_NEGATIVE)
        log_z = jax.nn.logsumexp(logits, axis=1)
        picked = jnp.sum(jnp.where(right, logits, 0.0), axis=1)
        each = log_z - picked
        if rng is not None:
            each = self._smoothed(each, logits, there, log_z)
        hit = known & (picked >= jnp.max(logits, axis=1))
        count = jnp.sum(known.astype(jnp.float32))
        return {
            "loss": (jnp.sum(jnp.where(known, each, 0.0)), count),
            "accuracy": (jnp.sum(hit.astype(jnp.float32)), count),
        }

    def _smoothed(self, each, logits, there, log_z):
        """Return the losses with label smoothing over the options and z-loss."""
        smoothing = self.setting.label_smoothing
        if smoothing:
            total = jnp.sum(jnp.where(there, logits, 0.0), axis=1)
            spread = log_z - total / jnp.maximum(jnp.sum(there, axis=1), 1)
            each = (1 - smoothing) * each + smoothing * spread
        if self.setting.z_loss:
            each = each + self.setting.z_loss * jnp.square(log_z)
        return each

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"values": float32[B, A] logits, "numbers": int32[B, A]}."""
        logits = model.apply(params, batch)[..., 0]
        return {"values": logits, "numbers": options.numbers(batch)}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"choice", "text", "scores"}."""
        logits, _ = options.totals(outputs[0], len(example.options))
        return _chosen(example, logits)


@dataclasses.dataclass(frozen=True)
class ChoiceWords(base.Objective):
    """The option that is most likely after the prompt, all scored in one row.

    Training is `Generate` on the right option. Where the prompt lists the options
    (`{options}`), their letters are scored. `label_norm` says what is compared: the sum
    of an option's log-likelihood, the same per token or per byte, or pmi, its gain over
    the prompt's ending alone (Holtzman et al., 2021, arXiv:2104.08315).

    "choice" under sum and "choice_norm" are what lm-evaluation-harness calls acc and
    acc_norm: the latter divides by the characters of the option as it is written in
    Python, not its bytes. A row begins with the beginning-of-sequence where the
    tokenizer has one (its add_bos_token=True); its acc_mutual_info takes nothing for the
    prompt's ending. Unlike a label of `classify`, an option that begins another is not
    closed.
    """

    shares = True
    setting: base.Setting
    label_norm: str = "sum"

    def __post_init__(self):
        if self.label_norm not in words.LABEL_NORMS:
            raise ValueError(
                f"prompt.label_norm={self.label_norm!r} is not one of "
                f"{', '.join(words.LABEL_NORMS)}"
            )

    @property
    def _writer(self):
        return generate.Generate(self.setting)

    def featurize(self, example, tokenizer, rng=None) -> list[Features]:
        """Return the prompt with the right option as its completion; [] without a
        context or where the answer is unknown.
        """
        if _answer(example) is None or not example.context.strip():
            return []
        _check(example)
        return self._writer.featurize(example, tokenizer)

    def query(self, example, tokenizer) -> list[Features]:
        """Return the row that scores all options; for pmi a second one, without the
        question; [] without a context.
        """
        if not example.context.strip():
            return []
        _check(example)
        prompts = [example]
        if self.label_norm == "pmi":
            prompts.append(examples.Turns((examples.Turn("user", self._bare()),)))
        said = [self._ids(text, tokenizer) for text in self._answers(example)]
        rows = [self._writer.query(prompt, tokenizer)[0] for prompt in prompts]
        return [options.row(one, said, self.setting.length) for one in rows]

    def _answers(self, example) -> tuple[str, ...]:
        return letters.answers(example, self.setting.prompt)

    def _ids(self, text: str, tokenizer) -> list[int]:
        if self.setting.architecture == "decoder" and text[0].isspace():
            # The space that sets an answer off stands before any text, as in lm-eval.
            text = f" {text}"
        ids = generate.reply_ids(text, self.setting, tokenizer)
        if not ids:
            raise ValueError(
                f"the option {text!r} has no tokens; use another tokenizer"
            )
        return ids

    def _bare(self) -> str:
        """Return what the prompt ends with after its last field."""
        return self.setting.prompt.rpartition("}")[2].strip() or _BARE

    def loss(self, apply, params, batch, rng=None):
        """Return the sums "loss" and "accuracy" over the right options' tokens."""
        return base.token_loss(self.setting, apply, params, batch, rng)

    def predict(self, model, params, batch, rng=None, tables=None):
        """Return {"values": float32[B, A] log-likelihoods, "numbers": int32[B, A]}."""
        return options.log_probs(model, params, batch)

    def form(self, example) -> dict:
        """Return the choice that acc_norm is measured by."""
        return {"choice_norm": 0}

    def answer(self, outputs, example, tokenizer) -> dict:
        """Return {"choice", "text", "scores", "choice_norm", "log_probs"}.

        "scores" are the shares of what label_norm makes of "log_probs", which are the
        sums over each option's tokens in nats.
        """
        texts = self._answers(example)
        log_probs, tokens = options.totals(outputs[0], len(texts))
        scores = log_probs
        if self.label_norm == "tokens":
            scores = log_probs / tokens
        elif self.label_norm == "bytes":
            scores = log_probs / [len(text.encode()) for text in texts]
        elif self.label_norm == "pmi":
            scores = log_probs - options.totals(outputs[1], len(texts))[0]
        normed = log_probs / [len(text) for text in texts]
        said = {"choice_norm": int(np.argmax(normed)), "log_probs": log_probs.tolist()}
        return _chosen(example, scores) | said


def make(setting: base.Setting, label_norm: str = "sum") -> ChoiceHead | ChoiceWords:
    """Return the form of multiple choice that the architecture can do."""
    if setting.architecture == "encoder":
        return ChoiceHead(setting)
    return ChoiceWords(setting, label_norm)
