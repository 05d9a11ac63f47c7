"""From a model and its parameters to a checkpoint directory that transformers loads."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping

import ml_dtypes
import numpy as np
from safetensors import numpy as safetensors

from lmtasks.hf import files
from lmtasks.hf import layout
from lmtasks.hf import names
from lmtasks.hf import settings
from lmtasks.hf import table
from lmtasks.models import model as models
from lmtasks.models.config import TransformerConfig

DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
_ENDS = {
    "classify": "ForSequenceClassification",
    "tag": "ForTokenClassification",
    "span": "ForQuestionAnswering",
    "none": "Model",
}
_WINDOW = 1 << 15


@dataclasses.dataclass(frozen=True)
class Export:
    """What is written.

    Attributes:
        family, kind: that and as which model_type.
        model: its shape and head.
        labels: names of its classes. problem: transformers' problem_type where it is
            not the usual single label.
        dtype: of the numbers, one of DTYPES.
        base: config.json the model was imported with, or {}.
        shard: largest file of weights in bytes.
    """

    family: table.Family
    kind: str
    model: models.Model
    labels: tuple[str, ...] = ()
    problem: str = ""
    dtype: str = "float32"
    base: Mapping = dataclasses.field(default_factory=dict)
    shard: int = 5 * 10**9


def config_of(export: Export) -> dict:
    """Return config.json: the imported one where the shape is still that.

    Raises:
        ValueError: the model type cannot hold this shape.
    """
    cfg, family = export.model.cfg, export.family
    values = {"model_type": export.kind, **export.base}
    if not _same(export, values):
        values = {k: v for k, v in values.items() if k.endswith("_token_id")}
        values |= {"model_type": export.kind} | family.write(cfg, export.kind)
        _check(export, values)
    values["architectures"] = [class_of(family, export.kind, export.model.head)]
    values.pop("torch_dtype", None)
    values["dtype"] = export.dtype
    if export.model.head in ("classify", "tag"):
        count = export.model.classes
        labels = export.labels or tuple(f"LABEL_{i}" for i in range(count))
        values["id2label"] = {str(i): name for i, name in enumerate(labels)}
        values["label2id"] = {name: i for i, name in enumerate(labels)}
        if values.get("problem_type", "single_label_classification") != export.problem:
            values.pop("problem_type", None)
        if export.problem:
            values["problem_type"] = export.problem
    return values


def class_of(family: table.Family, kind: str, head: str) -> str:
    """Return transformers' class of a model type with a head."""
    if kind == "marian" and head == "lm":
        return "MarianMTModel"
    if kind == "gemma3_text" and head == "none":
        return "Gemma3TextModel"
    return family.types[kind] + _ENDS.get(head, family.lm)


def _same(export: Export, values: Mapping) -> bool:
    family, cfg, head = export.family, export.model.cfg, export.model.head
    try:
        found = family.read(settings.Settings(values), _Anything(cfg))
    except ValueError:
        return False
    return settings.canonical(found, head) == settings.canonical(cfg, head)


class _Anything:
    """Stands for the names of tensors: a head's table is there where it is untied."""

    def __init__(self, cfg: TransformerConfig):
        self._untied = not cfg.tied

    def __contains__(self, name: str) -> bool:
        return self._untied and name == "lm_head.weight"


def _check(export: Export, values: Mapping):
    """Raise ValueError unless the written config.json reads as the same shape."""
    family, cfg, head = export.family, export.model.cfg, export.model.head
    kind = values["model_type"]
    try:
        found = family.read(settings.Settings(values), _Anything(cfg))
    except ValueError as error:
        raise ValueError(
            f"a {kind} checkpoint cannot hold this model: {error}"
        ) from None
    a, b = settings.canonical(found, head), settings.canonical(cfg, head)
    if a == b:
        return
    wrong = list(_differences(a, b))
    raise ValueError(
        f"a {kind} checkpoint cannot hold this model: it would come back with "
        f"{', '.join(wrong)}; export another family, or keep the work directory"
    )


def _differences(a, b, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if dataclasses.is_dataclass(x):
            yield from _differences(x, y, f"{field.name}.")
        elif x != y:
            yield f"{prefix}{field.name}={x!r} instead of {y!r}"


def tensors(
    export: Export, arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, tensor) of all parameters, each once.

    Args:
        export: what is written.
        arrays: {path: array} of the parameters, one array per layer.
    """
    parameters = names.parameters_of(export.model)
    wanted = names.tensors_of(export.family, export.kind, export.model, parameters)
    bare = export.family.prefix if export.model.head == "none" else ""
    dtype = DTYPES[export.dtype]
    for row in wanted:
        ours = [(parameters[p].letters, np.asarray(arrays[p])) for p in row.ours]
        shape = layout.shape_of(row.layout, [(n, x.shape) for n, x in ours])
        out = np.empty(shape, dtype)
        for window in layout.windows(row.layout, ours, _WINDOW):
            part = out[window.rows].reshape(window.dims)
            for view, index in window.parts:
                part[index] = view
        yield row.theirs.removeprefix(bare), out


def write_weights(
    folder: pathlib.Path, export: Export, arrays: Mapping[str, np.ndarray]
) -> None:
    """Write config.json and the weights, in one file or in parts with an index."""
    text = json.dumps(config_of(export), indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n")
    part, size, parts, total = {}, 0, [], 0
    for name, x in tensors(export, arrays):
        if part and size + x.nbytes > export.shard:
            parts.append(_write_part(folder, part, len(parts)))
            part, size = {}, 0
        part[name], size = x, size + x.nbytes
        total += x.nbytes
    if not parts:
        _save(part, folder / files.SINGLE)
        return
    parts.append(_write_part(folder, part, len(parts)))
    weight_map = {}
    for i, found in enumerate(parts):
        final = f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors"
        (folder / _part_name(i)).rename(folder / final)
        weight_map |= dict.fromkeys(found, final)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / files.INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _part_name(number: int) -> str:
    return f"part-{number}.safetensors"


def _write_part(folder: pathlib.Path, part: dict, number: int) -> list[str]:
    _save(part, folder / _part_name(number))
    return list(part)


def _save(arrays: dict, path: pathlib.Path) -> None:
    safetensors.save_file(arrays, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library lets nobody else read it


def count(export: Export) -> int:
    """Return the number of parameters."""
    found = names.parameters_of(export.model)
    return sum(math.prod(p.shape) for p in found.values())
