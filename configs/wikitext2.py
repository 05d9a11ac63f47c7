"""A small Llama-shaped decoder on WikiText-2 and a sample of C4, with a SentencePiece
unigram vocabulary trained on the same text.

    lmtasks train --config=wikitext2 --workdir=runs/wikitext2 --config.data.dir=DIR

DIR holds train.jsonl and validation.jsonl ({"text": document}) and test.jsonl; the script
experiments/results/run.py writes them. Made for two CPU cores.
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.pretrain()
    c.task = "text"
    c.architecture = "decoder"
    c.tokenizer.kind, c.tokenizer.size = "unigram", 4000
    c.model.preset = "llama/mini"
    c.model.dropout = 0.1
    c.data.length = 256
    c.train.steps, c.train.batch_size = 800, 8
    c.optim.learning_rate, c.optim.warmup_steps = 2e-3, 80
    c.eval.every, c.eval.batch_size, c.eval.ngram = 200, 16, 5
    c.checkpoint.every = 0
    c.decode.temperature, c.decode.top_p = 0.8, 0.9
    return c
