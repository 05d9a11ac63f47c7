"""SST-2 from scratch with a small model of each architecture.

    lmtasks train --config=sst2:encoder --workdir=runs/sst2 --config.data.dir=DIR

DIR holds train.tsv, validation.tsv and test.tsv (sentence TAB label). The argument is the
architecture. Whole sentences only and no pretraining: each stops, by the validation
split, where it begins to know the training sentences by heart. Made for two CPU cores.
"""

from configs import base

# architecture -> (steps, dropout, learning rate, label smoothing), found on validation.
# Label words come as one of 8000 pieces: that takes longer to learn than two classes.
TUNED = {
    "encoder": (300, 0.5, 5e-4, 0.1),
    "decoder": (400, 0.2, 1e-3, 0.0),
    "encoder_decoder": (600, 0.2, 1e-3, 0.0),
}


def get_config(architecture="encoder"):
    """Return the config of an architecture."""
    c = base.finetune()
    c.task = "sst2"
    c.architecture = architecture
    c.tokenizer.kind, c.tokenizer.size = "wordpiece", 8000
    # An encoder-decoder's targets are label words: a few tokens an example.
    c.data.length = 24 if architecture == "encoder_decoder" else 128
    c.data.source_length = 128
    # Four layers as narrow as these see the data several times in minutes.
    c.model.width, c.model.layers, c.model.mlp = 128, 2, 512
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    steps, dropout, rate, smoothing = TUNED.get(architecture, TUNED["encoder"])
    c.model.dropout, c.loss.label_smoothing = dropout, smoothing
    c.train.steps, c.train.batch_size = steps, 16
    c.optim.learning_rate, c.optim.warmup_steps = rate, 60
    c.optim.weight_decay = 0.1
    c.eval.every, c.eval.best, c.eval.mode = 50, "accuracy", "max"
    c.eval.batch_size = 64
    c.checkpoint.every = 0
    return c
