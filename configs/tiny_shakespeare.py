"""TinyShakespeare by characters, the CPU setting of nanoGPT's README.

    lmtasks train --config=tiny_shakespeare --workdir=runs/shakespeare \\
        --config.data.files.train=train90.txt --config.data.files.validation=tail10.txt

4 layers, 4 heads, width 128, rows of 64, batch 12, 2000 steps, no dropout, AdamW from
1e-3 to 1e-4. nanoGPT itself reports 1.88 nats a character; here the whole held-out tail
is scored.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.pretrain()
    c.task = "tiny_shakespeare"
    c.architecture = "decoder"
    c.data.format = "document"
    c.data.length = 64
    c.tokenizer.kind = "char"
    c.model.preset = "gpt2/tiny"
    c.model.activation = "gelu"
    c.model.width, c.model.layers, c.model.mlp = 128, 4, 512
    c.model.attention.heads = 4
    c.model.attention.bias = c.model.attention.out_bias = c.model.mlp_bias = False
    c.model.positions.size = 128
    c.model.dropout = c.model.attention_dropout = 0.0
    c.train.steps, c.train.batch_size = 2000, 12
    c.optim.learning_rate, c.optim.warmup_steps = 1e-3, 100
    c.optim.b2, c.optim.weight_decay = 0.99, 0.1
    c.optim.decay_mask = "matrices"
    c.eval.every, c.eval.batch_size, c.eval.ngram = 0, 64, 5
    c.log.every = 100
    c.checkpoint.every = 0
    c.decode.max_tokens, c.decode.samples = 64, 1
    c.decode.temperature = 0.8
    return c
