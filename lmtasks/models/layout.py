"""Two layouts of the same parameters: one array per layer, or stacked over layers."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp

from lmtasks.layers import linear
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


# First logical axes of what a product reads; tables of positions stay as they are.
_MULTIPLIED = ("embed", "heads", "mlp", "embed_in", "vocab")


def for_decoding(params: Params, axes: Params, weights: str) -> Params:
    """Return per-layer parameters in the dtype that decoding reads them in.

    Args:
        params: the model's, one array per layer.
        axes: their logical axis names (`model.logical_axes` of the same layout).
        weights: "" = unchanged | "float32" | "bfloat16" | "int8" (weights of products
            rounded to 8 bits with a scale per output, the rest unchanged).
    """
    if weights != "int8":
        cast = lambda x: x.astype(weights) if weights else x
        return jax.tree.map(cast, params)

    def one(x, names):
        if x.ndim < 2 or names[0] not in _MULTIPLIED:
            return x
        inputs = 2 if names[0] == "heads" else 1
        return linear.quantized(x, inputs=inputs, table=names[0] == "vocab")

    return jax.tree.map(one, params, axes)
