"""Small worlds whose answers are known: does an objective learn on an architecture?

    lmtasks train --config=toy:toy_labelled,encoder --workdir=runs/toy

The argument is TASK,ARCHITECTURE. Two CPU cores, about a minute; the evaluation worlds
are unseen, and a bag of words stays near chance on them.
"""

from configs import base


def get_config(argument="toy_labelled,encoder"):
    """Return the config of "TASK,ARCHITECTURE"."""
    task, _, architecture = argument.partition(",")
    c = base.finetune()
    c.task, c.architecture = task, architecture
    c.tokenizer.kind, c.tokenizer.size = "word", 300
    c.data.length = c.data.source_length = 64
    c.model.width, c.model.layers, c.model.mlp = 64, 2, 256
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    c.model.dropout = c.model.attention_dropout = 0.0
    # About 1 / sqrt(width): with .02 a decoder stays at chance for thousands of steps.
    c.model.init_std = 0.1
    c.train.steps, c.train.batch_size = 1000, 32
    c.optim.learning_rate, c.optim.warmup_steps = 2e-3, 100
    c.eval.every, c.eval.batch_size = 200, 100
    c.checkpoint.every = 0
    c.decode.max_tokens = 24 if task == "toy_tagged" else 8
    return c
