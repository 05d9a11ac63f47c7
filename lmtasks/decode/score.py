"""The log-likelihood of given texts: for label words, reranking, reference models."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct

from lmtasks import losses
from lmtasks.types import Array
from lmtasks.types import Batch


@struct.dataclass
class Scores:
    """How likely the targets of each row are, in nats.

    Attributes:
        total: float32[B], the sum over the targets.
        tokens: int32[B], how many there are.
        mean: float32[B], total per token; 0 without targets.
        per_token: float32[B, A]; 0 where there is no target.
        there: bool[B, A], where there is one.
    """

    total: Array
    tokens: Array
    mean: Array
    per_token: Array
    there: Array


def targets(apply, batch: Batch) -> Scores:
    """Return the log-likelihood of the targets that carry weight.

    Args:
        apply: batch -> float32[B, T or A, V], the model.
        batch: rows with `targets` and `weights`; `at` where only some places count.
    """
    at = batch.get("at")
    log_p, _ = losses.log_likelihood(
        apply(batch), losses.gather_at(batch["targets"], at)
    )
    there = losses.gather_at(batch["weights"], at) > 0
    per_token = jnp.where(there, log_p, 0.0)
    total, tokens = jnp.sum(per_token, axis=1), jnp.sum(there, axis=1)
    mean = total / jnp.maximum(tokens, 1)
    return Scores(total, tokens, mean, per_token, there)
