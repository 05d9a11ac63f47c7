"""May the output of a small language model share the table of its input?"""

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
            "tied": {"model.tied": True},
            "apart": {"model.tied": False},
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
    )
