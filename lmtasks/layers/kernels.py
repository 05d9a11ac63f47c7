"""Fused attention kernels: which may run where, and how they are called."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from lmtasks.layers import slots
from lmtasks.models.config import TransformerConfig
from lmtasks.types import Array

# Lengths of the pieces in which splash attention reads queries and keys.
BLOCKS = (512, 384, 256, 128)
# Runs splash attention without a TPU, slowly, as its tests do.
INTERPRET = False


def obstacle(
    name: str, cfg: TransformerConfig, platform: str, *, shares: bool, cut: dict
) -> str:
    """Return why a kernel cannot run a model there; "" where it can.

    Args:
        name: "splash" | "cudnn". cfg: of the model. platform: of the devices.
        shares: rows hold several answers after one prompt, whose order in the row is
            not that of their positions.
        cut: mesh axis -> size.
    """
    a, wants = cfg.attention, {"splash": "tpu", "cudnn": "gpu"}[name]
    faults = {
        f"the devices are {platform}": platform != wants,
        f"positions.kind={cfg.positions.kind} adds a bias": cfg.positions.kind
        in ("t5", "alibi", "disentangled"),
        "attention.soft_cap is not 0": a.soft_cap,
        "attention_dropout is not 0": cfg.attention_dropout,
        "rows hold several answers to one prompt": shares,
        "parallel.sequence is not 1": cut.get("sequence", 1) != 1,
    }
    if name == "splash":
        heads = f"attention.heads={a.heads} and kv_heads={cfg.kv_heads}"
        tensor = cut.get("tensor", 1)
        faults |= {
            f"the head's width {cfg.head_dim} is not a multiple of 64": cfg.head_dim
            % 64,
            f"{heads} do not divide over parallel.tensor={tensor}": a.heads % tensor
            or cfg.kv_heads % tensor,
        }
    else:
        faults |= {
            f"the head's width {cfg.head_dim} is not a multiple of 8 up to 128":
            cfg.head_dim % 8 or cfg.head_dim > 128,
            f"model.dtype={cfg.dtype} is not bfloat16": cfg.dtype != "bfloat16",
        }  # fmt: skip
    return next((fault for fault, found in faults.items() if found), "")


def choose(
    cfg: TransformerConfig, platform: str, *, shares: bool, cut: dict
) -> tuple[str, str]:
    """Return (the kernel that model.attention.implementation means there, why).

    Raises:
        ValueError: one was named that cannot run there.
    """
    wanted = cfg.attention.implementation
    if wanted == "xla":
        return "xla", "as configured"
    given = {"shares": shares, "cut": cut}
    if wanted != "auto":
        fault = obstacle(wanted, cfg, platform, **given)
        if fault:
            raise ValueError(
                f"model.attention.implementation={wanted!r}: {fault}; use auto or xla"
            )
        return wanted, "as configured"
    name = {"tpu": "splash", "gpu": "cudnn"}.get(platform)
    if name is None:
        return "xla", f"the devices are {platform}"
    fault = obstacle(name, cfg, platform, **given)
    return ("xla", f"{name} cannot: {fault}") if fault else (name, "auto")


def cudnn(q: Array, kv: slots.KeysValues, mask: Array, *, scale: float) -> Array:
    """Return what `attention.attend` returns, by NVIDIA's kernel (GPU, bf16 only)."""
    keys, values = (x.swapaxes(1, 2) for x in (kv.keys, kv.values))
    return jax.nn.dot_product_attention(
        q, keys, values, mask=mask[:, None], scale=scale, implementation="cudnn"
    )


def takes(sight, length: int, window) -> bool:
    """Return whether splash attention can run over such a row, as it is traced."""
    plain = sight.prefix is None and sight.sees is None
    known = window is None or isinstance(window, int)
    return plain and known and length % BLOCKS[-1] == 0


def splash(
    q: Array, kv: slots.KeysValues, sight, *, scale: float, window: int | None
) -> Array:
    """Return what `attention.attend` returns in self-attention, by the TPU's kernel.

    The logits are never whole in memory. Within a segment the order of slots must be
    that of positions, which packed and plain rows have.

    Args:
        q: [B, T, N, H]. kv: keys and values [B, K, T, H].
        sight: who sees whom, see `attention.Visibility`; `takes` it.
        scale: multiplies the products. window: keys nearer than this; None = all.
    """
    segments = sight.q_segments
    if segments is None:
        segments = jnp.zeros_like(sight.q_positions)
    segments = jnp.where(sight.q_positions >= 0, segments, -1)

    def on_device(q, keys, values, segments):
        kernel, ids = _kernel(q.shape[1], q.shape[2], sight.causal, window)
        return jax.vmap(lambda q, k, v, s: kernel(q, k, v, segment_ids=ids(s, s)))(
            q, keys, values, segments
        )

    heads = nn.logical_to_mesh_axes(("batch", "heads", None, None))
    rows = nn.logical_to_mesh_axes(("batch", None))
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size > 1:  # a kernel is not cut by the compiler
        on_device = jax.shard_map(
            on_device,
            in_specs=(heads, heads, heads, rows),
            out_specs=heads,
            check_vma=False,
        )
    out = on_device((q * scale).swapaxes(1, 2), kv.keys, kv.values, segments)
    return out.swapaxes(1, 2)


def _kernel(heads: int, length: int, causal: bool, window: int | None):
    """Return (kernel over one row's heads, type of its segments)."""
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels

    size = next(block for block in BLOCKS if length % block == 0)
    shape = (length, length)
    if window:
        near = (window - 1, 0 if causal else window - 1)
        mask = kernels.LocalMask(shape, near, 0)
    else:
        mask = kernels.CausalMask(shape) if causal else kernels.FullMask(shape)
    names = (
        "q",
        "kv",
        "kv_compute",
        "q_dkv",
        "kv_dkv",
        "kv_dkv_compute",
        "q_dq",
        "kv_dq",
    )
    made = kernels.make_splash_mha(
        kernels.MultiHeadMask([mask] * heads),
        block_sizes=kernels.BlockSizes(**{f"block_{name}": size for name in names}),
        head_shards=1,
        q_seq_shards=1,
        interpret=INTERPRET,
    )
    return made, kernels.SegmentIds
