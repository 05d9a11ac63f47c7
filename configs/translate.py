"""Translation from scratch with a SentencePiece vocabulary both languages share.

    lmtasks train --config=translate --workdir=runs/en-de --config.data.dir=DIR
    lmtasks train --config=translate:multi30k,decoder --workdir=runs/en-de-decoder \\
        --config.data.dir=DIR
    lmtasks eval --workdir=runs/en-de --split=test --config.decode.temperature=0 \\
        --config.decode.method=sample

The argument is TASK,ARCHITECTURE; the last line writes greedily where the task says beam
search. Three layers each of width 256 on an encoder-decoder, four on a decoder, about
ten epochs. T5's own first values are for Adafactor, whose steps grow with the weights:
AdamW hardly moves a token table of deviation 1. Made for two CPU cores.
"""

from configs import base


def small(c):
    """Give a config the shape of a small encoder-decoder that AdamW trains well."""
    c.model.layers = 3
    c.model.init, c.model.init_std = "normal", 0.04
    c.model.head_scale, c.model.attention.scale = 1.0, 0.0


def get_config(argument="multi30k,encoder_decoder"):
    """Return the config of "TASK,ARCHITECTURE"."""
    task, _, architecture = argument.partition(",")
    c = base.finetune()
    c.task, c.architecture = task, architecture or "encoder_decoder"
    if c.architecture == "encoder_decoder":
        small(c)
        c.train.steps = 3200
    else:
        c.train.steps = 5400
    c.tokenizer.kind, c.tokenizer.size = "bpe", 6000
    c.model.dropout, c.loss.label_smoothing = 0.1, 0.1
    c.data.length = c.data.source_length = 128
    c.train.batch_size = 16
    c.optim.learning_rate, c.optim.warmup_steps = 1.2e-3, 300
    c.optim.b2, c.optim.weight_decay = 0.98, 0.01
    c.eval.every, c.eval.predict, c.checkpoint.every = 500, False, 500
    c.decode.max_tokens, c.decode.samples = 64, 2
    return c
