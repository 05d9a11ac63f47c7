"""The cached pass: every example of a split as ragged features, counted."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import typing
from collections.abc import Sequence

import numpy as np

from lmtasks.data import examples
from lmtasks.types import Features

ON_LONG = ("truncate", "skip", "raise")


@dataclasses.dataclass(frozen=True)
class Piece:
    """One row before padding: a window of an example, and where it came from."""

    example: int
    piece: int
    features: Features


class Pieces(Sequence):
    """All rows of one split in the order of its records; see `counts`.

    Attributes:
        examples: the examples, one per record.
        counts: how many examples, rows, tokens; how many were empty, cut or skipped.
        tokens, sources, weighted: int64[n], sizes of each row.
        fingerprint: changes with data, tokenizer and objective.
    """

    def __init__(
        self, records, example_of, objective, tokenizer, *, on_long="truncate",
        query=False,
    ):  # fmt: skip
        if on_long not in ON_LONG:
            raise ValueError(
                f"data.on_long={on_long!r} is not one of {', '.join(ON_LONG)}"
            )
        self.records = records
        self.counts: dict[str, int] = collections.Counter()
        self.examples: list[examples.Example] = []
        self._pieces: list[Piece] = []
        featurize = objective.query if query else objective.featurize
        for i in range(len(records)):
            example = read_example(records, i, example_of)
            self.examples.append(example)
            try:
                rows = featurize(example, tokenizer)
            except ValueError as error:
                raise ValueError(f"{records.where(i)}: {error}") from None
            except (AttributeError, TypeError) as error:
                raise ValueError(
                    f"{records.where(i)}: a field of the record has the wrong type "
                    f"({error}); texts are strings"
                ) from None
            self._add(i, rows, on_long)
        self.counts |= {"examples": len(records), "rows": len(self._pieces)}
        self.tokens = self._sizes("tokens")
        self.sources = self._sizes("source")
        self.weighted = np.asarray(
            [np.count_nonzero(p.features["weights"]) for p in self._pieces], np.int64
        )
        self.counts["tokens"] = int(self.tokens.sum() + self.sources.sum())
        self.fingerprint = fingerprint(
            records.fingerprint, tokenizer.fingerprint, data_key(objective), len(self)
        )

    def _add(self, index, rows, on_long):
        if not rows:
            self.counts["empty"] += 1
        cut = sum(row.pop("cut", 0) for row in rows)
        target_cut = sum(row.pop("cut_target", 0) for row in rows)
        if cut and on_long == "raise":
            raise ValueError(
                f"{self.records.where(index)}: the text is {cut} tokens too long; "
                "raise data.length or set data.on_long=truncate or skip"
            )
        if cut:
            self.counts["cut" if on_long == "truncate" else "skipped_long"] += 1
            self.counts["tokens_cut"] += cut
            self.counts["target_cut"] += bool(target_cut and on_long == "truncate")
        if not (cut and on_long == "skip"):
            self._pieces.extend(Piece(index, k, row) for k, row in enumerate(rows))

    def _sizes(self, key):
        none = np.zeros(0)
        sizes = [len(p.features.get(key, none)) for p in self._pieces]
        return np.asarray(sizes, np.int64)

    def __len__(self):
        return len(self._pieces)

    def __getitem__(self, i) -> Piece:
        return self._pieces[i]

    def summary(self, split: str) -> str:
        """Return one line about the split, with everything dropped or cut named."""
        c = self.counts
        line = (
            f"{split}: {c['examples']} examples, {c['rows']} rows, {c['tokens']} tokens"
        )
        skipped = getattr(self.records, "skipped", 0)
        notes = {
            "malformed records skipped": skipped,
            "without text, label or answer": c["empty"],
            f"cut to the length ({c['tokens_cut']} tokens)": c["cut"],
            "whose answer is cut": c["target_cut"],
            "skipped as too long": c["skipped_long"],
        }
        said = [f"{n} {what}" for what, n in notes.items() if n]
        return line + (f" ({', '.join(said)})" if said else "")


@dataclasses.dataclass(frozen=True)
class Varied:
    """The features of piece k in an epoch, where they are drawn anew in each.

    Randomness is a function of (seed, epoch, piece): it replays on resuming.
    """

    pieces: Pieces
    objective: typing.Any = None
    tokenizer: typing.Any = None
    seed: int = 0

    def __call__(self, epoch: int, k: int) -> Features:
        row = self.pieces[k].features
        if self.objective is None or not self.objective.varies:
            return row
        rng = np.random.default_rng((self.seed, epoch, k))
        return self.objective.vary(row, rng, self.tokenizer)


def read_example(records, index: int, example_of) -> examples.Example:
    """Return record `index` as an example; a record of the wrong form names itself."""
    try:
        return example_of(records[index])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{records.where(index)}: the record does not have the form of the task "
            f"({type(error).__name__}: {error}); its keys are "
            f"{', '.join(records[index])}; set config.data.fields.KEY=COLUMN"
        ) from None


def data_key(objective) -> tuple:
    """Return what of an objective decides its rows: not its loss, not its decoding."""
    setting = objective.setting
    plain = dataclasses.replace(setting, label_smoothing=0.0, z_loss=0.0)
    key = objective.rows_key()
    return (type(objective).__name__, repr(plain), *([key] if key else []))


def fingerprint(*parts) -> str:
    """Return 16 hexadecimal digits that change with any of the parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
