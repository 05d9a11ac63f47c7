"""Layer and RMS normalization, computed in float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import linear
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array


def layer_norm(x: Array, scale: Array, bias: Array | float, eps: float) -> Array:
    """Return (x - mean) / sqrt(var + eps) * scale + bias over the last dim."""
    y = x.astype(jnp.float32)
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
    return (y * jax.lax.rsqrt(variance + eps) * scale + bias).astype(x.dtype)


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
    """Return x / sqrt(mean(x^2) + eps) * scale (Zhang and Sennrich, 2019)."""
    y = x.astype(jnp.float32)
    variance = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
    return (y * jax.lax.rsqrt(variance + eps) * scale).astype(x.dtype)


class Norm(nn.Module):
    """A norm over the last dim: "layer", "rms", or "rms1" whose scale is 1 + w."""

    kind: str
    eps: float
    axis: str = "embed"
    bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (x.shape[-1],)
        if self.kind == "rms1":
            offset = linear.constant(self, "scale", shape, (self.axis,))
            return rms_norm(x, 1 + offset, self.eps)
        scale = linear.constant(self, "scale", shape, (self.axis,), 1.0)
        if self.kind == "rms":
            return rms_norm(x, scale, self.eps)
        bias = 0.0
        if self.bias:
            bias = linear.constant(self, "bias", shape, (self.axis,))
        return layer_norm(x, scale, bias, self.eps)


def of(cfg: TransformerConfig, name: str) -> Norm:
    """Return the norm of a model's shape over its width, as the submodule `name`."""
    return Norm(cfg.norm.kind, cfg.norm.eps, bias=cfg.norm.bias, name=name)
