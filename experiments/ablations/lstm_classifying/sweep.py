"""An LSTM that reads both ways against a transformer of equal parameters."""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: SST-2; two layers of a transformer are four of an LSTM."""
    lstm = {"model.block": "lstm", "model.positions.kind": "none"}
    return variants.Sweep(
        config="sst2",
        common={"data.dir": "$DATA/sentiment/sst2", "model.pooling": "mean"},
        variants={
            "transformer": {},
            "lstm": {"model.layers": 4} | lstm,
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
        step="best",
    )
