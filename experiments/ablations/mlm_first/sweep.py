"""Does masked pretraining on other text help a small classifier?

pretrain.py is run first, and $MLM is its work directory.
"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: SST-2, the packaged encoder, from scratch or from $MLM."""
    return variants.Sweep(
        config="sst2",
        common={"data.dir": "$DATA/sentiment/sst2"},
        variants={
            "scratch": {},
            "its_pieces": {"tokenizer.path": "$MLM/tokenizer"},
            "mlm": {"init": "$MLM"},
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
        step="best",
    )
