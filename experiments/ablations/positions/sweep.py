"""Which positions does a small language model learn best with, and does it need any?"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: 1,000 pages of the web, 1,024 pieces, rows of 128."""
    return variants.Sweep(
        config="quickstart",
        common={
            "task": "c4",
            "data.dir": "$DATA/lm/c4_en_sample",
            "eval.xz": False,
            "train.steps": 400,
            "eval.every": 100,
            "eval.limit": 0,
        },
        variants={
            kind: {"model.positions.kind": kind}
            for kind in ("rotary", "learned", "t5", "alibi", "none")
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
    )
