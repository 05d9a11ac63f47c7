"""A small decoder learns the Python documentation that comes with Python.

    lmtasks train --config=quickstart --workdir=runs/quickstart

Two CPU cores, under three minutes. Prints bits per byte on held-out text and a sample.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.pretrain()
    c.task = "pydocs"
    c.architecture = "decoder"
    c.tokenizer.kind = "bpe"
    c.tokenizer.size = 1024
    c.model.preset = "llama/tiny"
    c.model.width, c.model.layers, c.model.mlp = 128, 4, 384
    c.data.length = 128
    c.train.steps = 600
    c.train.batch_size = 16
    c.optim.learning_rate = 3e-3
    c.optim.warmup_steps = 50
    c.eval.every, c.eval.limit = 300, 40
    c.eval.xz, c.eval.ngram = True, 5
    c.log.every = 25
    c.checkpoint.every = 300
    c.decode.max_tokens = 60
    c.decode.temperature = 0.7
    c.decode.top_p = 0.9
    return c
