"""A family's table: which of our parameters is which tensor of a checkpoint."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from collections.abc import Mapping

from lmtasks.hf import settings
from lmtasks.models.config import TransformerConfig


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint.

    Attributes:
        ours: paths of our parameters that it holds, "{l}" for the layer.
        theirs: its name there.
        layout: see hf.layout.
        copies: names under which a file may list it once more (tied weights).
    """

    ours: tuple[str, ...]
    theirs: str
    layout: str
    copies: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Family:
    """How checkpoints of one or several model types are read and written.

    Attributes:
        architecture: of the model.
        types: model_type -> how their classes begin ("bert": "Bert").
        read: (settings, names of the tensors) -> shape; refuses what it cannot.
        write: (shape, model_type) -> the keys of config.json that `read` reads.
        table: (shape, model_type, head) -> the tensors there may be; those without a
            parameter of ours in a model are left out.
        prefix: what the names in a checkpoint of the bare model lack ("bert.").
        lm: how the class with a vocabulary head ends.
        ignored: regular expressions of tensors that hold nothing learned.
        heads: regular expressions of tensors of heads, which a run need not have.
    """

    architecture: str
    types: Mapping[str, str]
    read: Callable[[settings.Settings, typing.Container[str]], TransformerConfig]
    write: Callable[[TransformerConfig, str], dict]
    table: Callable[[TransformerConfig, str, str], list[Tensor]]
    prefix: str = ""
    lm: str = "ForMaskedLM"
    ignored: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()


def dense(
    ours: str | tuple[str, ...],
    theirs: str,
    layout: str,
    bias: str = "",
    copies: tuple[str, ...] = (),
) -> list[Tensor]:
    """Return the weight of a projection, and its bias where a layout is given."""
    ours = (ours,) if isinstance(ours, str) else ours
    found = [Tensor(ours, f"{theirs}.weight", layout, copies)]
    if bias:
        biases = tuple(f"{path}_bias" for path in ours)
        found.append(Tensor(biases, f"{theirs}.bias", bias))
    return found


def norm(ours: str, theirs: str, letter: str = "D") -> list[Tensor]:
    """Return the scale and the bias of a norm."""
    return [
        Tensor((f"{ours}/scale",), f"{theirs}.weight", letter),
        Tensor((f"{ours}/bias",), f"{theirs}.bias", letter),
    ]


def head(
    kind: str,
    *,
    pooler: str = "",
    classify: str = "classifier",
    tag: str = "classifier",
    span: str = "qa_outputs",
) -> list[Tensor]:
    """Return the tensors of a class head: "classify", "tag" or "span", else none."""
    names = {"classify": classify, "tag": tag, "span": span}
    found = dense("top/out", names[kind], "C D", "C") if kind in names else []
    return found + (dense("top/pooler", pooler, "O D", "O") if pooler else [])
