"""`lmtasks convert`: the same weights in another precision or layout."""

from __future__ import annotations

import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "the same weights in another precision or layout"
USAGE = """
lmtasks convert --from=DIR --to=DIR [--dtype=float32|bfloat16|float16]
                [--max_shard_gb=5]
lmtasks convert --workdir=W --to=W2 --scan|--noscan [--step=N|best]

The first writes a checkpoint directory anew: in another precision, in one file or in
parts, flax_model.msgpack and llama2.c as safetensors. The second writes the parameters
of a work directory as a new one, stacked over the layers (--scan) or one array a layer
(--noscan); training starts there at step 0.

    lmtasks convert --from=SmolLM-135M --to=smollm-bf16 --dtype=bfloat16
    lmtasks convert --workdir=runs/deep --to=runs/deep-unrolled --noscan
"""


def main(argv: list[str]) -> int:
    """Convert; what is written appears whole or not at all."""
    fv = common.flag_values()
    for name in ("from", "workdir", "to", "step"):
        flags.DEFINE_string(name, None, name, flag_values=fv)
    flags.DEFINE_string("dtype", "", "of the numbers", flag_values=fv)
    flags.DEFINE_float("max_shard_gb", 5.0, "largest file", flag_values=fv)
    flags.DEFINE_bool("scan", None, "stack the layers", flag_values=fv)
    common.no_more(common.parse(fv, argv, USAGE))
    to, source = common.required(fv, "to"), getattr(fv, "from")
    if (source is None) == (fv.workdir is None):
        raise ValueError("give either --from=DIR or --workdir=W (see --help)")
    from lmtasks.training import exports
    from lmtasks.training import imports

    if source is not None:
        if fv.scan is not None or fv.step is not None:
            raise ValueError("--scan and --step are of a work directory; see --help")
        options = exports.Options(fv.dtype, "", int(fv.max_shard_gb * 1e9))
        exports.again(source, pathlib.Path(to), options)
    else:
        if fv.scan is None:
            raise ValueError("say --scan or --noscan for a work directory; see --help")
        if fv.dtype:
            raise ValueError(
                f"--dtype={fv.dtype}: a work directory keeps float32; lmtasks export "
                "writes another precision"
            )
        step = common.step_of(fv.workdir, fv.step)
        imports.relaid(fv.workdir, pathlib.Path(to), scan=fv.scan, step=step)
    print(f"wrote {to}")
    return 0
