"""The one projection every layer goes through, and the one way to make a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from lmtasks.layers import integers
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


@struct.dataclass
class LowRank:
    """A weight with a product of two narrow matrices beside it: base + scale * a @ b
    (Hu et al., 2021, arXiv:2106.09685).

    The base is the first leaf, so that linen's check of shapes, scans and rematerial-
    ization take it for the weight itself. Stacked over layers, each leaf is.

    Attributes:
        base: [*in, *out], or a table [V, D].
        a: [in, R], the dims that are summed over as one. b: [R, out].
        scale: multiplies the product.
        key: of the dropout on what the product reads, for one step; None = off.
        rate: of that dropout.
    """

    base: Array
    a: Array
    b: Array
    scale: float = struct.field(pytree_node=False, default=1.0)
    key: Array | None = None
    rate: float = struct.field(pytree_node=False, default=0.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight it stands for."""
        return self.base.shape

    def __call__(self, flat: Array) -> Array:
        """Return float32[rows, out], what flat [rows, in] gains by the product."""
        if self.key is not None:
            kept = jax.random.bernoulli(self.key, 1 - self.rate, flat.shape)
            flat = jnp.where(kept, flat / (1 - self.rate), 0).astype(flat.dtype)
        return self.scale * narrow(flat, self.a, self.b)

    def merged(self) -> Array:
        """Return base + scale * a @ b as one array, in the base's dtype and shape."""
        change = jnp.matmul(self.a, self.b, preferred_element_type=jnp.float32)
        change = self.scale * change.reshape(self.base.shape)
        return (self.base + change).astype(self.base.dtype)


def narrow(x: Array, a: Array, b: Array) -> Array:
    """Return float32 x @ a @ b, the products in x's dtype."""
    float32 = {"preferred_element_type": jnp.float32}
    inner = jnp.matmul(x, a.astype(x.dtype), **float32).astype(x.dtype)
    return jnp.matmul(inner, b.astype(x.dtype), **float32)


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
        return Rows(*integers.rounded(matrix), tuple(w.shape))
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
        w: [*in, *out], or the same as Rows, LowRank or Integers; cast to x's dtype.
            Rows of 8 bits round the rows of x too, and the product is of integers.
        bias: [*out] or None.
        inputs: how many leading dims of w are summed over.

    Returns:
        [..., *out] in x's dtype.
    """
    lead, out = x.shape[: x.ndim - inputs], w.shape[inputs:]
    fan_in = math.prod(w.shape[:inputs])
    beside, w = (w, w.base) if isinstance(w, LowRank) else (None, w)
    flat = _two_rows(x.reshape(-1, fan_in), w)
    if isinstance(w, Rows):
        y = _by_rows(flat, w)
    elif isinstance(w, integers.Integers):
        y = integers.product(flat, w.base.reshape(fan_in, -1))
    else:
        y = jnp.matmul(
            flat,
            w.reshape(fan_in, -1).astype(x.dtype),
            preferred_element_type=jnp.float32,
        )
    if beside is not None:
        y = y + beside(flat)
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
    whole = w.scale is not None
    many = flat.shape[0] > _FEW_ROWS and not whole
    x, scale = integers.rounded(flat) if whole else (flat, None)
    values = w.values if whole else w.values.astype(flat.dtype)
    kind = jnp.int32 if whole else jnp.float32
    if many or (x.dtype != jnp.float32 and x.shape[0] <= 2):
        y = integers.of_rows(x, values, kind)
    else:
        # The weight first: it is read where it lies, and what is small is packed. The
        # barrier keeps XLA from turning the product around.
        y = jax.lax.optimization_barrier(integers.of_rows(values, x, kind)).T
    return y.astype(jnp.float32) * scale[:, None] * w.scale if whole else y


def project_transposed(x: Array, table: Array) -> Array:
    """Return float32 x @ table.T: [..., D] and [V, D] -> [..., V] (tied heads)."""
    if isinstance(table, LowRank):
        y = project_transposed(x, table.base)
        return y + table.scale * narrow(x, table.b.T, table.a.T)
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


def rows_of(table: Array | Rows | LowRank, ids: Array) -> Array:
    """Return the rows [..., D] of a table [V, D], float32 where it is rounded."""
    if isinstance(table, LowRank):
        inner = jnp.take(table.a, ids, axis=0, mode="clip")
        change = table.scale * jnp.matmul(inner, table.b)
        return rows_of(table.base, ids) + change
    if not isinstance(table, Rows):
        return jnp.take(table, ids, axis=0, mode="clip")
    found = jnp.take(table.values, ids, axis=0, mode="clip")
    if table.scale is None:
        return found
    scale = jnp.take(table.scale, ids, axis=0, mode="clip")[..., None]
    return found.astype(jnp.float32) * scale
