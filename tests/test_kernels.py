"""Which attention kernel runs where, and that it computes what plain attention does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks.layers import attention
from lmtasks.layers import kernels
from lmtasks.layers import slots
from lmtasks.training import parallel

ONE = {"sequence": 1, "tensor": 1}
LENGTH, HEADS, GROUPS, WIDTH = 256, 4, 2, 64


def cfg(name="auto", **changes):
    model = tiny.model("decoder", width=256)
    shape = {"heads": 4, "kv_heads": 2, "head_dim": 64, "implementation": name}
    shape |= changes.pop("attention", {})
    a = dataclasses.replace(model.cfg.attention, **shape)
    return dataclasses.replace(model.cfg, attention=a, **changes)


@pytest.mark.parametrize(
    ("made", "platform", "shares", "cut", "name", "why"),
    [
        (cfg(), "cpu", False, ONE, "xla", "the devices are cpu"),
        (cfg("xla"), "tpu", False, ONE, "xla", "as configured"),
        (cfg(), "tpu", False, ONE, "splash", "auto"),
        (cfg(), "tpu", True, ONE, "xla", "splash cannot: rows hold several answers"),
        (cfg(), "tpu", False, ONE | {"sequence": 2}, "xla", "parallel.sequence"),
        (cfg(), "tpu", False, ONE | {"tensor": 4}, "xla", "parallel.tensor=4"),
        (cfg(attention={"head_dim": 48}), "tpu", False, ONE, "xla", "width 48"),
        (cfg(attention={"soft_cap": 5.0}), "tpu", False, ONE, "xla", "soft_cap"),
        (cfg(attention_dropout=0.1), "tpu", False, ONE, "xla", "attention_dropout"),
        (cfg(), "gpu", False, ONE, "xla", "cudnn cannot: model.dtype=float32"),
        (cfg(dtype="bfloat16"), "gpu", False, ONE, "cudnn", "auto"),
    ],
)  # fmt: skip
def test_the_table_says_which_kernel_and_why(made, platform, shares, cut, name, why):
    found = kernels.choose(made, platform, shares=shares, cut=cut)
    assert found[0] == name and why in found[1]


@pytest.mark.parametrize(
    ("name", "platform", "said"),
    [("splash", "cpu", "the devices are cpu"), ("cudnn", "tpu", "the devices are tpu")],
)
def test_a_kernel_named_where_it_cannot_run_is_refused(name, platform, said):
    made = cfg(name, **({"dtype": "bfloat16"} if name == "cudnn" else {}))
    with pytest.raises(ValueError, match=f"{name}.*{said}; use auto or xla"):
        kernels.choose(made, platform, shares=False, cut=ONE)


def rows():
    """A plain row and a packed one, both with empty slots at the end."""
    positions = np.full((2, LENGTH), -1, np.int32)
    segments = np.zeros((2, LENGTH), np.int32)
    positions[0, :200], segments[0, :200] = np.arange(200), 1
    at = 0
    for number, size in enumerate((30, 100, 77), 1):
        positions[1, at : at + size] = np.arange(size)
        segments[1, at : at + size] = number
        at += size
    return jnp.asarray(positions), jnp.asarray(segments)


@pytest.mark.parametrize(
    ("causal", "window", "sharded"),
    [
        (True, None, False),
        (True, 40, False),
        (False, None, False),
        (False, 40, False),
        (True, None, True),
    ],
)
def test_splash_is_plain_attention_and_so_is_its_gradient(
    causal, window, sharded, monkeypatch
):
    monkeypatch.setattr(kernels, "INTERPRET", True)
    draw = np.random.default_rng(0)
    shapes = ((2, LENGTH, HEADS, WIDTH), *[(2, GROUPS, LENGTH, WIDTH)] * 2)
    q, k, v = (jnp.asarray(draw.normal(size=s), jnp.float32) for s in shapes)
    positions, segments = rows()
    sight = attention.Visibility(
        positions, positions, segments, segments, causal=causal
    )
    assert kernels.takes(sight, LENGTH, window)
    live = (positions >= 0)[:, :, None, None]

    def plain(q, k, v):
        mask = sight.dense(window)
        out = attention.attend(q, slots.KeysValues(keys=k, values=v), mask, scale=0.1)
        return jnp.where(live, out, 0)

    def fused(q, k, v):
        kv = slots.KeysValues(keys=k, values=v)
        out = kernels.splash(q, kv, sight, scale=0.1, window=window)
        return jnp.where(live, out, 0)

    weights = jnp.asarray(draw.normal(size=shapes[0]), jnp.float32)
    found = []
    for function in (plain, fused):
        loss = lambda *xs, f=function: jnp.sum(f(*xs) * weights)
        both = jax.jit(
            lambda *xs, f=function, g=loss: (f(*xs), jax.grad(g, (0, 1, 2))(*xs))
        )
        if sharded and function is fused:
            sizes = parallel.Parallel(data=1, fsdp=2, tensor=2)
            mesh = parallel.make_mesh(sizes, jax.devices()[:4])
            with jax.set_mesh(mesh), parallel.rules():
                found.append(both(q, k, v))
            continue
        found.append(both(q, k, v))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_row_it_cannot_take_is_left_to_plain_attention():
    positions, segments = rows()
    sight = attention.Visibility(positions, positions, segments, segments, causal=True)
    assert not kernels.takes(sight, 200, None)
    assert not kernels.takes(sight, LENGTH, jnp.int32(3))
    assert not kernels.takes(sight.replace(prefix=positions > 3), LENGTH, None)


@pytest.mark.parametrize("architecture", ["encoder", "decoder"])
def test_a_model_with_splash_is_the_model_without(architecture, monkeypatch):
    monkeypatch.setattr(kernels, "INTERPRET", True)
    model = tiny.model(architecture, width=128)
    plain = dataclasses.replace(model.cfg.attention, heads=2, kv_heads=2, head_dim=64)
    made = [
        tiny.replace(model, attention=dataclasses.replace(plain, implementation=name))
        for name in ("xla", "splash")
    ]
    params = tiny.draw(made[0])
    positions, segments = rows()
    tokens = jnp.asarray(
        np.random.default_rng(1).integers(0, model.cfg.vocab, (2, LENGTH))
    )
    batch = {"tokens": tokens, "positions": positions, "segments": segments}
    calls = []
    real = kernels.splash
    monkeypatch.setattr(
        kernels, "splash", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    out = [jax.jit(one.apply)(params, batch) for one in made]
    assert len(calls) == model.cfg.layers
    live = np.asarray(positions >= 0)
    np.testing.assert_allclose(out[0][live], out[1][live], atol=2e-4)
