"""From a checkpoint directory to a model and its parameters, tensor by tensor."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import json
import math
import pathlib
import typing
from collections.abc import Mapping

from lmtasks import families
from lmtasks import schema
from lmtasks.hf import files
from lmtasks.hf import filling
from lmtasks.hf import llama2c
from lmtasks.hf import names
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models import model as models
from lmtasks.models.config import TransformerConfig
from lmtasks.training import masks
from lmtasks.types import Params

_HEADS = {
    "ForCausalLM": "lm", "LMHeadModel": "lm", "ForMaskedLM": "lm", "ForPreTraining": "lm",
    "ForConditionalGeneration": "lm", "MTModel": "lm", "MarianModel": "none",
    "ForSequenceClassification": "classify", "ForTokenClassification": "tag",
    "ForQuestionAnswering": "span", "Model": "none",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory of Hugging Face's form, its config.json understood.

    Attributes:
        folder: where it is.
        kind: its model_type. family: that reads it.
        cfg: the shape.
        head: "lm" | "classify" | "tag" | "span" | "none", of its class.
        labels: names of the classes, () where the file only numbers them.
        classes: C of a class head.
        values: config.json as it is. unread: its keys that nobody reads.
        weights: its tensors.
    """

    folder: pathlib.Path
    kind: str
    family: table.Family
    cfg: TransformerConfig
    head: str
    labels: tuple[str, ...]
    classes: int
    values: Mapping[str, typing.Any]
    unread: tuple[str, ...]
    weights: files.Weights

    @property
    def dtype(self) -> str:
        """Return the type most of its numbers are stored in."""
        sizes: dict[str, int] = collections.Counter()
        for name, shape in self.weights.shapes.items():
            sizes[str(self.weights.dtypes[name])] += math.prod(shape)
        return max(sizes, key=sizes.get)

    def model(self) -> models.Model:
        """Return the model with the head that the checkpoint has."""
        return models.Model(self.family.architecture, self.cfg, self.head, self.classes)


def is_checkpoint(folder: str | pathlib.Path) -> bool:
    """Return whether this is a checkpoint directory, or a file of llama2.c."""
    if llama2c_of(pathlib.Path(folder)):
        return True
    try:
        values = json.loads((pathlib.Path(folder) / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "model_type" in values


def folder_of(place: str | pathlib.Path) -> pathlib.Path:
    """Return the directory of a checkpoint, which a file of llama2.c lies in."""
    place = pathlib.Path(place)
    return place.parent if place.is_file() else place


def families_by_type() -> dict[str, str]:
    """Return {model_type: name of the family's module}."""
    out = {}
    for name in schema.modules_of(families):
        out |= dict.fromkeys(family_of(name).types, name)
    return out


def family_of(name: str) -> table.Family:
    """Return the family of a module of lmtasks.families."""
    return importlib.import_module(f"{families.__name__}.{name}").FAMILY


def open_checkpoint(folder: str | pathlib.Path) -> Checkpoint:
    """Return a checkpoint directory, its config.json and tensor names read.

    Raises:
        ValueError: no such directory, no weights, an unknown model type, or a setting
            that is not implemented.
    """
    folder = pathlib.Path(folder)
    where = str(folder / "config.json")
    if binary := llama2c_of(folder):
        values, weights = llama2c.read(binary)
        kind, family, where = "llama", llama2c.FAMILY, str(binary)
        folder = binary.parent
    else:
        values, kind, family = _described(folder)
        weights = files.find(folder)
    read = settings.Settings(values, where)
    there = {n.removeprefix(family.prefix) for n in weights.shapes} | set(
        weights.shapes
    )
    cfg = _shape(family, read, there)
    _check_start(read, cfg)
    head, labels = _head(read), _labels(read)
    return Checkpoint(
        folder=folder,
        kind=kind,
        family=family,
        cfg=cfg,
        head=head,
        labels=() if all(x.startswith("LABEL_") for x in labels) else labels,
        classes=len(labels) if head in ("classify", "tag") else 0,
        values=values,
        unread=tuple(read.unread()),
        weights=weights,
    )


def _shape(family: table.Family, read: settings.Settings, there) -> TransformerConfig:
    """Return the shape; whatever is wrong with the values is one ValueError."""
    try:
        return family.read(read, there)
    except ValueError as error:
        if str(error).startswith(read.where):
            raise
        raise ValueError(f"{read.where} describes no model: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        key = read.last
        raise ValueError(
            f"{read.where} is not understood at {key}={read.values.get(key)!r:.80} "
            f"({error!r:.80}); fetch the file again or correct it"
        ) from None


def _check_start(read: settings.Settings, cfg: TransformerConfig) -> None:
    start = read.take("decoder_start_token_id", 0)
    if not 0 <= start < cfg.vocab:
        raise ValueError(
            f"{read.where}: decoder_start_token_id={start} is no piece of a vocabulary "
            f"of {cfg.vocab}; fetch the file again or correct it"
        )


def llama2c_of(path: pathlib.Path) -> pathlib.Path | None:
    """Return the file of llama2.c that is meant: itself, or the only one of a folder
    without config.json.
    """
    if path.suffix == ".bin" and not path.is_dir():
        return path
    if not path.is_dir() or (path / "config.json").exists():
        return None
    found = llama2c.files_of(path)
    return found[0] if len(found) == 1 else None


def _described(folder: pathlib.Path) -> tuple[dict, str, table.Family]:
    """Return (config.json, model_type, family) of a directory."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no directory; give that of a checkpoint")
    values = _values(folder / "config.json")
    kind, known = values.get("model_type"), families_by_type()
    if kind is None:
        raise ValueError(
            f"{folder / 'config.json'} has no 'model_type', which says how to read the "
            f"weights; known: {', '.join(sorted(known))}"
        )
    if not isinstance(kind, str) or kind not in known:
        where = f"{folder / 'config.json'}: model_type"
        raise ValueError(schema.unknown(where, str(kind), sorted(known)))
    return values, kind, family_of(known[kind])


def _values(path: pathlib.Path) -> dict:
    if not path.is_file():
        raise ValueError(
            f"{path.parent} has no config.json, which says what its weights mean; "
            "fetch it too"
        )
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not valid json ({error}); fetch it again"
        ) from None
    if not isinstance(values, dict):
        raise ValueError(
            f"{path} is not a json object but {values!r:.40}; fetch it again"
        )
    return values


def _head(read: settings.Settings) -> str:
    name = (read.take("architectures", None) or ["Model"])[0]
    return next((h for end, h in _HEADS.items() if name.endswith(end)), "none")


def _labels(read: settings.Settings) -> tuple[str, ...]:
    found = read.take("id2label", None)
    if not found:
        return tuple(f"LABEL_{i}" for i in range(read.take("num_labels", 2)))
    if not all(key.isdecimal() for key in found):
        raise ValueError(
            f"{read.where}: id2label has the keys {', '.join(found):.80}, which are "
            "not the numbers of its classes; correct it"
        )
    return tuple(str(found[key]) for key in sorted(found, key=int))


def read_params(
    checkpoint: Checkpoint, model: models.Model, like: Params
) -> tuple[dict, names.Match]:
    """Return ({path: array}, what matched) of the model's parameters.

    Every array is made where it belongs: no more than a few rows of the file are in
    memory besides. Heads that the checkpoint does not have are left out.

    Args:
        checkpoint: opened.
        model: with one array per layer; its shape is the checkpoint's.
        like: its parameters as `jax.ShapeDtypeStruct`s with shardings.

    Raises:
        ValueError: tensors are missing, not expected, or of another shape.
    """
    parameters = names.parameters_of(model)
    wanted = names.tensors_of(checkpoint.family, checkpoint.kind, model, parameters)
    weights = checkpoint.weights
    found = names.match(checkpoint.family, wanted, weights)
    found = filling.without_other_classes(found, parameters, weights)
    filling.check(found, parameters, weights)
    return filling.fill(found, weights, parameters, masks.flat(like)), found
