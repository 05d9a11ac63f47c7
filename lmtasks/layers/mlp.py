"""The feed-forward sublayer, plain or gated."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import linear
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


@jax.checkpoint
def _gelu(x: Array) -> Array:
    """x * Phi(x) (Hendrycks and Gimpel, 2016); computed again in the backward pass,
    which is cheaper than the arrays that jax.nn.gelu keeps for it. In float32: the
    left tail cancels.
    """
    y = x.astype(jnp.float32)
    return (0.5 * y * (1 + jax.lax.erf(y * 0.5**0.5))).astype(x.dtype)


def activate(name: str, x: Array) -> Array:
    """Return the named activation of x; "gelu" is the exact one, by erf."""
    functions = {
        "gelu": _gelu,
        "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
        "relu": jax.nn.relu,
        "tanh": jnp.tanh,
        "relu2": lambda y: jnp.square(jax.nn.relu(y)),
        "silu": jax.nn.silu,
        "quick_gelu": lambda y: y * jax.nn.sigmoid(1.702 * y),
    }
    return functions[name](x)


class Mlp(nn.Module):
    """Down(activation(Up(x))), or Down(activation(Gate(x)) * Up(x)) when gated."""

    cfg: TransformerConfig
    residual_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, T, D] to [B, T, D]."""
        c, d, f = self.cfg, self.cfg.width, self.cfg.hidden
        fan = c.init == "fan_in"
        std_in = d**-0.5 if fan else c.init_std
        std_out = f**-0.5 if fan else c.init_std * self.residual_scale

        def bias(name, size, axis):
            if not c.mlp_bias:
                return None
            return linear.constant(self, name, (size,), (axis,))

        up = linear.weight(self, "up", (d, f), ("embed", "mlp"), std=std_in)
        h = linear.project(x, up, bias=bias("up_bias", f, "mlp"))
        if c.gated:
            gate = linear.weight(self, "gate", (d, f), ("embed", "mlp"), std=std_in)
            g = linear.project(x, gate, bias=bias("gate_bias", f, "mlp"))
            h = activate(c.activation, g) * h
        else:
            h = activate(c.activation, h)
        down = linear.weight(self, "down", (f, d), ("mlp", "embed"), std=std_out)
        return linear.project(h, down, bias=bias("down_bias", d, "embed"))
