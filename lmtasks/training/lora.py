"""Low-rank adaptation as a transform of the parameter tree (Hu et al., 2021,
arXiv:2106.09685).

`adapt` turns chosen weights into leaves `linear.LowRank`, `merge` turns them back into
plain arrays. Adapters are of a weight seen as the matrix [in, out] that a product
reads, whatever its dims.
"""

from __future__ import annotations

import dataclasses
import math
import typing

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import PartitionSpec

from lmtasks.layers import linear
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.training import masks
from lmtasks.types import Array
from lmtasks.types import Params


@dataclasses.dataclass(frozen=True)
class Lora:
    """Which weights are adapted, and how.

    Attributes:
        rank: R of the adapters; 0 = none.
        alpha: the adapters' product is multiplied by alpha / rank.
        dropout: on what an adapter reads, in training.
        rs: divide alpha by sqrt(rank) instead (Kalajdzievski, 2023,
            arXiv:2312.03732).
        targets: regular expressions over the paths of weights, as `train.freeze`.
        also: of parameters that are trained in full beside them.
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    rs: bool = False
    targets: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def __post_init__(self):
        if self.rank < 0:
            raise ValueError(
                f"lora.rank={self.rank} must be at least 1, or 0 for no adapters"
            )
        if self.rank and not self.targets:
            raise ValueError(
                f"lora.rank={self.rank} needs lora.targets: regular expressions over "
                "the paths of weights, such as 'attn/(query|value)$'"
            )
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"lora.alpha={self.alpha} must be above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"lora.dropout={self.dropout} must be at least 0 and below 1"
            )

    def scale(self, rank: int = 0) -> float:
        """Return what multiplies a @ b of this rank (0 = the run's)."""
        rank = rank or self.rank
        return self.alpha / (math.sqrt(rank) if self.rs else rank)


NONE = Lora()


def adapt(params: Params, axes: Params, lora: Lora, rng: Array) -> Params:
    """Return the tree with the targets as `linear.LowRank`: the same outputs, b = 0.

    As in the paper's code, a is uniform within 1 / sqrt(in), of a product's inputs;
    of a table, which is read by one row, within 1.

    Args:
        params: plain arrays, one per layer or stacked.
        axes: their logical axis names (`models.logical_axes`).
        lora: rank 0 changes nothing.
        rng: key of the first values.

    Raises:
        ValueError: a target matches no weight that can be adapted.
    """
    found, leaves = _targets(params, axes, lora), flat(params)

    def one(i, name):
        base, side = leaves[name], found[name]
        bound = 1.0 if side.table else side.fan_in**-0.5
        shape = (*side.lead, side.fan_in, lora.rank)
        key = jax.random.fold_in(rng, i)
        a = jax.random.uniform(key, shape, jnp.float32, -bound, bound)
        b = jnp.zeros((*side.lead, lora.rank, side.fan_out), jnp.float32)
        return linear.LowRank(base, a, b, lora.scale(lora.rank))

    return replace(params, {name: one(i, name) for i, name in enumerate(found)})


def like(model: models.Model, lora: Lora) -> tuple[Params, Params]:
    """Return (shapes, logical axis names) of a model's parameters, adapted.

    Raises:
        ValueError: as `adapt`.
    """
    boxed = jax.eval_shape(model.init, jax.random.key(0))
    shapes, axes = models.unbox(boxed), nn.get_partition_spec(boxed)
    old, found = flat(axes), _targets(shapes, axes, lora)
    if not found:
        return shapes, axes
    new = jax.eval_shape(lambda p: adapt(p, axes, lora, jax.random.key(0)), shapes)
    names = {
        name: linear.LowRank(old[name], *side.axes, lora.scale(lora.rank))
        for name, side in found.items()
    }
    return new, replace(axes, names)


def merge(params: Params) -> Params:
    """Return the tree with every adapted weight as the one array it stands for."""
    whole = lambda x: x.merged() if is_adapted(x) else x
    return jax.tree.map(whole, params, is_leaf=is_adapted)


def with_dropout(apply: typing.Callable, lora: Lora) -> typing.Callable:
    """Return `apply` (params, batch, rng) with dropout on what adapters read, where an
    rng is given; each weight draws for itself, and layers that share one (ALBERT)
    drop the same inputs.
    """
    if not (lora.rank and lora.dropout):
        return apply

    def dropping(params, batch, rng=None):
        if rng is None:
            return apply(params, batch, rng)
        rng, own = jax.random.split(rng)
        return apply(_with_keys(params, own, lora.dropout), batch, rng)

    return dropping


def trained(params: Params, also: dict[str, tuple[str, ...]]) -> Params:
    """Return a tree of bools: True for adapters, for soft prompts ("soft/..."), and
    for what the patterns match that `also` has under the config keys they are of.
    """
    names = [masks.name_of(path) for path, _ in jax.tree.leaves_with_path(params)]
    adapted = {name for name, x in flat(params).items() if is_adapted(x)}
    own = {f"{name}/{part}" for name in adapted for part in "ab"}
    own |= {name for name in names if name.startswith("soft/")}
    for key, patterns in also.items():
        more = jax.tree.leaves(masks.freeze_mask(params, patterns, key))
        own |= {name for name, extra in zip(names, more, strict=True) if extra}
    flags = [name in own for name in names]
    return jax.tree.unflatten(jax.tree.structure(params), flags)


def is_adapted(leaf) -> bool:
    """Return whether a leaf is a weight with adapters."""
    return isinstance(leaf, linear.LowRank)


def flat(params: Params) -> dict[str, typing.Any]:
    """Return {path: leaf}, adapted weights whole."""
    found = jax.tree.leaves_with_path(params, is_leaf=_whole)
    return {masks.name_of(path): leaf for path, leaf in found}


def replace(params: Params, new: dict[str, typing.Any]) -> Params:
    """Return the tree with the leaves of these paths replaced."""

    def one(path, leaf):
        return new.get(masks.name_of(path), leaf)

    return jax.tree.map_with_path(one, params, is_leaf=_whole)


def _with_keys(params: Params, rng: Array, rate: float) -> Params:
    """Return the tree with a key for each weight's dropout, and one for each layer."""
    new = {}
    for i, (name, x) in enumerate(flat(params).items()):
        if is_adapted(x):
            key = jax.random.fold_in(rng, i)
            keys = jax.random.split(key, x.a.shape[0]) if x.a.ndim == 3 else key
            new[name] = x.replace(key=keys, rate=rate)
    return replace(params, new)


def _whole(leaf) -> bool:
    return is_adapted(leaf) or isinstance(leaf, PartitionSpec)


@dataclasses.dataclass(frozen=True)
class _Matrix:
    """A weight as [*lead, fan_in, fan_out], the logical axes of a and b, and whether
    it is a table.
    """

    lead: tuple[int, ...]
    fan_in: int
    fan_out: int
    axes: tuple[PartitionSpec, PartitionSpec]
    table: bool


def _matrix(shape: tuple[int, ...], names) -> _Matrix | None:
    """Return a weight as a matrix; None for what no product reads."""
    names, stacked = tuple(names), int(names[:1] == ("layers",))
    lead, shape = shape[:stacked], shape[stacked:]
    first, names = names[:stacked], names[stacked:]
    inputs = layout.summed_dims(names, len(shape))
    if not inputs:
        return None
    # Neighbouring dims as one are cut like the first of them.
    axes = (
        PartitionSpec(*first, names[0], None),
        PartitionSpec(*first, None, names[inputs]),
    )
    sizes = math.prod(shape[:inputs]), math.prod(shape[inputs:])
    return _Matrix(lead, *sizes, axes, names[0] == "vocab")


def _targets(params: Params, axes: Params, lora: Lora) -> dict[str, _Matrix]:
    """Return {path: matrix} of the weights to adapt, in the tree's order."""
    if not lora.rank:
        return {}
    names = flat(axes)
    sides = {path: _matrix(x.shape, names[path]) for path, x in flat(params).items()}
    known = {path: side for path, side in sides.items() if side}
    chosen = masks.matching(list(known), lora.targets, "lora.targets")
    return {path: side for path, side in known.items() if path in chosen}
