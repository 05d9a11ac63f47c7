"""Learning from plain text by putting back what was taken out of it.

    lmtasks train --config=denoise --workdir=runs/t5 --config.data.dir=DIR
    lmtasks train --config=denoise:ul2 --workdir=runs/ul2 --config.data.dir=DIR
    lmtasks train --config=denoise:bart --workdir=runs/bart --config.data.dir=DIR
    lmtasks train --config=denoise:prefix,decoder --workdir=runs/prefix --config.data.dir=DIR
    lmtasks train --config=denoise:fim --workdir=runs/fim --config.data.dir=DIR

KIND is span (T5), prefix, ul2 or bart on an encoder-decoder, prefix or fim on a decoder.
DIR holds train.jsonl and validation.jsonl ({"text": document}). Its size is meant for two
CPU cores; not run to the end yet.
"""

from configs import base


def get_config(argument="span"):
    """Return the config of "KIND[,ARCHITECTURE]"."""
    kind, _, architecture = argument.partition(",")
    c = base.pretrain()
    c.task, c.objective, c.denoise.kind = "text", "denoise", kind
    c.architecture = "decoder" if kind == "fim" else architecture or "encoder_decoder"
    c.tokenizer.kind, c.tokenizer.size = "unigram", 8000
    c.data.length = c.data.source_length = 128
    c.train.steps, c.train.batch_size = 1500, 16
    c.optim.learning_rate, c.optim.warmup_steps = 1e-3, 150
    c.eval.every, c.checkpoint.every = 500, 500
    return c
