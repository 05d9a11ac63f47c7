"""Banking77, IMDB, AG News or SICK from a pretrained encoder.

    lmtasks train --config=topics:banking77 --workdir=runs/banking77 \\
        --config.init=bert-base-uncased --config.data.dir=DIR

The argument is the task. One GPU, minutes; hours on a CPU with BERT-base. PUBLISHED has
accuracies of BERT-base on the whole training sets, from memory of the literature:
untested here.
"""

from configs import base

# task -> (published accuracy, longest text, steps at 32 rows)
PUBLISHED = {
    "banking77": (0.936, 64, 1500),
    "imdb": (0.94, 512, 2400),
    "ag_news": (0.94, 128, 1500),
    "sick": (0.87, 64, 600),
}


def get_config(task="banking77"):
    """Return the config of a task."""
    c = base.finetune()
    c.task, c.architecture = task, "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000  # without init
    _, c.data.length, c.train.steps = PUBLISHED.get(task, (None, 128, 1000))
    c.train.batch_size = 32
    c.optim.learning_rate, c.optim.warmup_steps = 4e-5, c.train.steps // 10
    c.eval.every, c.eval.best, c.eval.mode = 200, "accuracy", "max"
    return c
