"""The runs of experiments/results that read text: one shape, one recipe, any such task.

    lmtasks train --config=understand:sick,encoder --workdir=runs/sick \\
        --config.data.dir=DIR --config.tokenizer.path=runs/mlm/tokenizer

The argument is TASK,ARCHITECTURE[,START]: text,encoder pretrains a masked language
model, sick,encoder,runs/mlm tunes that of the work directory runs/mlm. Four layers of
width 256; the encoder has its norms before the sublayers and rotary positions, which
learns more from little text. Made for two CPU cores: two to five minutes a run, the
pretraining half an hour.
"""

from configs import base

# task -> (steps, tokens in a row, rows of a step, metric of the best step, dropout).
TASKS = {
    "text": (2500, 128, 16, "", 0.1),
    "ud_ewt": (400, 128, 16, "token_accuracy", 0.2),
    "wnut17": (300, 128, 16, "strict_f1", 0.2),
    "sts": (300, 128, 16, "spearman", 0.2),
    "sts_pairs": (200, 128, 48, "spearman", 0.2),
    "xquad": (250, 256, 8, "f1", 0.2),
    "subjqa": (300, 256, 8, "f1", 0.2),
    "adversarial_qa": (200, 256, 8, "f1", 0.2),
    "banking77": (700, 128, 16, "accuracy", 0.3),
    "rte": (200, 128, 16, "accuracy", 0.3),
    "scitldr_sentences": (300, 256, 8, "rouge1", 0.2),
}
CLASSES = (300, 128, 16, "accuracy", 0.3)


def get_config(argument="sst2,encoder"):
    """Return the config of "TASK,ARCHITECTURE[,START]"."""
    task, architecture, start, *_ = [*argument.split(",", 2), "", ""]
    steps, length, rows, best, dropout = TASKS.get(task, CLASSES)
    c = base.pretrain() if task == "text" else base.finetune()
    c.task, c.architecture, c.init, c.model.dropout = task, architecture, start, dropout
    if architecture == "encoder":
        c.model.preset, c.mlm.rate = "modernbert/mini", 0.3
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000
    # An encoder-decoder's targets are label words or a list of names.
    c.data.length = 64 if architecture == "encoder_decoder" else length
    c.data.source_length, c.span.stride, c.data.on_error = length, length // 2, "skip"
    c.train.steps, c.train.batch_size = steps, rows
    c.optim.learning_rate = 2e-3 if task == "text" else 1e-3
    c.optim.warmup_steps, c.optim.weight_decay = 60, 0.1
    c.eval.every, c.eval.batch_size = steps // 4, 64
    c.eval.best, c.eval.mode = best, "max" if best else "min"
    c.checkpoint.every, c.decode.max_tokens, c.decode.samples = 0, 48, 0
    return c
