"""The runs on text that is written: which there are, by family."""

from __future__ import annotations

KINDS = ("encoder_decoder", "decoder")
FAMILIES = ("multi30k",)
# Greedily, where a task's own way is beam search.
GREEDY = ["--config.decode.method=sample", "--config.decode.temperature=0"]
TEST = ["--split=test", "--step=best"]


def runs_of(family: str) -> dict[str, dict]:
    """Return {run: {"config", "train", "eval"}} of a family; see run.py."""
    return {"multi30k": _multi30k}[family]()


def _multi30k() -> dict[str, dict]:
    """Return English to German on both architectures, by beam search and greedily."""
    out = {}
    for kind in KINDS:
        name, config = f"multi30k-{kind}-0", f"translate:multi30k,{kind}"
        folder = "--config.data.dir=$DATA/translation/multi30k"
        train = [folder, "--config.seed=0"]
        out[name] = {"config": config, "train": train, "eval": TEST}
        out[f"{name}-greedy"] = {
            "of": f"$RUNS/{name}", "config": config, "eval": [*TEST, *GREEDY],
        }  # fmt: skip
    return out
