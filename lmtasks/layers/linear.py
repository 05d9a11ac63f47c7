"""The one projection every layer goes through, and the one way to make a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from lmtasks.types import Array

# Up to so many rows a product reads its weight first, see `_by_rows`.
_FEW_ROWS = 32


@struct.dataclass
class Rows:
    """A weight laid out for decoding, as a matrix [outputs, inputs].

    XLA on CPU reads it up to twice as fast in products with few rows.

    Attributes:
        values: float or int8 [outputs, inputs].
        scale: float32[outputs] of rows rounded to 8 bits, else None.
        shape: of the weight it stands for.
    """

    values: Array
    scale: Array | None = None
    shape: tuple[int, ...] = struct.field(pytree_node=False, default=())


def rounded(x: Array) -> tuple[Array, Array]:
    """Return (int8[..., N], float32[...]) whose product is near x [..., N]."""
    x = x.astype(jnp.float32)
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=-1), 1e-30) / 127
    return jnp.round(x / scale[..., None]).astype(jnp.int8), scale


def laid_out(w: Array, *, inputs: int = 1, table: bool = False, dtype: str) -> Rows:
    """Return w as Rows for `project`, or a table [V, D] for `project_transposed`.

    Args:
        w: [*in, *out], or the table.
        inputs: how many leading dims are summed over.
        table: w is a table already.
        dtype: "float32" | "bfloat16" | "int8", rounded with a scale per output.
    """
    matrix = w if table else w.reshape(math.prod(w.shape[:inputs]), -1).T
    if dtype == "int8":
        return Rows(*rounded(matrix), tuple(w.shape))
    return Rows(matrix.astype(dtype), None, tuple(w.shape))


def weight(
    module: nn.Module,
    name: str,
    shape: Sequence[int],
    axes: Sequence[str | None],
    *,
    std: float,
) -> Array:
    """Return the parameter `name`, drawn from N(0, std), with its logical axes.

    Parameters that were laid out for decoding come back as they are, `Rows`.
    """
    if module.has_variable("params", name):
        stored = module.get_variable("params", name)
        if isinstance(stored, Rows):
            return stored
    init = nn.with_logical_partitioning(nn.initializers.normal(std), tuple(axes))
    return module.param(name, init, tuple(shape), jnp.float32)


def constant(
    module: nn.Module, name: str, shape: Sequence[int], axes: Sequence[str], value=0.0
) -> Array:
    """Return the parameter `name`, all `value`: biases (0) and norm scales (1)."""
    init = nn.with_logical_partitioning(nn.initializers.constant(value), tuple(axes))
    return module.param(name, init, tuple(shape), jnp.float32)


def project(x: Array, w: Array, *, bias: Array | None = None, inputs: int = 1) -> Array:
    """Return x contracted with w over x's last `inputs` dims, plus the bias.

    Rows are flattened to one matrix product [rows, in] @ [in, out]: XLA on CPU runs
    the backward pass of the flat product 1.6 times faster than of a batched one.

    Args:
        x: [..., *in].
        w: [*in, *out], or the same as Rows; cast to x's dtype. Where those are of 8
            bits, rows of x are rounded too and the product is of integers.
        bias: [*out] or None.
        inputs: how many leading dims of w are summed over.

    Returns:
        [..., *out] in x's dtype.
    """
    lead, out = x.shape[: x.ndim - inputs], w.shape[inputs:]
    fan_in = math.prod(w.shape[:inputs])
    flat = _two_rows(x.reshape(-1, fan_in), w)
    if isinstance(w, Rows):
        y = _by_rows(flat, w)
    else:
        y = jnp.matmul(
            flat,
            w.reshape(fan_in, -1).astype(x.dtype),
            preferred_element_type=jnp.float32,
        )
    y = y[: math.prod(lead)].astype(x.dtype).reshape(*lead, *out)
    return y if bias is None else y + bias.astype(x.dtype)


def _two_rows(flat: Array, w: Array | Rows) -> Array:
    """Return one row as two where the product is not of float32.

    XLA on CPU has a kernel of its own for one row, which converts the whole weight:
    33 ms instead of 2.5 for bfloat16 [1, 768] @ [768, 36864].
    """
    plain = flat.dtype == jnp.float32 and getattr(w, "scale", None) is None
    return flat if flat.shape[0] > 1 or plain else jnp.pad(flat, ((0, 1), (0, 0)))


def _by_rows(flat: Array, w: Rows) -> Array:
    """Return float32[rows, outputs] of flat [rows, inputs] and the weight."""
    integers = w.scale is not None
    many = flat.shape[0] > _FEW_ROWS and not integers
    x, scale = rounded(flat) if integers else (flat, None)
    values = w.values if integers else w.values.astype(flat.dtype)
    kind = jnp.int32 if integers else jnp.float32
    if many or (x.dtype != jnp.float32 and x.shape[0] <= 2):
        y = _of_rows(x, values, kind)
    else:
        # The weight first: it is read where it lies, and what is small is packed. The
        # barrier keeps XLA from turning the product around.
        y = jax.lax.optimization_barrier(_of_rows(values, x, kind)).T
    return y.astype(jnp.float32) * scale[:, None] * w.scale if integers else y


def _of_rows(a: Array, b: Array, kind) -> Array:
    """Return a @ b.T, summed and given in `kind`."""
    return jax.lax.dot_general(
        a, b, (((1,), (1,)), ((), ())), preferred_element_type=kind
    )


def project_transposed(x: Array, table: Array) -> Array:
    """Return float32 x @ table.T: [..., D] and [V, D] -> [..., V] (tied heads)."""
    flat = _two_rows(x.reshape(-1, x.shape[-1]), table)
    if isinstance(table, Rows):
        y = _by_rows(flat, table)
    else:
        y = jax.lax.dot_general(
            flat,
            table.astype(x.dtype),
            (((1,), (1,)), ((), ())),
            preferred_element_type=jnp.float32,
        )
    lead = x.shape[:-1]
    return y[: math.prod(lead)].reshape(*lead, table.shape[0])


def rows_of(table: Array | Rows, ids: Array) -> Array:
    """Return the rows [..., D] of a table [V, D], float32 where it is rounded."""
    if not isinstance(table, Rows):
        return jnp.take(table, ids, axis=0, mode="clip")
    found = jnp.take(table.values, ids, axis=0, mode="clip")
    if table.scale is None:
        return found
    scale = jnp.take(table.scale, ids, axis=0, mode="clip")[..., None]
    return found.astype(jnp.float32) * scale
