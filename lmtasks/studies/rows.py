"""Rows of a batch changed in ways that must not matter, for `invariance`."""

from __future__ import annotations

import numpy as np

from lmtasks.types import EMPTY
from lmtasks.types import Batch

# Keys with a slot for each token the model reads on its own side.
_SLOTS = (
    "tokens",
    "positions",
    "segments",
    "token_types",
    "prefix",
    "targets",
    "weights",
)


def _is_row(batch: Batch, key: str) -> bool:
    return key in batch and np.ndim(batch[key]) >= 2


def changed_after(batch: Batch, vocab: int) -> tuple[Batch, int | None]:
    """Return (the batch with other tokens from slot `cut` on, cut); None without room.

    A prefix, whose tokens see each other, stays whole before the cut.
    """
    lengths = (batch["positions"] >= 0).sum(axis=1)
    cut = int(lengths.max()) // 2
    if "prefix" in batch:
        seen = np.flatnonzero(np.any(batch["prefix"], axis=0))
        cut = max(cut, int(seen.max()) + 1 if len(seen) else 0)
    if cut < 1 or cut >= lengths.max():
        return batch, None
    tokens = batch["tokens"].copy()
    tokens[:, cut:] = (tokens[:, cut:] + 1 + np.arange(tokens.shape[1] - cut)) % vocab
    return {**batch, "tokens": tokens}, cut


def padded(batch: Batch, extra: int, vocab: int) -> Batch:
    """Return the batch with more empty slots, and other tokens in all of them."""
    out = dict(batch)
    for key in _SLOTS:
        if _is_row(batch, key):
            x = batch[key]
            wide = ((0, 0), (0, extra), *[(0, 0)] * (x.ndim - 2))
            out[key] = np.pad(x, wide, constant_values=EMPTY.get(key, 0))
    for side in ("", "source_"):
        place, tokens = f"{side}positions", "source" if side else "tokens"
        if place in out:
            filler = np.arange(out[tokens].shape[1]) * 7 % vocab
            out[tokens] = np.where(out[place] >= 0, out[tokens], filler).astype(
                np.int32
            )
    out.pop("at", None)
    return out


def _cut(batch: Batch, row: int, size: int) -> Batch:
    """Return the first `size` slots of one row, and all of its source."""
    out = {}
    for key, x in batch.items():
        if np.ndim(x) >= 2 and key != "at":
            own = x[row : row + 1]
            out[key] = own[:, :size] if key in _SLOTS else own
    return out


def two_in_one(batch: Batch) -> tuple[Batch, list[Batch]] | None:
    """Return (a row that holds the beginnings of two rows, the two apart).

    None where a row holds fewer than two tokens, or shares a prompt (segment 0).
    """
    shared = "segments" in batch and np.any(
        (batch["segments"] == 0) & (batch["positions"] >= 0)
    )
    if len(batch["tokens"]) < 2 or shared:
        return None
    parts = []
    for row in (0, 1):
        size = _first_segment(batch, row)
        if size < 2:
            return None
        parts.append(_one_segment(_cut(batch, row, size)))
    joined = {}
    for key in parts[0]:
        joined[key] = np.concatenate([part[key] for part in parts], axis=1)
    for key in ("segments", "source_segments"):
        if key in joined:
            sizes = [part[key].shape[1] for part in parts]
            joined[key] = np.repeat([1, 2], sizes)[None].astype(np.int32)
    return joined, parts


def _first_segment(batch: Batch, row: int) -> int:
    """Return how many slots the first example of a row fills."""
    there = batch["positions"][row] >= 0
    if "segments" in batch:
        there = there & (batch["segments"][row] == batch["segments"][row][0])
    return int(there.sum())


def _one_segment(part: Batch) -> Batch:
    """Return a row of one example as segment 1, on both sides."""
    out = {**part, "segments": np.ones_like(part["tokens"])}
    if "source" in part:
        segments = part.get("source_segments", np.ones_like(part["source"]))
        first = (part["source_positions"][0] >= 0) & (segments[0] == segments[0][0])
        size = int(first.sum())
        for key in ("source", "source_positions"):
            out[key] = part[key][:, :size]
        out["source_segments"] = np.ones_like(out["source"])
    return out


def wrong_starts(batch: Batch) -> list[tuple[int, int, int]] | None:
    """Return [(row, segment, its first position)] of examples that do not begin at 0.

    None where no row holds two. Segments behind a shared prompt go on from it.
    """
    if "segments" not in batch:
        return None
    segments, places = batch["segments"], batch["positions"]
    packs, wrong = False, []
    for row in range(len(segments)):
        there = places[row] >= 0
        names = np.unique(segments[row][there])
        packs |= len(names) > 1
        if 0 in names:
            continue
        for name in names:
            first = int(places[row][there & (segments[row] == name)][0])
            if first:
                wrong.append((row, int(name), first))
    return wrong if packs else None


def next_targets(batch: Batch) -> tuple[int, int]:
    """Return (targets that are the token in the next slot, targets that have one).

    The next slot is of the same example, and its place one further.
    """
    learned = batch["weights"][:, :-1] > 0
    places = batch["positions"]
    follows = places[:, 1:] == places[:, :-1] + 1
    if "segments" in batch:
        follows &= batch["segments"][:, 1:] == batch["segments"][:, :-1]
    both = learned & follows & (places[:, :-1] >= 0)
    same = batch["targets"][:, :-1] == batch["tokens"][:, 1:]
    return int(np.sum(same & both)), int(np.sum(both))


def halves(batch: Batch) -> tuple[Batch | None, Batch | None]:
    """Return (the first half of each row's first example, what follows it)."""
    sizes = [_first_segment(batch, row) for row in range(len(batch["tokens"]))]
    size = min(min(sizes), 12)
    if size < 3 or "prefix" in batch:
        return None, None
    keys = ("tokens", "positions", "token_types")
    cut = size // 2
    prompt = {k: batch[k][:, :cut] for k in keys if k in batch}
    rest = {k: batch[k][:, cut:size] for k in keys if k in batch}
    if "source" in batch:
        prompt |= _sources(batch)
    return prompt, rest


def _sources(batch: Batch) -> Batch:
    """Return the source of each row's first example; others in it are emptied."""
    out = {k: batch[k] for k in ("source", "source_positions")}
    if "source_segments" in batch:
        segments = batch["source_segments"]
        mine = segments == segments[:, :1]
        out["source_positions"] = np.where(mine, out["source_positions"], -1)
    return out


def joined(prompt: Batch, rest: Batch) -> Batch:
    """Return the two again as rows to read at once."""
    out = dict(prompt)
    for key, x in rest.items():
        out[key] = np.concatenate([prompt[key], x], axis=1)
    return out
