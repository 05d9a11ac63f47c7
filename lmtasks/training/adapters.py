"""Adapters apart from the weights they are beside: what a LoRA run learns, alone."""

from __future__ import annotations

import difflib
import math
import re

import jax.numpy as jnp

from lmtasks.layers import linear
from lmtasks.models import layout
from lmtasks.training import lora as loras
from lmtasks.types import Array
from lmtasks.types import Params

# Path of a weight -> (a [in, R], b [R, out]), one entry per layer.
Adapters = dict[str, tuple[Array, Array]]


def adapters_of(params: Params) -> Adapters:
    """Return {path of a weight: (a [in, R], b [R, out])}, one entry per layer.

    Paths are those of the per-layer tree, whatever the layout of `params`.
    """
    flat = loras.flat(layout.unstack_layers(params))
    return {name: (x.a, x.b) for name, x in flat.items() if loras.is_adapted(x)}


def with_adapters(params: Params, adapters: Adapters, lora: loras.Lora) -> Params:
    """Return the tree with these adapters beside its weights, in place of its own.

    Args:
        params: plain or adapted, one array per layer or stacked.
        adapters: as `adapters_of` returns them. Ranks may differ from weight to
            weight, but not within a stack.
        lora: gives the scale of a rank.

    Raises:
        ValueError: no weight has the path of an adapter, or its size is another.
    """
    flat = loras.flat(params)
    placed = _stacked(adapters, flat)
    if missing := sorted(placed.keys() - flat.keys()):
        near = difflib.get_close_matches(missing[0], flat, n=3, cutoff=0.0)
        raise ValueError(
            f"the adapter {missing[0]!r} belongs to none of {len(flat)} parameters; "
            f"the nearest are {', '.join(near)}"
        )
    new = {}
    for path, (a, b) in placed.items():
        old = flat[path]
        base = old.base if loras.is_adapted(old) else old
        if math.prod((*a.shape[:-1], b.shape[-1])) != base.size:
            raise ValueError(
                f"the adapter {path!r} is of a matrix [{a.shape[-2]}, {b.shape[-1]}] "
                f"and does not fit the weight {base.shape}"
            )
        new[path] = linear.LowRank(base, a, b, lora.scale(a.shape[-1]))
    return loras.replace(params, new)


def _stacked(adapters: Adapters, flat: dict) -> Adapters:
    """Return the adapters by the paths of `flat`, those of a stack joined."""
    placed, stacks = {}, {}
    for name, pair in adapters.items():
        path = re.sub(r"\blayers_\d+\b", "layers", name)
        if name in flat or path not in flat:
            placed[name] = pair
            continue
        layer = int(re.search(r"\blayers_(\d+)\b", name)[1])
        stacks.setdefault(path, {})[layer] = pair
    for path, layers in stacks.items():
        pairs = [layers[i] for i in sorted(layers)]
        placed[path] = tuple(jnp.stack(side) for side in zip(*pairs, strict=True))
    return placed
