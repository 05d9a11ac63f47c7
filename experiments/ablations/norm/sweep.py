"""Does it matter where a layer is normalized: before, after, or on both sides?"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: SST-2 from scratch, six narrow layers."""
    return variants.Sweep(
        config="sst2",
        common={"data.dir": "$DATA/sentiment/sst2", "model.layers": 6},
        variants={
            "pre": {"model.norm.at": "pre"},
            "post": {"model.norm.at": "post"},
            "sandwich": {"model.norm.at": "sandwich"},
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
    )
