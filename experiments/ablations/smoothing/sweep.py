"""Does label smoothing help a small classifier, or only its calibration?"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: SST-2 from scratch, the packaged config."""
    return variants.Sweep(
        config="sst2",
        common={"data.dir": "$DATA/sentiment/sst2"},
        variants={
            "none": {"loss.label_smoothing": 0.0},
            "tenth": {"loss.label_smoothing": 0.1},
            "fifth": {"loss.label_smoothing": 0.2},
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
    )
