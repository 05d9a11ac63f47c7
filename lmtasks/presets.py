"""The model section of a config: a preset, the config's own values, the vocabulary."""

from __future__ import annotations

import dataclasses
import importlib

from ml_collections import ConfigDict

from lmtasks import families
from lmtasks import schema
from lmtasks.models import config as shapes
from lmtasks.models import model as models

# The preset of an architecture when the config names none.
DEFAULT_PRESETS = {
    "encoder": "bert/mini",
    "decoder": "llama/mini",
    "encoder_decoder": "t5/mini",
}


def preset_of(name: str, architecture: str) -> shapes.TransformerConfig:
    """Return the shape FAMILY/SIZE; "" is the mini one of the architecture."""
    name = name or DEFAULT_PRESETS[architecture]
    family, _, size = name.partition("/")
    names = schema.modules_of(families)
    if family not in names:
        raise ValueError(schema.unknown("model.preset's family", family, names))
    module = importlib.import_module(f"{families.__name__}.{family}")
    if size not in module.PRESETS:
        known = [f"{family}/{one}" for one in module.PRESETS]
        raise ValueError(schema.unknown("model.preset", name, known))
    return module.PRESETS[size]


def shape_of(config: ConfigDict) -> shapes.TransformerConfig:
    """Return the preset with the config's own values on top."""
    cfg = preset_of(config.model.preset, config.architecture)
    parts = {"attention": cfg.attention, "norm": cfg.norm, "positions": cfg.positions}
    changes = {}
    for key, part in parts.items():
        changes[key] = dataclasses.replace(part, **_given(config.model[key]))
    own = _given(config.model)
    skip = {"preset", *parts}
    changes |= {key: value for key, value in own.items() if key not in skip}
    # A narrower model keeps no head dim or scale that belonged to the preset's width.
    if "width" in own and "head_scale" not in own and cfg.head_scale != 1:
        changes["head_scale"] = own["width"] ** -0.5
    return dataclasses.replace(cfg, **changes)


def _given(section: ConfigDict) -> dict:
    values = {key: section[key] for key in section}
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if value is not None and not isinstance(value, ConfigDict)
    }


def model_of(config, cfg, objective, tokenizer) -> models.Model:
    """Return the model with its vocabulary and head set, and lengths checked."""
    vocab = config.model.vocab
    if config.init and vocab is not None and vocab < tokenizer.size:
        raise ValueError(
            f"init={config.init!r} has a table of {vocab} rows and the tokenizer "
            f"{tokenizer.size} pieces: both are of one checkpoint, or the prompt template "
            "adds markers; take its own tokenizer and prompt.template='plain'"
        )
    if vocab is not None and vocab < tokenizer.size:
        raise ValueError(
            f"model.vocab={vocab} is smaller than the tokenizer's {tokenizer.size} "
            "pieces; raise it or leave it unset"
        )
    cfg = dataclasses.replace(cfg, vocab=vocab or tokenizer.size)
    if config.architecture == "encoder" and not objective.pools:
        cfg = dataclasses.replace(cfg, pooling="cls")
    needed = config.data.length
    if config.architecture == "encoder_decoder":
        needed = max(needed, config.data.source_length)
    if objective.writes:
        prompt = config.data.length if config.architecture == "decoder" else 1
        needed = max(needed, prompt + config.decode.max_tokens)
    if config.soft.kind:
        needed += config.soft.length
    if cfg.positions.kind == "learned" and needed > cfg.positions.size:
        if config.model.positions.size is None:  # a preset from scratch may grow
            positions = dataclasses.replace(cfg.positions, size=needed)
            cfg = dataclasses.replace(cfg, positions=positions)
            config.model.positions.size = needed  # stored: it is a parameter's shape
        else:
            soft = f", soft.length={config.soft.length}" if config.soft.kind else ""
            raise ValueError(
                f"model.positions.size={cfg.positions.size} is too small: data.length="
                f"{config.data.length} (of prompts){soft} and decode.max_tokens="
                f"{config.decode.max_tokens} need {needed} positions; lower one of them"
            )
    return models.Model(config.architecture, cfg, objective.head, objective.classes)
