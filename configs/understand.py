"""The runs of experiments/results that read text: one shape, one recipe, any such task.

    lmtasks train --config=understand:sick,encoder --workdir=runs/sick \\
        --config.data.dir=DIR --config.tokenizer.path=runs/mlm/tokenizer

The argument is TASK,ARCHITECTURE[,START], START being the work directory whose
parameters and tokenizer a run begins with: text,encoder pretrains a masked language
model, understand:sick,encoder,runs/mlm tunes it. Four layers of width 256 with four
heads (modernbert, llama and t5 /mini). Made for two CPU cores, about two minutes a run.

The encoder has its norms before the sublayers and rotary positions: from so little text
it learns to fill masks, where bert/mini hardly leaves the words' frequencies.
"""

from configs import base

# task -> (steps, tokens in a row, rows of a step, metric of the best step).
TASKS = {
    "text": (2500, 128, 16, ""),
    "ud_ewt": (400, 128, 16, "token_accuracy"),
    "wnut17": (300, 128, 16, "strict_f1"),
    "sts": (300, 128, 16, "spearman"),
    "sts_pairs": (200, 128, 48, "spearman"),
    "xquad": (250, 256, 8, "f1"),
    "subjqa": (300, 256, 8, "f1"),
    "adversarial_qa": (200, 256, 8, "f1"),
    "banking77": (400, 128, 16, "accuracy"),
    "rte": (200, 128, 16, "accuracy"),
}
CLASSES = (300, 128, 16, "accuracy")


def get_config(argument="sst2,encoder"):
    """Return the config of "TASK,ARCHITECTURE[,START]"."""
    task, architecture, start, *_ = [*argument.split(",", 2), "", ""]
    c = base.pretrain() if task == "text" else base.finetune()
    c.task, c.architecture, c.init = task, architecture, start
    if architecture == "encoder":
        c.model.preset = "modernbert/mini"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000
    steps, length, rows, best = TASKS.get(task, CLASSES)
    # An encoder-decoder's targets are label words or a list of names.
    c.data.length = 64 if architecture == "encoder_decoder" else length
    c.data.source_length, c.data.on_error = length, "skip"
    c.model.dropout = 0.1 if task == "text" else 0.2
    c.span.stride = length // 2
    c.train.steps, c.train.batch_size = steps, rows
    c.optim.learning_rate, c.optim.warmup_steps = 1e-3, 60
    if task == "text":
        c.optim.learning_rate, c.optim.warmup_steps = 2e-3, 60
        c.mlm.rate = 0.3
    c.optim.weight_decay = 0.1
    c.eval.every, c.eval.batch_size = steps // 4, 64
    c.eval.best, c.eval.mode = best, "max" if best else "min"
    c.checkpoint.every = 0
    c.decode.max_tokens, c.decode.samples = 48, 0
    return c
