"""`lmtasks eval`: score a trained run on a split."""

from __future__ import annotations

import json
import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "score a trained run on a split"
USAGE = """
lmtasks eval --workdir=DIR [--split=validation] [--step=N|best] [--config.KEY=VALUE ...]

Prints the metrics and appends them to DIR/eval.jsonl; predictions go to
DIR/predictions-SPLIT.jsonl.

    lmtasks eval --workdir=runs/sst2 --split=test
    lmtasks eval --workdir=runs/sst2 --config.prompt.label_norm=pmi
"""


def main(argv: list[str]) -> int:
    """Evaluate; print one line per metric."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_string("split", None, "split to score", flag_values=fv)
    flags.DEFINE_string("step", None, "saved step or best; newest", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    folder = common.required(fv, "workdir")
    config = common.config_of(spec, overrides, folder)
    from lmtasks import api

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    split = fv.split or config.eval.split
    metrics, said = api.evaluate(loaded, split)
    row = {"step": loaded.step, "split": split, **metrics}
    path = pathlib.Path(folder)
    with open(path / "eval.jsonl", "a") as out:
        out.write(json.dumps(row) + "\n")
    if said:
        with open(path / f"predictions-{split}.jsonl", "w") as out:
            out.writelines(json.dumps(p, ensure_ascii=False) + "\n" for p in said)
    print(f"{folder}, step {loaded.step}, {split}:")
    for name, value in metrics.items():
        print(f"  {name:20} {value:.6g}")
    return 0
