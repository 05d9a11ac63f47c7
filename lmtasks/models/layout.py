"""Two layouts of the same parameters: one array per layer, or stacked over layers."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp

from lmtasks.layers import integers
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


def summed_dims(names, dims: int) -> int:
    """Return how many leading dims a product sums over, of a per-layer array with
    these logical axis names and so many dims; 0 for what no product reads.
    """
    inputs = 2 if names and names[0] == "heads" else 1
    # Biases of heads have their axes, but nothing to be multiplied with.
    return 0 if dims <= inputs or names[0] not in _MULTIPLIED else inputs


def for_decoding(params: Params, axes: Params, weights: str) -> Params:
    """Return per-layer parameters as decoding reads them fastest.

    Weights of products become `linear.Rows`; biases, norms and tables of positions
    only change their dtype.

    Args:
        params: the model's, one array per layer.
        axes: their logical axis names (`model.logical_axes` of the same layout).
        weights: dtype of the weights: "float32" | "bfloat16" | "int8" (rounded to 8
            bits with a scale per output; the rest stays as it is).
    """

    def one(x, names):
        inputs = summed_dims(names, x.ndim)
        if not inputs:
            return x if weights == "int8" else x.astype(weights)
        table = names[0] == "vocab"
        return linear.laid_out(x, inputs=inputs, table=table, dtype=weights)

    return jax.tree.map(one, params, axes)


def with_integers(params: Params, axes: Params) -> Params:
    """Return the tree with the projections of layers as `integers.Integers`.

    Tables, heads and what stands between embeddings and layers stay as they are, and
    so do the two narrow matrices of adapters.

    Args:
        params: the model's, one array per layer or stacked, adapted or not.
        axes: their logical axis names (`model.logical_axes`).
    """

    def one(path, x, names):
        layer = any(str(getattr(k, "key", "")).startswith("layers") for k in path)
        own = names[1:] if names and names[0] == "layers" else names
        dims = len(x.shape) - (len(names) - len(own))
        if not layer or not summed_dims(own, dims):
            return x
        if isinstance(x, linear.LowRank):
            return x.replace(base=integers.Integers(x.base))
        return integers.Integers(x)

    adapted = lambda x: isinstance(x, linear.LowRank)
    return jax.tree_util.tree_map_with_path(one, params, axes, is_leaf=adapted)
