"""Values that no run can have, refused before any data is read."""

from __future__ import annotations

import math
import pathlib

from ml_collections import ConfigDict

from lmtasks import schema
from lmtasks import tokenizers
from lmtasks.data import features
from lmtasks.data import sources
from lmtasks.data import templates
from lmtasks.objectives import classify
from lmtasks.types import ARCHITECTURES


def check_values(config: ConfigDict) -> None:
    """Raise ValueError for numbers and names that no run can have."""
    if config.architecture not in ARCHITECTURES:
        raise ValueError(
            schema.unknown("architecture", config.architecture, ARCHITECTURES)
        )
    least = {
        "train.steps": 1, "train.batch_size": 1, "train.accumulate": 1,
        "data.length": 4, "data.source_length": 1, "eval.batch_size": 1,
        "log.every": 1, "eval.every": 0, "checkpoint.every": 0, "data.limit": 0,
        "prompt.shots": 0, "prompt.shots_seed": 0, "prompt.shots_order": 0, "eval.limit": 0, "decode.samples": 0, "checkpoint.keep_best": 0, "eval.patience": 0, "data.threads": 0,
        "train.stuck_after": 0, "train.stop_at": 0, "eval.ngram": 0,
    }  # fmt: skip
    for key, minimum in least.items():
        section, name = key.split(".")
        if config[section][name] < minimum:
            raise ValueError(
                f"{key}={config[section][name]} must be at least {minimum}"
            )
    choices = {
        "data.on_error": sources.ON_ERROR, "data.on_long": features.ON_LONG,
        "eval.mode": ("min", "max"),
        "prompt.label_norm": classify.LABEL_NORMS,
        "tokenizer.kind": tokenizers.KINDS,
    }  # fmt: skip
    for key, accepted in choices.items():
        section, name = key.split(".")
        if config[section][name] not in accepted:
            raise ValueError(schema.unknown(key, config[section][name], accepted))
    templates.template_of(config.prompt.template)
    if config.seed < 0:
        raise ValueError(f"seed={config.seed} must be at least 0")
    _check_ranges(config)
    _check_pairs(config)


def _check_ranges(config: ConfigDict) -> None:
    """Raise ValueError for numbers outside what they mean."""
    if not all(isinstance(b, int) and b > 0 for b in config.data.buckets):
        raise ValueError(
            f"data.buckets={tuple(config.data.buckets)!r} takes lengths of at least 1"
        )
    if not 0 <= config.loss.label_smoothing < 1:
        raise ValueError(
            f"loss.label_smoothing={config.loss.label_smoothing} must be at least 0 "
            "and below 1"
        )
    if not 0 <= config.loss.z_loss < math.inf:
        raise ValueError(f"loss.z_loss={config.loss.z_loss} must be at least 0")
    if not 0 <= config.train.ema < 1:
        raise ValueError(f"train.ema={config.train.ema} must be at least 0 and below 1")


def _check_pairs(config: ConfigDict) -> None:
    """Raise ValueError for values that exclude another."""
    if config.train.batch_size % config.train.accumulate:
        raise ValueError(
            f"train.batch_size={config.train.batch_size} is not divisible by "
            f"train.accumulate={config.train.accumulate}; change one of them"
        )
    if config.train.only and (config.lora.rank or config.soft.kind):
        section = "lora" if config.lora.rank else "soft"
        raise ValueError(
            f"train.only={tuple(config.train.only)!r}: with {section} only what it adds "
            f"is trained; name more of it in {section}.also"
        )
    if config.prompt.shots and config.architecture == "encoder":
        raise ValueError(
            f"prompt.shots={config.prompt.shots}: an encoder reads one example at a time; "
            "shots are for a decoder or an encoder-decoder"
        )
    if config.eval.ema and not config.train.ema:
        raise ValueError("eval.ema=True needs averaged parameters: set train.ema")


def check_objective(config: ConfigDict, name: str, objective) -> None:
    """Raise ValueError for a loss over the whole batch that would be cut in parts, and
    for yardsticks of plain text beside another objective than clm.
    """
    for key, off in (("xz", False), ("ngram", 0)):
        if config.eval[key] and name != "clm":
            raise ValueError(
                f"eval.{key} is for plain text (objective clm), not for objective="
                f"{name!r}; set it to {off}"
            )
    if objective.whole_batch and config.train.accumulate != 1:
        raise ValueError(
            f"train.accumulate={config.train.accumulate}: objective="
            f"{config.objective!r} compares every example of a batch with all others; "
            "set it to 1"
        )


def check_init(config: ConfigDict) -> None:
    """Raise ValueError when a work directory as init is given another tokenizer."""
    path, init = config.tokenizer.path, config.init
    own = pathlib.Path(init) / "tokenizer"
    if not (init and path and own.exists()):
        return
    if pathlib.Path(path).resolve() != own.resolve():
        raise ValueError(
            f"tokenizer.path={path!r}: init={init!r} brings its own tokenizer; leave "
            "tokenizer.path empty"
        )
