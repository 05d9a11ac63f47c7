"""A task of GLUE, or SNLI or BoolQ, from a pretrained encoder, as Devlin et al. do.

    lmtasks train --config=glue:cola --workdir=runs/cola --config.init=bert-base-uncased
    lmtasks train --config=glue --suite=glue --workdir=runs/glue --config.init=DIR

The argument is the task. Data by TFDS, or config.data.dir. One GPU, minutes (MNLI, QQP,
SNLI: hours); far too slow for a CPU with BERT-base. PUBLISHED has what BERT-base reaches
on the test sets, from memory of the paper (arXiv:1810.04805): untested here.
"""

from configs import base

# task -> (metric, published, epochs' worth of steps at 32 rows)
PUBLISHED = {
    "cola": ("mcc", 0.521, 800),
    "sst2": ("accuracy", 0.935, 6300),
    "mrpc": ("f1", 0.889, 350),
    "stsb": ("spearman", 0.858, 540),
    "qqp": ("f1", 0.712, 34000),
    "mnli": ("accuracy", 0.846, 36000),
    "qnli": ("accuracy", 0.905, 9800),
    "rte": ("accuracy", 0.664, 240),
    "wnli": ("accuracy", 0.651, 60),
    "snli": ("accuracy", 0.9, 51000),
    "boolq": ("accuracy", 0.73, 900),
}


def get_config(task="rte"):
    """Return the config of a task."""
    c = base.finetune()
    c.task, c.architecture = task, "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000  # without init
    metric, _, steps = PUBLISHED.get(task, ("accuracy", None, 1000))
    c.data.length = 256 if task == "boolq" else 128
    c.train.steps, c.train.batch_size = steps, 32
    c.optim.learning_rate, c.optim.warmup_steps = 2e-5, steps // 10
    c.eval.every, c.eval.best, c.eval.mode = max(steps // 6, 20), metric, "max"
    return c
