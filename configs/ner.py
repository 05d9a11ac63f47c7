"""Named entities from a pretrained encoder: CoNLL-2003, WNUT-17 or the Broad Twitter Corpus.

    lmtasks train --config=ner:conll2003 --workdir=runs/ner \\
        --config.init=bert-base-cased --config.data.dir=DIR

The argument is the task. One GPU, minutes; hours on a CPU with BERT-base. BERT-base reaches
a strict F1 of .924 on CoNLL-2003 (Devlin et al., 2019) and .46 to .49 on WNUT-17, from
memory of the literature: untested here.
"""

from configs import base


def get_config(task="wnut17"):
    """Return the config of a task."""
    c = base.finetune()
    c.task, c.architecture = task, "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000  # without init
    c.data.length = 128
    c.train.steps, c.train.batch_size = 1000, 32
    c.optim.learning_rate, c.optim.warmup_steps = 5e-5, 100
    c.eval.every, c.eval.best, c.eval.mode = 100, "strict_f1", "max"
    return c
