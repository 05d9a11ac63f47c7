"""A masked model of a thousand pages of the web, in the shape of config sst2:encoder.

    lmtasks train --config=experiments/ablations/mlm_first/pretrain.py \\
        --workdir=runs/mlm --config.data.dir=$DATA/lm/c4_en_sample

Two CPU cores, about ten minutes.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.pretrain()
    c.task, c.architecture, c.objective = "c4", "encoder", "mlm"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000
    c.model.width, c.model.layers, c.model.mlp = 128, 2, 512
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    c.mlm.unit = "word"
    c.data.length = 128
    c.train.steps, c.train.batch_size = 2000, 32
    c.optim.learning_rate, c.optim.warmup_steps = 2e-3, 100
    c.eval.every, c.checkpoint.every = 500, 0
    return c
