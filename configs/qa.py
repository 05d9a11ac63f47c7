"""Extractive QA from a pretrained encoder: SQuAD 1.1 and 2.0, XQuAD, SubjQA, AdversarialQA.

    lmtasks train --config=qa:squad --workdir=runs/squad --config.init=bert-base-uncased

The argument is the task; data by TFDS or config.data.dir. One GPU, two hours for SQuAD; a
CPU takes days with BERT-base. BERT-base reaches EM 81.3 and F1 88.4 on SQuAD 1.1's
development set (google-research/bert): untested here.
"""

from configs import base


def get_config(task="squad"):
    """Return the config of a task."""
    c = base.finetune()
    c.task, c.architecture = task, "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000  # without init
    c.data.length, c.span.stride = 384, 128
    if task == "subjqa":  # answers that do not stand where the file says
        c.data.on_error = "skip"
    c.train.steps, c.train.batch_size = 7300, 24
    c.optim.learning_rate, c.optim.warmup_steps = 3e-5, 730
    c.eval.every, c.eval.best, c.eval.mode = 1000, "f1", "max"
    return c
