"""The one door to all methods of writing: a plan decides which one runs."""

from __future__ import annotations

import functools

import jax

from lmtasks.decode import beam
from lmtasks.decode import constraints
from lmtasks.decode import contrastive
from lmtasks.decode import loop
from lmtasks.decode import sampling as samplers
from lmtasks.decode import speculative
from lmtasks.decode.plan import Decode
from lmtasks.types import Array
from lmtasks.types import Batch


def write(
    start,
    step,
    batch: Batch,
    *,
    decode: Decode,
    keys: Array,
    rules: constraints.Rules | None = None,
    draft: tuple | None = None,
    halves: bool = False,
) -> loop.Written:
    """Return decode.texts texts a row, by decode.method.

    Args:
        start, step: of the model, see `loop.generate`; for contrastive search they
            take hidden=True.
        batch: the prompts.
        decode: the plan.
        keys: key[B].
        rules: constraints, or None for those of `decode` alone.
        draft: (start, step) of the model that drafts, for method "draft".
        halves: see `loop.generate`; for beams, greedy and sampled texts.
    """
    given = {"decode": decode, "rules": rules}
    if decode.method == "beam":
        found = beam.generate(start, step, batch, halves=halves, **given)
        return jax.tree.map(lambda x: x[:, : decode.texts], found)
    if decode.method == "contrastive":
        start, step = (functools.partial(f, hidden=True) for f in (start, step))
        return contrastive.generate(start, step, batch, **given)
    sampling = None
    if decode.temperature:
        sampling = samplers.sampling_of(decode, batch["tokens"].shape[0])
    given |= {"sampling": sampling, "keys": keys}
    if decode.method == "sample":
        return loop.generate(start, step, batch, halves=halves, **given)
    helper = speculative.Lookup()
    if decode.method == "draft":
        if draft is None:
            raise ValueError("decode.method='draft' needs the model that drafts")
        helper = speculative.Draft(*draft)
    return speculative.generate(start, step, batch, helper=helper, **given).written
