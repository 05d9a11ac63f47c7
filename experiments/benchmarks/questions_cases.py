"""What answering is measured of: the model's shape, the questions, and the batches.

Imports neither jax nor torch, so that each side's process holds only its own library.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from lmtasks.data import json_readers
from lmtasks.data import readers

# The product's own rules, said here for the peer: tokens of the longest answer, and what
# no answer must lead the best answer by.
LONGEST, NO_ANSWER = 30, 0.0
# Logits that far apart are equal: two libraries add in different orders.
TIE = 1e-5


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        size: a preset of lmtasks.families.bert.
        windows: how many there are at least; questions are repeated if need be.
        length, stride: of a window, and the tokens that two of them share.
        batch: windows of a batch.
        standard: part of the table; the others are small, for tests.
    """

    size: str
    windows: int
    length: int = 384
    stride: int = 128
    # Divides 1,000: what fills up a last batch is nobody's work.
    batch: int = 40
    standard: bool = True
    family: str = "bert"

    @property
    def name(self) -> str:
        """Return the name, as `--cases` and the json rows have it."""
        return f"answer/{self.family}-{self.size}/{self.windows}x{self.length}"


CASES = (
    Case("small", 1000),
    Case("tiny", 24, length=64, stride=8, batch=8, standard=False),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a side is told at its start.

    Attributes:
        case: its name.
        data: folder of SQuAD files. vocab: BERT's vocab.txt.
        work: the work directory that our side writes and reads.
        checkpoint: the same model as a directory that transformers loads.
        bucket: ours pads batches to multiples of it; 0 = to the product's own lengths.
        questions: how many the peer answers.
        device: "cpu" or "cuda" of the peer. attention: its implementation.
    """

    case: str
    data: str = ""
    vocab: str = ""
    work: str = ""
    checkpoint: str = ""
    bucket: int = 0
    questions: int = 0
    device: str = "cpu"
    attention: str = "sdpa"


def read(folder: str) -> list[tuple[str, str]]:
    """Return (question, context) of all SQuAD files below a folder, by their paths.

    Raises:
        ValueError: there is none, or it is malformed.
    """
    found = []
    for path in sorted(pathlib.Path(folder).rglob("*.json")):
        for number, row in json_readers.squad(str(path)):
            if isinstance(row, readers.Bad):
                raise ValueError(f"{path}, question {number}: {row.what}")
            found.append((row["question"], row["context"]))
    if not found:
        raise ValueError(f"--data={folder!r}: there is no SQuAD file (*.json) below it")
    return found


def repeated(pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the pairs, again from the first after the last."""
    return itertools.cycle(pairs)


def digest(rows: Iterable[np.ndarray]) -> str:
    """Return 16 hexadecimal digits that change with any id of any window."""
    found = hashlib.sha256()
    for row in rows:
        found.update(np.asarray([len(row), *row], np.int32).tobytes())
    return found.hexdigest()[:16]
