"""One's own files on a generic task, without Python.

    lmtasks train --config=own:classification --workdir=runs/mine \\
        --config.data.files.train=train.csv --config.data.files.validation=dev.csv \\
        --config.data.fields.text=review --config.data.fields.label=stars

The argument is the task: classification, pairs, tagging, extractive_qa, choice,
relations, retrieval_pairs, seq2seq, chat, text, and with a second word the architecture:
own:seq2seq,encoder_decoder.
"""

from configs import base

ENCODED = ("classification", "pairs", "tagging", "extractive_qa", "choice",
           "relations", "retrieval_pairs")  # fmt: skip


def get_config(argument="classification"):
    """Return the config of "TASK[,ARCHITECTURE]"."""
    task, _, architecture = argument.partition(",")
    c = base.pretrain() if task == "text" else base.finetune()
    c.task = task
    c.architecture = architecture or ("encoder" if task in ENCODED else "decoder")
    c.tokenizer.kind, c.tokenizer.size = "bpe", 4000
    c.data.length = c.data.source_length = 256
    c.train.steps, c.train.batch_size = 1000, 16
    c.eval.every = 200
    return c
