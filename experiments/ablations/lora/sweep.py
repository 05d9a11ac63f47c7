"""How much of full fine-tuning do low-rank adapters reach, and with which rank?"""

from lmtasks.studies import variants

# Every projection of every layer; adapters want a higher rate than whole weights.
TARGETS = "(attn/(query|key|value|out)|mlp/(up|gate|down))$"
ADAPTED = {"lora.targets": (TARGETS,), "optim.learning_rate": 1e-2}


def get_sweep():
    """Return the study: SST-2 on a Llama of 260 thousand parameters."""
    return variants.Sweep(
        config="config.py",
        common={
            "data.dir": "$DATA/sentiment/sst2",
            "init": "$WEIGHTS/stories260K",
        },
        variants={
            "full": {"optim.learning_rate": 2e-3},
            "rank-1": {"lora.rank": 1} | ADAPTED,
            "rank-16": {"lora.rank": 16} | ADAPTED,
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
        step="best",
    )
