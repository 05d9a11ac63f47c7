"""Which tensors of a checkpoint a model needs, and which of them are there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import jax

from lmtasks.hf import files
from lmtasks.hf import layout
from lmtasks.hf import table
from lmtasks.models import model as models
from lmtasks.training import masks

_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One of our parameters: its logical axes as letters, and its shape."""

    letters: tuple[str, ...]
    shape: tuple[int, ...]


def parameters_of(model: models.Model) -> dict[str, Parameter]:
    """Return {path: parameter} of a model with one array per layer."""
    model = model.for_decoding()
    boxed = jax.eval_shape(model.init, jax.random.key(0))
    axes = masks.flat(models.logical_axes(model))
    shapes = masks.flat(models.unbox(boxed))
    return {
        path: Parameter(layout.letters_of(axes[path]), tuple(x.shape))
        for path, x in shapes.items()
    }


def tensors_of(
    family: table.Family,
    kind: str,
    model: models.Model,
    parameters: Mapping[str, Parameter],
) -> list[table.Tensor]:
    """Return the tensors that hold the model's parameters, layers written out."""
    c = model.cfg
    depths = {"encoder": c.layers, "decoder": c.layers}
    if model.architecture == "encoder_decoder":
        depths["decoder"] = c.decoder_layers or c.layers
    out, covered = [], set()
    for row in family.table(c, kind, model.head):
        deep = "{l}" in row.theirs
        side = row.ours[0].split("/")[0]
        for i in range(depths[side] if deep else 1):
            ours = tuple(path.replace("{l}", str(i)) for path in row.ours)
            there = [path in parameters for path in ours]
            if not any(there):
                continue
            assert all(there) and not covered & set(ours), (row, there)
            theirs = row.theirs.replace("{l}", str(i))
            covered |= set(ours)
            out.append(dataclasses.replace(row, ours=ours, theirs=theirs))
    left = parameters.keys() - covered
    assert not left, f"the table of {kind} lacks {sorted(left)}"
    return out


@dataclasses.dataclass(frozen=True)
class Match:
    """What a checkpoint has of what a model needs.

    Attributes:
        there: (tensor, its name in the file) of all that is read.
        fresh: paths of our heads that the checkpoint does not have.
        unused: names of heads that the model does not have.
        copies: (name in the file, name of what it must equal) of tied weights.
    """

    there: list[tuple[table.Tensor, str]]
    fresh: list[str]
    unused: list[str]
    copies: list[tuple[str, str]]


def match(
    family: table.Family, wanted: list[table.Tensor], weights: files.Weights
) -> Match:
    """Return which tensor is which.

    Names may lack the prefix of the bare model, and old files say gamma and beta.

    Raises:
        ValueError: tensors are missing or not expected; both lists at once.
    """
    known = {t.theirs for t in wanted} | {c for t in wanted for c in t.copies}
    named = _named(family, known, weights)
    there = [(t, named[t.theirs]) for t in wanted if t.theirs in named]
    # A head may stand under the name of its tied copy alone (BART's lm_head).
    absent = [t for t in wanted if t.theirs not in named]
    for t in list(absent):
        copy = next((c for c in t.copies if c in named), None)
        if copy is not None:
            there.append((t, named[copy]))
            absent.remove(t)
    fresh = [t for t in absent if _is_head(t, family)]
    missing = sorted(t.theirs for t in absent if not _is_head(t, family))
    more = named.keys() - known
    more = {n for n in more if not _any(family.ignored, n)}
    unused = sorted(n for n in more if _any(family.heads, n))
    unexpected = sorted(more - set(unused))
    if missing or unexpected:
        raise ValueError(
            f"{weights.where} does not fit its config.json: "
            f"{_list('missing', missing)}; {_list('not expected', unexpected)}; take "
            "both from one checkpoint"
        )
    first = {t.theirs: name for t, name in there}
    copies = [
        (named[c], first[t.theirs])
        for t, _ in there
        for c in t.copies
        if c in named and named[c] != first[t.theirs]
    ]
    paths = sorted(path for t in fresh for path in t.ours)
    return Match(there, paths, unused, copies)


def _named(family: table.Family, known: set[str], weights) -> dict[str, str]:
    """Return {name in the table: name in the file}; one that comes twice keeps its own
    the second time, so that it is not expected.
    """
    out: dict[str, str] = {}
    for name in sorted(weights.shapes, key=lambda n: n not in known):
        usual = _usual(name, family.prefix, known)
        out[name if usual in out else usual] = name
    return out


def _usual(name: str, prefix: str, known: set[str]) -> str:
    """Return the table's name of a tensor of a file."""
    if name in known:
        return name
    tail, _, last = name.rpartition(".")
    renamed = {"gamma": "weight", "beta": "bias"}.get(last)
    full = f"{tail}.{renamed}" if renamed else name
    for one in (full, prefix + full):
        if one in known:
            return one
    return name


def _is_head(tensor: table.Tensor, family: table.Family) -> bool:
    """Return whether a run may start without this tensor: a head that is new.

    A decoder's vocabulary head is none of these: without it there is no model.
    """
    top, _, name = tensor.ours[0].partition("/")
    small = ("out", "out_bias", "pooler", "pooler_bias", "bias")
    return top == "top" and (family.architecture == "encoder" or name in small)


def _any(patterns, name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _list(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) or "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what} ({len(names)}): {shown}{more}"
