"""The runs of experiments/results that write text: one shape, one recipe a task.

    lmtasks train --config=write:toy_steps,decoder --workdir=runs/steps
    lmtasks train --config=write:scitldr,encoder_decoder,runs/spans --workdir=runs/tldr \\
        --config.data.dir=DIR

The argument is TASK,ARCHITECTURE[,START]: text,encoder_decoder pretrains by span
corruption, the second line tunes that of the work directory runs/spans. Made for two
CPU cores: width 256, four layers on a decoder, three on each side of an
encoder-decoder; sums have width 128.
"""

from configs import base
from configs import translate

# task -> (steps, tokens in a row, source tokens in a row, rows of a step, written).
TASKS = {
    "text": (1000, 128, 256, 12, 64),
    "scitldr": (300, 128, 512, 6, 48),
    "aeslc": (300, 128, 512, 6, 16),
    "toy_sums": (2500, 256, 256, 16, 32),
    "toy_steps": (2500, 256, 256, 16, 128),
    "toy_code": (800, 256, 256, 16, 160),
    "gsm8k": (400, 256, 256, 12, 224),
    "mbpp": (200, 256, 256, 12, 160),
    "sgd_slots": (400, 256, 256, 12, 64),
}
CHAT = (300, 256, 256, 12, 64)


def get_config(argument="toy_steps,decoder"):
    """Return the config of "TASK,ARCHITECTURE[,START]"."""
    task, architecture, start, *_ = [*argument.split(",", 2), "", ""]
    steps, length, source, rows, written = TASKS.get(task, CHAT)
    c = base.pretrain() if task == "text" else base.finetune()
    c.task, c.architecture, c.init = task, architecture, start
    if architecture == "encoder_decoder":
        translate.small(c)  # plain text is then learned by span corruption
    c.tokenizer.kind, c.tokenizer.size, c.model.dropout = "bpe", 6000, 0.1
    if task in ("toy_sums", "toy_steps"):
        c.tokenizer.kind, c.model.dropout = "char", 0.0
        c.model.width, c.model.mlp = 128, 384
    c.data.length, c.data.source_length = length, source
    c.train.steps, c.train.batch_size, c.checkpoint.every = steps, rows, 0
    c.optim.learning_rate = 5e-4 if start else 1.2e-3
    c.optim.warmup_steps, c.optim.b2 = steps // 10, 0.98
    c.eval.every, c.eval.batch_size, c.eval.predict = steps // 4, 32, False
    c.decode.max_tokens = written
    return c
