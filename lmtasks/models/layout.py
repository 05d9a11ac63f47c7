"""Two layouts of the same parameters: one array per layer, or stacked over layers."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp

from lmtasks.types import Params

_LAYER = re.compile(r"layers_(\d+)$")


def stack_layers(params: Params) -> Params:
    """Return the tree with each `layers_0 .. layers_{L-1}` as one stacked `layers`.

    Lossless both ways: `unstack_layers(stack_layers(p)) == p`, bit for bit.
    """
    if not isinstance(params, dict):
        return params
    numbered = {int(m[1]): k for k in params if (m := _LAYER.match(k))}
    out = {k: stack_layers(v) for k, v in params.items() if not _LAYER.match(k)}
    if numbered:
        layers = [params[numbered[i]] for i in range(len(numbered))]
        out["layers"] = jax.tree.map(lambda *x: jnp.stack(x), *layers)
    return out


def unstack_layers(params: Params) -> Params:
    """Return the tree with each stacked `layers` as `layers_0 .. layers_{L-1}`."""
    if not isinstance(params, dict):
        return params
    out = {k: unstack_layers(v) for k, v in params.items() if k != "layers"}
    if "layers" in params:
        depth = jax.tree.leaves(params["layers"])[0].shape[0]
        for i in range(depth):
            out[f"layers_{i}"] = jax.tree.map(lambda x, i=i: x[i], params["layers"])
    return out
