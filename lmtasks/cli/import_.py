"""`lmtasks import`: a checkpoint directory as a work directory."""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from lmtasks.cli import common
from lmtasks.data import directory

HELP = "makes a work directory of a pretrained checkpoint"
USAGE = """
lmtasks import --from=DIR --workdir=W [--config=FILE.py] [--config.KEY=VALUE ...]

Reads a checkpoint directory of Hugging Face's form (config.json, safetensors or
flax_model.msgpack, tokenizer files) or a file of llama2.c, and writes a work directory
that train, eval, predict, generate and score start from.

  --from=DIR        the checkpoint directory
  --workdir=W       a new work directory
  --config=FILE.py  the task it shall do; without it, what its class says: a decoder
                    reads plain text, an encoder-decoder answers, a classifier
                    classifies by its own labels

    lmtasks import --from=SmolLM-135M --workdir=runs/smollm
    lmtasks generate --workdir=runs/smollm --prompt="Once upon a time"
    lmtasks train --config=sst2 --config.init=bert-base-uncased --workdir=runs/sst2-bert
"""


def main(argv: list[str]) -> int:
    """Import; nothing is left behind when it fails."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("from", None, "checkpoint directory", flag_values=fv)
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    source, folder = common.required(fv, "from"), common.required(fv, "workdir")
    from lmtasks import pretrained
    from lmtasks.training import imports

    config = common.config_of(spec, ()) if spec else pretrained.config_for(source)
    config.init = source
    common.override(config, overrides)
    with directory.new_directory(pathlib.Path(folder)) as partial:
        lines: list[str] = []
        run = imports.make(config, partial, lines.append)
        for line in lines:
            print(line, file=sys.stderr)
    print(
        f"{folder}: {run.config.task} on {run.config.architecture}, "
        f"{run.tokenizer.size} pieces; try lmtasks train, eval, predict, generate or "
        f"score --workdir={folder}"
    )
    return 0
