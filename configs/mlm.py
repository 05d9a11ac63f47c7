"""Masked language modelling: a small encoder from scratch, or a pretrained one adapted to
one's own text.

    lmtasks train --config=mlm --workdir=runs/mlm --config.data.dir=DIR
    lmtasks train --config=mlm --workdir=runs/adapted --config.init=runs/mlm \\
        --config.data.files.train=mine.txt --config.data.format=paragraphs

DIR holds train.jsonl and validation.jsonl ({"text": document}). Whole words are hidden
together. Made for two CPU cores.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.pretrain()
    c.task, c.architecture = "text", "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000
    c.model.width, c.model.layers, c.model.mlp = 256, 4, 1024
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    c.mlm.unit = "word"
    c.data.length = 128
    c.train.steps, c.train.batch_size = 1500, 32
    c.optim.learning_rate, c.optim.warmup_steps = 1e-3, 150
    c.eval.every, c.checkpoint.every = 500, 500
    return c
