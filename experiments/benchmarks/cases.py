"""What is measured: the cases, their model shapes, and the rows both sides read.

Imports neither jax nor torch, so that each side's process holds only its own library.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib

import numpy as np

from lmtasks import families
from lmtasks.models.config import TransformerConfig

# Both sides: torch.optim.AdamW's update with clipping, at a rate that changes little.
LEARNING_RATE = 1e-5
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
LABELS = ("0", "1")
# So many first examples have the same loss on both sides where the text is real.
CHECKED = 32
# Target of a token that nothing is to be said of; transformers' losses leave it out.
IGNORED = -100
# Of masked language modelling (Devlin et al., 2019): the share of tokens predicted, the
# shares of those that are hidden and hidden or kept, and BERT's [MASK].
RATE, HIDDEN, UNCHANGED, MASK = 0.15, 0.8, 0.9, 103


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: as `--cases` and the json rows have it.
        family, size: a preset of lmtasks.families.
        batch, length: B and T; of packed rows where `kind` is "real".
        source_length: S of an encoder-decoder.
        head: "lm" (on an encoder: of hidden tokens), "classify" or "tag".
        kind: "step" (one batch again and again) or "real" (examples of a task).
        examples: rows of a padded batch, where `kind` is "real".
        shortest: length of the shortest row, as a share of the longest.
        standard: part of the table; the others are small, for tests.
    """

    name: str
    family: str
    size: str
    batch: int
    length: int
    source_length: int = 0
    head: str = "lm"
    kind: str = "step"
    examples: int = 0
    shortest: float = 0.75
    standard: bool = True


_CLASSES, _TAGS = {"head": "classify"}, {"head": "tag"}
_REAL = {"kind": "real", "examples": 32}
_TALK = {"kind": "real", "examples": 6}
_TINY = {"standard": False}
_TINY_REAL = {"kind": "real", "examples": 8, "standard": False}
CASES = (
    Case("train/bert-base/8x128", "bert", "base", 8, 128, **_CLASSES),
    Case("train/bert-base-mlm/8x128", "bert", "base", 8, 128),
    Case("train/gpt2-small/4x256", "gpt2", "small", 4, 256, shortest=1.0),
    Case("train/t5-small/8x128+64", "t5", "small", 8, 64, 128),
    Case("finetune/bert-base/sst2", "bert", "base", 6, 128, **_CLASSES, **_REAL),
    Case("finetune/bert-base/wnut17", "bert", "base", 7, 128, **_TAGS, **_REAL),
    Case("finetune/gpt2-small/alpaca", "gpt2", "small", 2, 512, **_TALK),
    Case("train/gpt2-nano/12x64", "gpt2", "nano", 12, 64, shortest=1.0, **_TINY),
    Case("train/bert-tiny/3x16", "bert", "tiny", 3, 16, **_CLASSES, **_TINY),
    Case("train/bert-tiny-mlm/3x16", "bert", "tiny", 3, 16, **_TINY),
    Case("train/gpt2-tiny/2x24", "gpt2", "tiny", 2, 24, shortest=1.0, **_TINY),
    Case("train/t5-tiny/3x20+12", "t5", "tiny", 3, 12, 20, **_TINY),
    Case("finetune/bert-tiny/sst2", "bert", "tiny", 2, 64, **_CLASSES, **_TINY_REAL),
    Case("finetune/bert-tiny/wnut17", "bert", "tiny", 2, 64, **_TAGS, **_TINY_REAL),
    Case("finetune/gpt2-tiny/alpaca", "gpt2", "tiny", 2, 64, **_TINY_REAL),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a side is told at its start.

    Attributes:
        case: its name. dtype: of activations and products.
        side: of ours "packed" or "padded" rows (of real text), or "ungathered": every
            position through the head; "random" or "grouped" order of the peer's (of
            real text).
        steps: how many there will be at most.
        data, vocab: folder of the task and BERT's vocab.txt, of real text.
        weights, ids: files that our side writes and the peer reads.
        device: "cpu" or "cuda" of the peer. attention: its implementation.
        compiled: whether the peer's model goes through torch.compile.
    """

    case: str
    dtype: str = "float32"
    side: str = "packed"
    steps: int = 1
    data: str = ""
    vocab: str = ""
    weights: str = ""
    ids: str = ""
    device: str = "cpu"
    attention: str = "sdpa"
    compiled: bool = False


def choose(names: str, table=CASES) -> list:
    """Return the cases of a comma-separated list; "" is the whole table.

    `table` holds cases with a name each, some of which are `standard`.
    """
    if not names:
        return [case for case in table if case.standard]
    known = {case.name: case for case in table}
    return [known[_checked(name.strip(), known)] for name in names.split(",")]


def _checked(name, known) -> str:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"--cases: {name!r} is not one of {', '.join(known)}{hint}")
    return name


def is_masked(case: Case) -> bool:
    """Return whether tokens are hidden and found again: an encoder with a vocabulary."""
    return case.head == "lm" and family_of(case).ARCHITECTURE == "encoder"


def family_of(case: Case):
    """Return the family's module."""
    return importlib.import_module(f"{families.__name__}.{case.family}")


def shape_of(case: Case, dtype: str) -> TransformerConfig:
    """Return the model's shape without dropout, as both sides run it."""
    preset = family_of(case).PRESETS[case.size]
    return dataclasses.replace(preset, dropout=0.0, attention_dropout=0.0, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class Row:
    """One example as ids, before padding.

    Attributes:
        ids: int32[n] of the encoder, or of a decoder alone.
        targets: int32[n] of an encoder, what each token is to be known by, IGNORED
            where nothing is. A class stands at the first token.
        reply: int32[m] of an encoder-decoder.
    """

    ids: np.ndarray
    targets: np.ndarray | None = None
    reply: np.ndarray | None = None


def rows_of(case: Case, vocab: int) -> list[Row]:
    """Return B random rows, the same on both sides.

    Encoders and encoder-decoders read rows of several lengths, so that padding is
    there and masked; a decoder reads full rows, as a token stream has them.
    """
    rng = np.random.default_rng(0)

    def ids(longest, i):
        lengths = np.linspace(case.shortest * longest, longest, case.batch)
        return rng.integers(3, vocab, int(lengths[i]), dtype=np.int32)

    rows = []
    for i in range(case.batch):
        row = Row(ids(case.source_length or case.length, i))
        if case.head == "classify":
            # Not half and half, where a bias would cancel.
            row = classified(row.ids, min(i, 1))
        elif is_masked(case):
            row = _hidden(row.ids, vocab, rng)
        elif case.source_length:
            # The longest reply answers the shortest source.
            row = Row(row.ids, reply=ids(case.length, -1 - i))
        rows.append(row)
    return rows


def classified(ids: np.ndarray, label: int) -> Row:
    """Return a row with a class at its first token."""
    targets = np.full(len(ids), IGNORED, np.int32)
    targets[0] = label
    return Row(ids, targets)


def _hidden(ids, vocab, rng) -> Row:
    """Return a row with RATE of its tokens, exactly, hidden, changed or left to find."""
    at = rng.choice(len(ids), round(RATE * len(ids)), replace=False)
    targets = np.full(len(ids), IGNORED, np.int32)
    targets[at] = ids[at]
    draw, read = rng.random(len(at)), ids.copy()
    other = rng.integers(3, vocab, len(at), dtype=np.int32)
    read[at] = np.where(draw < HIDDEN, MASK, np.where(draw < UNCHANGED, ids[at], other))
    return Row(read, targets)


def slots(case: Case) -> int:
    """Return the token slots of a step's batch, padding included."""
    return case.batch * (case.length + case.source_length)
