"""Whole models against a second implementation: numpy, float64, loops over heads."""

import math

import jax
import numpy as np
import pytest
import tiny

from lmtasks.layers import positions as places
from lmtasks.training import masks

_erf = np.vectorize(math.erf)


def _norm(p, x, c):
    if c.norm.kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + c.norm.eps)
    scale = 1 + p["scale"] if c.norm.kind == "rms1" else p["scale"]
    return x * scale + p.get("bias", 0)


def _activate(name, x):
    if name == "gelu":
        return x * (1 + _erf(x / math.sqrt(2))) / 2
    if name == "gelu_tanh":
        return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return x / (1 + np.exp(-x)) if name == "silu" else np.maximum(x, 0)


def _rotate(x, at, base):
    """Turn the pair (i, i + H / 2) of x [T, H] by the angle at / base^(2 i / H)."""
    half = x.shape[-1] // 2
    angle = at[:, None] * base ** (-np.arange(half) / half)
    pair = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angle)
    return np.concatenate([pair.real, pair.imag], -1)


def _bias(p, c, q_at, k_at, causal):
    """Return what each head adds to its logits: [N, T, S]."""
    n, far = c.attention.heads, k_at[None] - q_at[:, None]
    if c.positions.kind == "alibi":
        slopes = [2.0 ** (-8 * (i + 1) / n) for i in range(n)]
        return -np.array(slopes)[:, None, None] * np.abs(far)
    if c.positions.kind == "t5":
        sizes = {"buckets": c.positions.buckets, "limit": c.positions.distance}
        bucket = np.asarray(places.relative_bucket(far, causal=causal, **sizes))
        return np.moveaxis(p["relative_bias"][bucket], -1, 0)
    return np.zeros((n, *far.shape))


def _attention(p, c, x, memory, mask, bias, at):
    """Return [T, D]; `at` rotates queries and keys, None for cross-attention."""
    heads = c.attention.heads
    out = np.zeros(x.shape) + p.get("out_bias", 0)
    for n in range(heads):
        k = n // (heads // c.kv_heads)
        q = x @ p["query"][:, n] + p.get("query_bias", np.zeros((heads, 1)))[n]
        keys = memory @ p["key"][:, k] + p.get("key_bias", np.zeros((heads, 1)))[k]
        values = memory @ p["value"][:, k]
        values = values + p.get("value_bias", np.zeros((heads, 1)))[k]
        if at is not None and c.positions.kind == "rotary":
            q, keys = (_rotate(y, at, c.positions.base[0]) for y in (q, keys))
        logits = q @ keys.T * (c.attention.scale or c.head_dim**-0.5) + bias[n]
        weights = np.where(mask, np.exp(logits - logits.max(-1, keepdims=True)), 0)
        out = out + weights / weights.sum(-1, keepdims=True) @ values @ p["out"][n]
    return out


def _feed_forward(p, c, x):
    up = x @ p["up"] + p.get("up_bias", 0)
    gate = x @ p["gate"] + p.get("gate_bias", 0) if c.gated else up
    hidden = _activate(c.activation, gate) * (up if c.gated else 1)
    return hidden @ p["down"] + p.get("down_bias", 0)


def _stack(p, c, x, *, causal, types=None, memory=None):
    at = np.arange(len(x))
    if c.positions.kind == "learned":
        x = x + p["inputs"]["positions"][at + c.positions.offset]
    if c.token_types:
        x = x + p["inputs"]["types"][types]
    if c.embed_norm:
        x = _norm(p["inputs"]["norm"], x, c)
    mask = at[None] <= at[:, None] if causal else np.ones((len(x), len(x)), bool)
    bias = _bias(p, c, at, at, causal)
    everything = np.ones((len(x), 1 if memory is None else len(memory)), bool)
    none = np.zeros((c.attention.heads, 1, 1))
    for i in range(c.layers):
        block = p[f"layers_{i}"]

        def sublayer(x, name, f, block=block):
            place = c.norm.at
            h = x if place in ("post", "output") else _norm(block[f"{name}_norm"], x, c)
            h = f(block[name], h)
            if place in ("sandwich", "output"):
                h = _norm(block[f"{name}_out_norm"], h, c)
            return _norm(block[f"{name}_norm"], x + h, c) if place == "post" else x + h

        def read_self(q, h):
            return _attention(q, c, h, h, mask, bias, at)

        def read_memory(q, h):
            return _attention(q, c, h, memory, everything, none, None)

        def feed(q, h):
            return _feed_forward(q, c, h)

        if c.parallel:
            read = read_self(block["attn"], _norm(block["attn_norm"], x, c))
            x = x + read + feed(block["mlp"], _norm(block["mlp_norm"], x, c))
            continue
        x = sublayer(x, "attn", read_self)
        if memory is not None:
            x = sublayer(x, "cross", read_memory)
        x = sublayer(x, "mlp", feed)
    return x if c.norm.at == "post" else _norm(p["norm"], x, c)


def _logits(one, params, row):
    """Return [T, V] of one row without padding."""
    c, p = one.cfg, params
    read = lambda ids: p["embed"]["tokens"][ids] * c.embed_scale
    x, types = read(row["tokens"]), row.get("token_types")
    if one.architecture == "encoder_decoder":
        memory = _stack(p["encoder"], c, read(row["source"]), causal=False)
        x = _stack(p["decoder"], c, x, causal=True, memory=memory)
    else:
        causal = one.architecture == "decoder"
        x = _stack(p[one.architecture], c, x, causal=causal, types=types)
    if c.head_transform:
        x = x @ p["top"]["transform"] + p["top"]["transform_bias"]
        x = _norm(p["top"]["norm"], _activate(c.activation, x), c)
    table = p["embed"]["tokens"] if c.tied else p["top"]["table"]
    x = x * c.head_scale @ table.T + p.get("top", {}).get("bias", 0)
    return c.logit_soft_cap * np.tanh(x / c.logit_soft_cap) if c.logit_soft_cap else x


BIASED = {"bias": True, "out_bias": True}
SHAPES = {
    "bert": ("encoder", {
        "positions": {"kind": "learned"}, "norm": {"kind": "layer", "at": "post"},
        "attention": BIASED, "mlp_bias": True, "token_types": 2, "embed_norm": True,
        "head_bias": True, "head_transform": True,
    }),
    "roberta": ("encoder", {
        "positions": {"kind": "learned", "offset": 2}, "attention": BIASED,
        "norm": {"kind": "layer", "at": "post"}, "mlp_bias": True, "embed_norm": True,
    }),
    "gpt2": ("decoder", {
        "positions": {"kind": "learned"}, "norm": {"kind": "layer", "eps": 1e-5},
        "attention": BIASED, "mlp_bias": True, "activation": "gelu_tanh",
    }),
    "llama": ("decoder", {
        "attention": {"kv_heads": 2}, "gated": True, "activation": "silu",
        "tied": False, "positions": {"kind": "rotary", "base": (5e5,)},
    }),
    "gemma2": ("decoder", {
        "norm": {"kind": "rms1", "at": "sandwich"}, "gated": True,
        "activation": "gelu_tanh", "embed_scale": 32**0.5, "logit_soft_cap": 30.0,
        "attention": {"head_dim": 12, "kv_heads": 1},
    }),
    "neox": ("decoder", {
        "norm": {"kind": "layer"}, "parallel": True, "mlp_bias": True,
        "attention": BIASED,
    }),
    "bloom": ("decoder", {
        "norm": {"kind": "layer"}, "positions": {"kind": "alibi"}, "embed_norm": True,
        "attention": BIASED, "mlp_bias": True,
    }),
    "olmo2": ("decoder", {"norm": {"at": "output"}, "gated": True}),
    "t5": ("encoder_decoder", {
        "activation": "relu", "head_scale": 32**-0.5,
        # So few that both sides differ within a short row.
        "positions": {"kind": "t5", "buckets": 8, "distance": 20},
        "attention": {"scale": 1.0, "head_dim": 6},
    }),
    "t5 v1.1": ("encoder_decoder", {
        "positions": {"kind": "t5"}, "activation": "gelu_tanh", "gated": True,
        "tied": False, "attention": {"scale": 1.0},
    }),
    "bart": ("encoder_decoder", {
        "positions": {"kind": "learned", "offset": 2}, "embed_norm": True,
        "norm": {"kind": "layer", "at": "post"}, "attention": BIASED, "mlp_bias": True,
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_familys_logits_are_those_of_the_second_implementation(name):
    architecture, changes = SHAPES[name]
    one = tiny.model(architecture, **changes)
    params = tiny.draw(one)
    rows = tiny.batch(7, 7, architecture=architecture, sources=[5, 5])
    if one.cfg.token_types:
        rows["token_types"] = np.array([[0, 0, 0, 0, 1, 1, 1]] * 2, np.int32)
    got = tiny.logits(one, params, rows)
    for b in range(2):
        wanted = _logits(one, params, {k: v[b] for k, v in rows.items()})
        np.testing.assert_allclose(
            got[b] / wanted.std(), wanted / wanted.std(), atol=1e-4
        )


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_every_parameter_moves_the_logits(name):
    """A weight that is made but never read would be found by no other comparison."""
    architecture, changes = SHAPES[name]
    one = tiny.model(architecture, **changes)
    rows = tiny.batch(7, 7, architecture=architecture)
    if one.cfg.token_types:
        rows["token_types"] = np.array([[0, 0, 0, 0, 1, 1, 1]] * 2, np.int32)
    slope = tiny.slope(one)(tiny.draw(one), rows)
    for path, x in jax.tree.leaves_with_path(slope):
        leaf = masks.name_of(path)
        # A key's bias adds the same to all logits of a query: softmax forgets it.
        assert np.abs(x).max() > 1e-4 or leaf.endswith("key_bias"), leaf
