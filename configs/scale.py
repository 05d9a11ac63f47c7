"""Published shapes at their real size, for pods: BERT-large, T5-3B, Llama 3.

    lmtasks rehearse --config=scale:llama3_8b --topology=v5e:16x16
    lmtasks train --config=scale:bert_large --workdir=DIR --config.task=text \\
        --config.data.dir=DIR --config.tokenizer.path=DIR

NAME is bert_large, t5_3b, llama3_8b or llama3_70b. As they stand they read Python's own
documentation by bytes, with the published vocabularies' sizes: enough to rehearse them
on any CPU. Layers are compiled once and recomputed in the backward pass, products are of
bfloat16, the state of float32; parameters lie in parts on all devices (fsdp).
"""

from configs import base

# name -> (architecture, preset, vocabulary, length, source length, rows).
SHAPES = {
    "bert_large": ("encoder", "bert/large", 30522, 512, 0, 4096),
    "t5_3b": ("encoder_decoder", "t5/3b", 32128, 128, 512, 2048),
    "llama3_8b": ("decoder", "llama/3-8b", 128256, 8192, 0, 256),
    "llama3_70b": ("decoder", "llama/3-70b", 128256, 8192, 0, 256),
}


def get_config(argument="llama3_8b"):
    """Return the config of "NAME"."""
    if argument not in SHAPES:
        raise ValueError(f"scale:{argument}: NAME is one of {', '.join(SHAPES)}")
    architecture, preset, vocab, length, source, rows = SHAPES[argument]
    c = base.pretrain()
    c.task, c.architecture = "pydocs", architecture
    if architecture == "encoder_decoder":
        c.objective = "denoise"
    if architecture == "encoder":
        c.objective = "mlm"
    c.tokenizer.kind = "byte"
    c.model.preset, c.model.vocab = preset, vocab
    c.model.dtype, c.model.scan_layers, c.model.remat = "bfloat16", True, "full"
    c.model.attention.implementation = "auto"
    c.data.length, c.data.source_length = length, source or length
    c.train.batch_size, c.eval.batch_size = rows, rows
    c.parallel.data, c.parallel.fsdp = 1, -1
    c.decode.weights = "bfloat16"
    return c
