"""AG News (four topics) from scratch with a small encoder.

    lmtasks train --config=ag_news --workdir=runs/ag_news --config.data.dir=DIR

DIR holds train.csv, validation.csv and test.csv (class, title, description). Made for two CPU cores.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.finetune()
    c.task = "ag_news"
    c.architecture = "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000
    c.data.length = 192
    c.model.width, c.model.layers, c.model.mlp = 128, 2, 512
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    c.model.dropout = 0.3
    c.train.steps, c.train.batch_size = 400, 16
    c.optim.learning_rate, c.optim.warmup_steps = 1e-3, 60
    c.optim.weight_decay = 0.1
    c.eval.every, c.eval.best, c.eval.mode = 100, "accuracy", "max"
    c.eval.batch_size = 64
    c.checkpoint.every = 0
    return c
