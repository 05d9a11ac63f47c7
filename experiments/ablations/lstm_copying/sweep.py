"""How far back does a model recall: attention, an LSTM, an LSTM behind one vector?"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: lists of 1 to 24 words written again, one width."""
    lstm = {"model.block": "lstm", "model.positions.kind": "none"}
    both = {"config": "toy:toy_copy,encoder_decoder"}
    return variants.Sweep(
        config="toy:toy_copy,decoder",
        common={"decode.max_tokens": 28, "train.steps": 800},
        variants={
            "decoder": {},
            "decoder-lstm": {"model.layers": 3} | lstm,
            "both-lstm": {"model.layers": 3} | both | lstm,
            "both-lstm-vector": {"model.context": "vector", "model.layers": 3}
            | both
            | lstm,
        },
        seeds=(0, 1, 2),
        splits=("test",),
    )
