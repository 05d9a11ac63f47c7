"""Several answers to one prompt in one row, and what a row says of each."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from lmtasks import losses
from lmtasks.data import chat
from lmtasks.objectives import base
from lmtasks.types import Array
from lmtasks.types import Batch
from lmtasks.types import Features


def row(prompt: Features, answers: Sequence[list[int]], length: int) -> Features:
    """Return the row that scores all answers after a prompt.

    The prompt is segment 0, seen by all; each answer is a segment of its own that begins
    again with the prompt's last token:

        prompt a b c, answers x y | z    tokens    a b  c x  c
                                         segments  0 0  1 1  2
                                         positions 0 1  2 3  2
                                         targets   . .  x y  z

    Args:
        prompt: a row of `Generate.query`, with its source if it has one.
        answers: the ids of each, at least one.
        length: T, what a prompt and one answer may have together. A longer prompt loses
            its beginning, an answer that is too long alone its end; both are counted.
    """
    answers, cuts = zip(*(base.cut_to(ids, length) for ids in answers), strict=True)
    keep = max(length - max(len(ids) for ids in answers), 1)
    ids, cut = base.cut_to(prompt["tokens"].tolist(), keep, keep="end")
    tokens, positions = list(ids[:-1]), list(range(len(ids) - 1))
    segments, targets = [0] * len(tokens), [0] * len(tokens)
    for number, answer in enumerate(answers, 1):
        tokens += [ids[-1], *answer[:-1]]
        positions += range(len(ids) - 1, len(ids) - 1 + len(answer))
        segments += [number] * len(answer)
        targets += answer
    features = {
        "tokens": chat.int_array(tokens),
        "positions": chat.int_array(positions),
        "segments": chat.int_array(segments),
        "targets": chat.int_array(targets),
        "weights": (np.asarray(segments) > 0).astype(np.float32),
        "cut": prompt["cut"] + cut + sum(cuts),
    }
    if "source" in prompt:
        features |= {k: prompt[k] for k in ("source", "source_positions")}
        features["source_segments"] = np.zeros(len(prompt["source"]), np.int32)
    return features


def numbers(batch: Batch) -> Array:
    """Return int32[B, A]: which answer, from 1, a gathered position is of; 0 = none."""
    at = batch.get("at")
    segments = losses.gather_at(batch["segments"], at)
    return jnp.where(losses.gather_at(batch["weights"], at) > 0, segments, 0)


def log_probs(model, params, batch: Batch) -> dict[str, Array]:
    """Return {"values": float32[B, A], "numbers": int32[B, A]}: the log-likelihood of
    each token of the answers, and which answer it is of.
    """
    targets = losses.gather_at(batch["targets"], batch.get("at"))
    values, _ = losses.log_likelihood(model.apply(params, batch), targets)
    return {"values": values, "numbers": numbers(batch)}


def totals(outputs: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (sums of the values, how many there are), each [count], of every answer.

    Args:
        outputs: "values" and "numbers" of one row. What lies beyond the row's own
            answers is left out.
        count: answers of the row.
    """
    mine = np.asarray(outputs["numbers"]) == np.arange(1, count + 1)[:, None]
    values = np.where(mine, np.asarray(outputs["values"], np.float64), 0.0)
    return values.sum(axis=1), mine.sum(axis=1)
