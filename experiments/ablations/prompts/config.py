"""SST-2 asked of a pretrained Llama of 260 thousand parameters, without training it.

    lmtasks import --from=stories260K --config=experiments/ablations/prompts/config.py \\
        --workdir=runs/asked --config.data.dir=DIR
"""

from configs import base


def get_config():
    """Return the config."""
    c = base.finetune()
    c.task, c.architecture = "sst2", "decoder"
    c.data.length = 512  # its longest; a review is about 60 of its pieces
    c.eval.batch_size = 8
    return c
