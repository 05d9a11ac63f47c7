"""Several examples a row, or one with padding: the same number of examples a step?"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: SST-2 on a decoder; 16 packed rows hold 73 examples."""
    return variants.Sweep(
        config="sst2:decoder",
        common={"data.dir": "$DATA/sentiment/sst2", "train.steps": 300},
        variants={
            "packed": {"data.packing": True, "train.batch_size": 16},
            "padded": {"data.packing": False, "train.batch_size": 73},
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
        step="best",
    )
