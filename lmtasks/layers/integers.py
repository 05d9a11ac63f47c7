"""Products of 8-bit integers in training: what `model.matmul="int8"` does.

Both sides of a product are rounded, each row and column with a scale of its own, in the
forward pass and in both products of the backward pass; the weight itself, its gradient
and all sums stay float32 (the recipe of AQT, Abdolrashidi et al., 2021,
arXiv:2105.03536). The rounding is taken for the identity in the gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from lmtasks.types import Array


@struct.dataclass
class Integers:
    """A weight whose products are of integers.

    Attributes:
        base: the weight [*in, *out], the one leaf: linen's check of shapes, scans and
            rematerialization take it for the weight.
    """

    base: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return self.base.shape


def rounded(x: Array) -> tuple[Array, Array]:
    """Return (int8[..., N], float32[...]) whose product is near x [..., N]."""
    x = x.astype(jnp.float32)
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=-1), 1e-30) / 127
    return jnp.round(x / scale[..., None]).astype(jnp.int8), scale


def of_rows(a: Array, b: Array, kind) -> Array:
    """Return a @ b.T, summed and given in `kind`."""
    return jax.lax.dot_general(
        a, b, (((1,), (1,)), ((), ())), preferred_element_type=kind
    )


def _near(a: Array, b: Array) -> Array:
    """Return float32 a @ b.T of the rounded rows of both."""
    (a, a_scale), (b, b_scale) = rounded(a), rounded(b)
    whole = of_rows(a, b, jnp.int32)
    return whole.astype(jnp.float32) * a_scale[:, None] * b_scale


@jax.custom_vjp
def product(x: Array, w: Array) -> Array:
    """Return float32[rows, out], x [rows, in] @ w [in, out] by integers."""
    return _near(x, w.T)


def _forward(x, w):
    return product(x, w), (x, w)


def _backward(kept, grad):
    x, w = kept
    return _near(grad, w).astype(x.dtype), _near(x.T, grad.T).astype(w.dtype)


product.defvjp(_forward, _backward)
