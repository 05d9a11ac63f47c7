"""Parts of speech of any UD treebank from a pretrained encoder.

    lmtasks train --config=pos --workdir=runs/pos --config.init=bert-base-cased \\
        --config.data.dir=DIR

DIR holds train.conllu, validation.conllu and test.conllu. One GPU, minutes; about an hour
on a CPU with BERT-base. Stanza and UDPipe reach 95 to 97% of UPOS on English EWT, from
memory of their pages: untested here.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.finetune()
    c.task, c.architecture = "ud_pos", "encoder"
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000  # without init
    c.data.length = 128
    c.train.steps, c.train.batch_size = 1500, 32
    c.optim.learning_rate, c.optim.warmup_steps = 5e-5, 150
    c.eval.every, c.eval.best, c.eval.mode = 200, "token_accuracy", "max"
    return c
