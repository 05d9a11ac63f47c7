"""`lmtasks export`: a work directory as a checkpoint directory."""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from lmtasks.cli import common

HELP = "writes a run as a directory that transformers loads"
USAGE = """
lmtasks export --workdir=W --to=DIR [--step=N|best] [--dtype=float32|bfloat16|float16]
               [--as=TYPE] [--adapters] [--max_shard_gb=5] [--push=ID] [--dry_run]

Writes config.json, model.safetensors, the tokenizer's files and a model card. Adapters
are merged; what was imported comes back under its own names and, unless --dtype says
otherwise, in its own precision.

  --to=DIR       a new folder
  --as=TYPE      model_type to write (bert, llama, t5, ...); default: as imported, else
                 that of the preset
  --adapters     write the LoRA adapters alone, in PEFT's form
  --push=ID      upload the folder afterwards (extra [hub]); with --dry_run only the
                 files are listed and nothing is uploaded

    lmtasks export --workdir=runs/sst2-bert --to=exported --step=best
"""


def main(argv: list[str]) -> int:
    """Export; the folder appears whole or not at all."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    texts = ("workdir", "to", "step", "push")
    for name in texts:
        flags.DEFINE_string(name, None, name, flag_values=fv)
    flags.DEFINE_string("dtype", "", "of the numbers", flag_values=fv)
    flags.DEFINE_string("as", "", "model_type", flag_values=fv)
    flags.DEFINE_float("max_shard_gb", 5.0, "largest file", flag_values=fv)
    flags.DEFINE_bool("adapters", False, "adapters alone", flag_values=fv)
    flags.DEFINE_bool("dry_run", False, "upload nothing", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    folder, to = common.required(fv, "workdir"), common.required(fv, "to")
    if fv.max_shard_gb <= 0:
        raise ValueError(f"--max_shard_gb={fv.max_shard_gb} must be above 0")
    config = common.config_of(spec, overrides, folder)
    from lmtasks import api
    from lmtasks.hf import hub
    from lmtasks.training import exports
    from lmtasks.training import peft

    step = common.step_of(folder, fv.step)
    place = pathlib.Path(to)
    if fv.adapters:
        peft.export(folder, place, step=step, config=config)
        notes = []
    else:
        kind = getattr(fv, "as")
        options = exports.Options(fv.dtype, kind, int(fv.max_shard_gb * 1e9))
        loaded = api.load(folder, step, config)
        notes = exports.export(
            loaded.run, loaded.params, folder=folder, to=place, options=options
        )
    for note in notes:
        print(note, file=sys.stderr)
    for file in sorted(place.iterdir()):
        print(f"{file.stat().st_size:>14,}  {file}")
    if fv.push and not fv.dry_run:
        print(hub.push(place, fv.push))
    return 0
