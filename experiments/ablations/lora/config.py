"""SST-2 on a pretrained Llama of 260 thousand parameters.

    lmtasks train --config=experiments/ablations/lora/config.py --workdir=runs/llama \\
        --config.init=stories260K --config.data.dir=DIR
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.finetune()
    c.task, c.architecture = "sst2", "decoder"
    c.data.length = 256  # its pieces are short: a review is 60 of them
    c.train.steps, c.train.batch_size = 300, 16
    c.optim.warmup_steps = 30
    c.eval.every, c.eval.best, c.eval.mode = 100, "accuracy", "max"
    c.eval.batch_size = 32
    c.checkpoint.every = 0
    return c
