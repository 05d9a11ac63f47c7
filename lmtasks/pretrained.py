"""config.init: the shape and the tokenizer of a run that does not start from nothing."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from ml_collections import ConfigDict

from configs import base
from lmtasks import schema
from lmtasks import tokenizers
from lmtasks.hf import hub
from lmtasks.hf import reading
from lmtasks.hf import settings
from lmtasks.models.config import TransformerConfig

# Keys of the model that do not change what its weights mean.
_FREE = """
    dropout attention_dropout init init_std scan_layers remat dtype
    attention.implementation positions.scaling positions.factor positions.low
    positions.high positions.original positions.scaled
"""
FREE = frozenset(_FREE.split())


def derive(config: ConfigDict, folder: str | None) -> None:
    """Fill config.model from what config.init holds; nothing without init.

    A checkpoint directory gives all of it; a work directory gives its own model where
    the config says nothing about one. A started run goes on without either.

    Raises:
        ValueError: init is neither, or the config asks for another model.
    """
    if not config.init:
        return
    stored = _stored(folder)
    started = stored is not None and stored.get("init") == config.init
    if started and not _kept(config.init):
        _take(config, stored["model"])
        return
    config.init = hub.local(config.init)
    if reading.is_checkpoint(config.init):
        _derive(config, reading.open_checkpoint(config.init))
        return
    values = _stored(config.init)
    if not isinstance(values, dict) or "model" not in values:
        found = "there is no" if values is None else "'model' and 'model_type' lack in"
        raise ValueError(
            f"init={config.init!r} is neither a work directory nor a checkpoint "
            f"directory: {found} config.json; give one of the two"
        )
    if _unset(config.model):
        _take(config, values["model"])


def _kept(init: str) -> bool:
    return reading.is_checkpoint(init) or _stored(init) is not None


def _stored(folder: str | None) -> dict | None:
    """Return config.json of a folder, or None."""
    path = pathlib.Path(folder or "") / "config.json"
    if not folder or not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not valid json ({error}); restore it") from None


def _unset(section: ConfigDict) -> bool:
    values = schema.keys_of(section).values()
    return all(value in (None, "") for value in values)


def _take(config: ConfigDict, model: dict) -> None:
    """Set the keys of the model that the config leaves open."""
    for key, value in _flat(model).items():
        _set(config.model, key, value)


def _flat(values: dict, prefix: str = "") -> dict:
    out = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = tuple(value) if isinstance(value, list) else value
    return out


def _set(section: ConfigDict, key: str, value) -> None:
    *parts, last = key.split(".")
    for part in parts:
        section = section[part]
    if last in section and section[last] in (None, ""):
        section[last] = value


def _derive(config: ConfigDict, found: reading.Checkpoint) -> None:
    where = f"init={config.init!r} is {found.kind}"
    if config.architecture != found.family.architecture:
        raise ValueError(
            f"architecture={config.architecture!r}: {where}, of architecture "
            f"{found.family.architecture!r}; set config.architecture to that"
        )
    if config.model.preset:
        raise ValueError(
            f"model.preset={config.model.preset!r}: {where} and brings its own shape; "
            "leave model.preset empty"
        )
    own = keys_of(found.cfg)
    given = schema.keys_of(config.model)
    for key, value in own.items():
        asked = given.get(key)
        asked = tuple(asked) if isinstance(asked, list) else asked
        if asked is not None and key not in FREE and asked != value:
            raise ValueError(
                f"model.{key}={asked!r}: {where} with {value!r}; leave it unset, or "
                "train another model"
            )
        _set(config.model, key, value)


def config_for(init: str) -> ConfigDict:
    """Return the config of what a checkpoint directory can do by its class.

    Raises:
        ValueError: it has a body without a head for any task here.
    """
    found = reading.open_checkpoint(hub.local(init))
    config = base.finetune()
    config.architecture = found.family.architecture
    if found.cfg.positions.kind == "learned":
        _shorten(config, found.cfg.positions.size)
    tasks = {"decoder": "text", "encoder_decoder": "seq2seq"}
    if config.architecture == "encoder":
        _read_by(config, found, init)
    else:
        config.task = tasks[config.architecture]
    return config


# What an encoder's head is asked for; a text has masks to be filled.
_TASKS = {
    "classify": "classification",
    "tag": "tagging",
    "span": "extractive_qa",
    "lm": "text",
}


def _read_by(config: ConfigDict, found: reading.Checkpoint, init: str) -> None:
    """Set the task that an encoder's head solves, with the labels it has."""
    if found.head not in _TASKS:
        raise ValueError(
            f"{init} is an encoder without a head: say what it shall learn with "
            "--config=FILE.py, or give it to a training as config.init (lmtasks train "
            f"--config=sst2 --config.init={init} --workdir=...)"
        )
    config.task = _TASKS[found.head]
    if found.head not in ("classify", "tag"):
        return
    problem = found.values.get("problem_type")
    if found.head == "classify" and (problem == "regression" or found.classes == 1):
        config.classify.kind = "regression"
        return
    if problem == "multi_label_classification":
        config.classify.kind = "multi"
    config.data.labels = found.labels or tuple(
        f"LABEL_{i}" for i in range(found.classes)
    )


def _shorten(config: ConfigDict, size: int) -> None:
    """Lower the lengths to what a table of `size` positions holds."""
    writes = config.architecture != "encoder"
    config.decode.max_tokens = min(64, size // 2) if writes else None
    config.data.length = min(config.data.length, size // 2 if writes else size)
    config.data.source_length = min(config.data.source_length, size)


def tokenizer_of(folder: str | pathlib.Path) -> tokenizers.Tokenizer:
    """Return the tokenizer of a checkpoint directory; role "start" is what its
    encoder-decoder's decoder begins with.
    """
    place = reading.folder_of(folder)
    found = tokenizers.load(place)
    start = (_stored(str(place)) or {}).get("decoder_start_token_id")
    if start is None:
        return found
    return dataclasses.replace(found, roles={**found.roles, "start": start})


def keys_of(cfg: TransformerConfig) -> dict:
    """Return {key below config.model: value} of a shape."""
    names = schema.keys_of(schema.defaults().model)
    return {key: settings.field_of(cfg, key) for key in names if key != "preset"}
