"""Who sees whom, and attention: grouped heads, biases, windows, caches."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from lmtasks.layers import kernels
from lmtasks.layers import linear
from lmtasks.layers import norms
from lmtasks.layers import positions as rotary
from lmtasks.layers import slots
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array

# Far below any logit, far above float32's lowest: its differences stay finite.
BIG_NEGATIVE = -1e30

_barrier = jax.lax.optimization_barrier


@struct.dataclass
class Visibility:
    """What the one mask rule needs; `dense` makes the boolean mask of it.

    Attributes:
        q_positions: int32[B, T]; -1 marks an empty slot, whose output is zero.
        k_positions: int32[B, S]; -1 marks an empty slot, which nobody sees.
        q_segments, k_segments: int32[B, T], int32[B, S], or None for one segment.
            Segment 0 is visible to every segment (a prompt shared by options).
        prefix: bool[B, S], keys visible to their whole segment, or None.
        sees: bool[B, T, S], keys a query may look at besides, or None (lanes of one
            row, which share a prompt but not what follows).
        causal: keys must not lie after the query.
    """

    q_positions: Array
    k_positions: Array
    q_segments: Array | None = None
    k_segments: Array | None = None
    prefix: Array | None = None
    sees: Array | None = None
    causal: bool = struct.field(pytree_node=False, default=False)

    def dense(self, window: int | Array | None = None) -> Array:
        """Return bool[B, T, S], True where the query may attend to the key.

        `window` keeps the keys nearer than that many positions (on both sides when
        not causal); None, or 0 in an array, keeps all.
        """
        q, k = self.q_positions[:, :, None], self.k_positions[:, None, :]
        allowed = k >= 0
        if self.causal:
            before = k <= q
            if self.prefix is not None:
                before = before | self.prefix[:, None, :]
            allowed = allowed & before
        else:
            allowed = jnp.broadcast_to(allowed, (*q.shape[:2], k.shape[2]))
        if self.q_segments is not None:
            seg_q, seg_k = self.q_segments[:, :, None], self.k_segments[:, None, :]
            allowed = allowed & ((seg_q == seg_k) | (seg_k == 0))
        if window is not None:
            near = jnp.abs(q - k) < window
            allowed = allowed & (near | (jnp.asarray(window) == 0))
        return allowed if self.sees is None else allowed & self.sees


def attend(
    q: Array,
    kv: slots.KeysValues,
    mask: Array,
    *,
    scale: float,
    bias: Array | None = None,
    soft_cap: float = 0.0,
    dropout=None,
    tell=None,
) -> Array:
    """Return softmax(scale * q.k + bias) v, in q's dtype; the weights in float32.

    The sum is divided by after the product with v: the normalized weights, the
    largest array here, are then never written.

    Args:
        q: [B, T, N, H].
        kv: keys and values [B, K, S, H]; N is a multiple of K.
        mask: bool[B, T, S].
        scale: multiplies the products.
        bias: float32[B, N, T, S] or None.
        soft_cap: cap * tanh(logits / cap), 0 = off (Gemma Team, 2024).
        dropout: function on the weights, or None.
        tell: called with the weights float32[B, N, T, S], or None.

    Returns:
        [B, T, N, H].
    """
    b, t, n, h = q.shape
    k = kv.keys.shape[1]
    grouped = (q * scale).reshape(b, t, k, n // k, h)
    logits = _products(grouped, kv.keys.astype(q.dtype))
    if kv.key_scale is not None:
        logits = logits * kv.key_scale[:, :, None, None]
    if soft_cap:
        logits = soft_cap * jnp.tanh(logits / soft_cap)
    if bias is not None:
        logits = logits + bias.reshape(bias.shape[0], k, n // k, *bias.shape[2:])
    logits = jnp.where(mask[:, None, None], logits, BIG_NEGATIVE)
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - top)
    total = jnp.sum(weights, axis=-1)  # [B, K, G, T], at least 1
    if tell is not None:
        tell((weights / total[..., None]).reshape(b, n, t, -1))
    if dropout is not None:
        weights = dropout(weights)
    if kv.value_scale is not None:
        weights = weights * kv.value_scale[:, :, None, None]
    out = _weighted(weights.astype(q.dtype), kv.values.astype(q.dtype))
    out = out / jnp.transpose(total, (0, 3, 1, 2))[..., None]
    return out.reshape(b, t, n, h).astype(q.dtype)


def _few(queries: int, cached: Array) -> bool:
    """Return whether this is a step: few queries against a cache [B, K, S, H]."""
    return 4 * queries <= cached.shape[2]


def _products(q: Array, keys: Array) -> Array:
    """Return q.k, float32[B, K, G, T, S], of [B, T, K, G, H] and [B, K, S, H]."""
    b, t, k, g, h = q.shape
    if not _few(t, keys):
        return jnp.einsum(
            "BTKGH,BKSH->BKGTS", q, keys, preferred_element_type=jnp.float32
        )
    # With the keys first XLA on CPU reads them where they lie instead of transposing
    # the whole cache. The barriers keep it from turning the product around.
    q = jnp.moveaxis(q, 1, 3).reshape(b, k, g * t, h).swapaxes(2, 3)
    found = _barrier(jnp.matmul(keys, _barrier(q), preferred_element_type=jnp.float32))
    return jnp.moveaxis(found.reshape(b, k, -1, g, t), 2, -1)


def _weighted(weights: Array, values: Array) -> Array:
    """Return the sums float32[B, T, K, G, H] of weights [B, K, G, T, S] times values
    [B, K, S, H].
    """
    b, k, g, t, s = weights.shape
    float32 = {"preferred_element_type": jnp.float32}
    if _few(t, values):
        weights = _barrier(weights.reshape(b, k, g * t, s))
        out = _barrier(jnp.matmul(weights, values, **float32)).reshape(b, k, g, t, -1)
    elif weights.dtype == jnp.float32:
        return jnp.einsum("BKGTS,BKSH->BTKGH", weights, values, **float32)
    else:  # XLA on CPU has no product of bfloat16 for that order of the dims
        out = jnp.einsum("BKGTS,BKSH->BKGTH", weights, values, **float32)
    return jnp.moveaxis(out, 3, 1)


def teller(module: nn.Module, mask: Array, reads: Array):
    """Return the function that keeps attention weights as the module's variables
    "weights" and "mask" of the collection "intermediates"; None, and nothing is
    computed, unless `apply` was asked for that collection.

    Args:
        module: the attention.
        mask: bool[B, T, S]. reads: bool[B, T], False where a query reads nothing.
    """
    if not module.is_mutable_collection("intermediates"):
        return None

    def tell(weights):
        sees = mask & reads[:, :, None]
        module.sow("intermediates", "weights", jnp.where(sees[:, None], weights, 0))
        module.sow("intermediates", "mask", sees)

    return tell


class Attention(nn.Module):
    """Multi-head attention over the input itself, a memory, or a cache."""

    cfg: TransformerConfig
    residual_scale: float = 1.0
    train: bool = False

    @nn.compact
    def __call__(
        self, x, sight: Visibility, *, layer, bias=None, memory=None, cached=None
    ):
        """Return (output [B, T, D], KeysValues).

        Args:
            x: [B, T, D], the queries' side.
            sight: who sees whom.
            layer: the layer's numbers: `window`, `inv_freq`, `slot`.
            bias: float32[B, N, T, S] added to the logits, or None.
            memory: [B, S, D] of an encoder, or None for self-attention.
            cached: self-attention: the cache to write into at layer.slot; with
                `memory` None and layer.slot None, cross keys and values ready to use.
        """
        c = self.cfg
        q = self._heads(x, "query", c.attention.heads, "heads")
        if layer.inv_freq is not None:
            factor = rotary.attention_factor(c.positions)
            q = rotary.rotate(q, sight.q_positions, layer.inv_freq, factor)
        if cached is not None and layer.slot is None:
            kv = cached
        else:
            kv = self._keys_values(x if memory is None else memory, sight, layer)
            if cached is not None:
                kv = slots.put(cached, kv, layer.slot)
        mask = sight.dense(layer.window)
        # A query without any visible key is a mean of junk: make it zero. In
        # self-attention a token sees itself, and there is nothing to look for.
        reads = sight.q_positions >= 0
        if memory is not None or (cached is not None and layer.slot is None):
            reads = reads & jnp.any(mask, axis=-1)
        tell = teller(self, mask, reads)
        attend = functools.partial(self._attend, q, tell=tell)
        written = cached is not None and layer.slot is not None
        alone = memory is None and cached is None and bias is None and tell is None
        if alone and self._splashes(q, sight, layer.window):
            scale = c.attention.scale or c.head_dim**-0.5
            out = kernels.splash(q, kv, sight, scale=scale, window=layer.window)
        elif written and tell is None and _few(q.shape[1], kv.keys):
            filled = jnp.max(layer.slot) + q.shape[1]
            out = slots.over_filled(attend, kv, mask, bias, filled)
        else:
            out = attend(kv, mask, bias)
        return self._out(jnp.where(reads[:, :, None, None], out, 0)), kv

    def _splashes(self, q, sight, window) -> bool:
        """Return whether splash attention runs here."""
        wanted = self.cfg.attention.implementation == "splash"
        live = self.train and self.cfg.attention_dropout
        return wanted and not live and kernels.takes(sight, q.shape[1], window)

    def _heads(self, x, name, heads, axis):
        c = self.cfg
        d, h = c.width, c.head_dim
        std = d**-0.5 if c.init == "fan_in" else c.init_std
        if name == "query" and c.init == "fan_in" and c.attention.scale:
            std *= h**-0.5 / c.attention.scale  # T5 scales the weights, not q.k
        w = linear.weight(self, name, (d, heads, h), ("embed", axis, "head"), std=std)
        bias = None
        if c.attention.bias:
            bias = linear.constant(self, f"{name}_bias", (heads, h), (axis, "head"))
        y = linear.project(x, w, bias=bias)
        if name == "value" or not c.attention.qk_norm:
            return y
        if c.attention.qk_norm == "head":
            kind = "rms1" if c.norm.kind == "rms1" else "rms"
            return norms.Norm(kind, c.norm.eps, "head", name=f"{name}_norm")(y)
        flat = y.reshape(*y.shape[:2], heads * h)
        norm = norms.Norm("rms", c.norm.eps, axis, name=f"{name}_norm")
        return norm(flat).reshape(y.shape)

    def _keys_values(self, x, sight, layer):
        c = self.cfg
        keys = self._heads(x, "key", c.kv_heads, "kv_heads")
        values = self._heads(x, "value", c.kv_heads, "kv_heads")
        if layer.inv_freq is not None:
            factor = rotary.attention_factor(c.positions)
            keys = rotary.rotate(keys, sight.q_positions, layer.inv_freq, factor)
        return slots.KeysValues(keys=keys.swapaxes(1, 2), values=values.swapaxes(1, 2))

    def _attend(self, q, kv, mask, bias, *, tell):
        a = self.cfg.attention
        scale = a.scale or self.cfg.head_dim**-0.5
        rate = self.cfg.attention_dropout if self.train else 0.0
        if a.implementation == "cudnn" and not rate and tell is None:
            return kernels.cudnn(q, kv, mask, scale=scale)
        dropout = nn.Dropout(rate, deterministic=False) if rate else None
        return attend(
            q,
            kv,
            mask,
            scale=scale,
            bias=bias,
            soft_cap=a.soft_cap,
            dropout=dropout,
            tell=tell,
        )

    def _out(self, out):
        c = self.cfg
        n, h, d = c.attention.heads, c.head_dim, c.width
        std = c.init_std * self.residual_scale
        if c.init == "fan_in":
            std = (n * h) ** -0.5
        w = linear.weight(self, "out", (n, h, d), ("heads", "head", "embed"), std=std)
        bias = None
        if c.attention.out_bias:
            bias = linear.constant(self, "out_bias", (d,), ("embed",))
        return linear.project(out, w, bias=bias, inputs=2)
