"""Multiple choice from a pretrained encoder: HellaSwag, PIQA, ARC, COPA, RACE and others.

    lmtasks train --config=choice:copa --workdir=runs/copa --config.init=roberta-base

The argument is the task; data by TFDS or config.data.dir. A decoder needs no training to
be scored: `lmtasks import`, then `lmtasks eval`. One GPU, minutes to hours by the size of
the task; slow on a CPU. BERT-base reaches .39 to .40 on HellaSwag (Zellers et al., 2019),
from memory: untested here.
"""

from configs import base


def get_config(task="hellaswag"):
    """Return the config of a task."""
    c = base.finetune()
    c.task, c.architecture = task, "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000  # without init
    c.data.length = 512 if task == "race" else 128  # of one option with its context
    c.train.steps, c.train.batch_size = 3000, 16
    c.optim.learning_rate, c.optim.warmup_steps = 2e-5, 300
    c.eval.every, c.eval.best, c.eval.mode = 500, "accuracy", "max"
    return c
