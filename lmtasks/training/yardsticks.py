"""What needs no training: the compressor and the n-gram model of the same text."""

from __future__ import annotations

import numpy as np

from lmtasks import builder
from lmtasks import taskdata
from lmtasks.data import features
from lmtasks.metrics import compression
from lmtasks.metrics import kneser_ney
from lmtasks.training import evaluate


def lines(run: builder.Run, held_out: features.Pieces) -> list[str]:
    """Return what the yardsticks that were asked for say of a split."""
    found = [xz_line(run, held_out.examples)] if run.config.eval.xz else []
    if run.config.eval.ngram:
        said = report(run, ngram_nats(run, held_out), held_out)
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in said.items())
        found.append(f"Kneser-Ney, {run.config.eval.ngram} tokens: {numbers}")
    return found


def xz_line(run: builder.Run, held_out) -> str:
    """Return what xz needs for the held-out texts after the training texts."""
    records = taskdata.records_of(run.task, "train", run.data)
    read_one = run.task.example
    training = (read_one(records[i]).text for i in range(len(records)))
    bits = compression.xz_bits_per_byte(training, (e.text for e in held_out))
    return f"xz primed with the training text: {bits:.4f} bits per byte held out"


def ngram_nats(run: builder.Run, held_out: features.Pieces) -> np.ndarray:
    """Return float64[n, 2]: nats and tokens of each of n examples, by a model of
    eval.ngram tokens that read the rows of the training split once.

    It reads what the run reads, row by row, and predicts what the run predicts.
    """
    train = evaluate.read_split(run, "train", predict=False, limit=0).pieces
    texts, order = (_tokens(piece) for piece in train), run.config.eval.ngram
    model = kneser_ney.KneserNey(texts, run.tokenizer.size, order)
    found = np.zeros((len(held_out.examples), 2))
    for piece in held_out:
        weights = piece.features["weights"]
        nats = model.nats(_tokens(piece))
        found[piece.example] += ((nats * weights).sum(), weights.sum())
    return found


def report(run: builder.Run, nats: np.ndarray, held_out: features.Pieces) -> dict:
    """Return {"perplexity", "bits_per_byte", ...} of the sums of `ngram_nats`."""
    totals = {"loss": tuple(map(float, nats.sum(axis=0)))}
    return run.objective.report(totals, held_out.examples)


def _tokens(piece: features.Piece) -> np.ndarray:
    """Return int[T + 1]: what a row reads, and the last token that it predicts."""
    row = piece.features
    return np.append(row["tokens"][:1], row["targets"])
