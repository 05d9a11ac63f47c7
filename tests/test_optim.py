"""Optimizers step as their formulas say; masks and freezing go by names."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lmtasks.training import masks
from lmtasks.training import optim


def _params():
    """A tree with the shapes and names that models have."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    block = lambda: {
        "attn": {
            "query": draw(6, 2, 3),
            "query_bias": draw(2, 3),
            "out": draw(2, 3, 6),
        },
        "mlp": {"up": draw(6, 8), "up_bias": draw(8)},
        "attn_norm": {"scale": draw(6)},
    }
    return {
        "embed": {"tokens": draw(11, 6)},
        "decoder": {
            "relative_bias": draw(4, 2),
            "layers_0": block(),
            "layers_1": block(),
            "norm": {"scale": draw(6)},
        },
        "head": {"kernel": draw(6, 3)},
    }


def _plain(**fields) -> optim.Optim:
    """The update is -gradient, but for what the test turns on."""
    fields = {"learning_rate": 1.0, "schedule": "constant", **fields}
    fields = {"weight_decay": 0.0, "clip_norm": 0.0, "momentum": 0.0, **fields}
    return optim.Optim("sgd", **fields)


def _names_where(mask) -> set[str]:
    flat, _ = jax.tree_util.tree_flatten_with_path(mask)
    return {masks.name_of(path) for path, yes in flat if yes}


def _rates(o: optim.Optim, steps: int, at) -> list[float]:
    rate = jax.jit(optim.schedule(o, steps))
    return [float(rate(jnp.int32(n))) for n in at]


def test_t5_inverse_square_root_has_the_published_values():
    o = optim.Optim(
        learning_rate=0.01, schedule="inverse_sqrt", warmup_steps=10_000, ramp=False
    )
    got = _rates(o, 1_000_000, [0, 9_999, 10_000, 40_000, 1_000_000])
    np.testing.assert_allclose(got, [0.01, 0.01, 0.01, 0.005, 0.001], rtol=1e-6)


def test_warm_up_is_positive_at_step_0_and_peaks_at_its_last_step():
    for name in optim.SCHEDULES:
        o = optim.Optim(learning_rate=2.0, schedule=name, warmup_steps=10)
        got = _rates(o, 1000, [0, 4, 9, 10])
        np.testing.assert_allclose(got, [0.2, 1.0, 2.0, 2.0], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [2.0, 2.0, 2.0, 2.0]),
        ("linear", [2.0, 1.1, 0.2 + 1.8 / 90, 0.2]),
        ("cosine", [2.0, 1.1, 0.2 + 0.9 * (1 - math.cos(math.pi / 90)), 0.2]),
        ("wsd", [2.0, 2.0, 0.2 + 1.8 / 20, 0.2]),
        ("inverse_sqrt", [2 * (10 / n) ** 0.5 for n in (10, 55, 99, 100)]),
    ],
)
def test_schedules_have_their_stated_values(name, expected):
    o = optim.Optim(
        learning_rate=2.0,
        schedule=name,
        warmup_steps=10,
        final_fraction=0.1,
        decay_steps=20,
    )
    got = _rates(o, 100, [10, 55, 99, 100])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_final_fraction_is_the_floor_after_the_end():
    for name in ("linear", "cosine", "wsd", "inverse_sqrt"):
        o = optim.Optim(learning_rate=1.0, schedule=name, final_fraction=0.25)
        assert _rates(o, 50, [5000]) == [0.25], name


def test_wsd_falls_over_a_tenth_unless_told():
    o = optim.Optim(learning_rate=1.0, schedule="wsd")
    np.testing.assert_allclose(_rates(o, 100, [89, 90, 95]), [1, 1, 0.5], rtol=1e-6)


def test_adamw_follows_the_rule_of_torch():
    """p -= lr wd p; p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)."""
    lr, wd, b1, b2, eps = 0.05, 0.3, 0.8, 0.95, 1e-3
    o = optim.Optim(
        learning_rate=lr,
        weight_decay=wd,
        b1=b1,
        b2=b2,
        eps=eps,
        schedule="constant",
        clip_norm=0.0,
    )
    tx = optim.build(o, 10)
    rng = np.random.default_rng(1)
    p = {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=(3,))}
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), p)
    state = tx.init(params)
    m, v = (jax.tree.map(np.zeros_like, p) for _ in range(2))
    for t in range(1, 6):
        g = {k: rng.normal(size=x.shape) * 1e-3 for k, x in p.items()}
        grads = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), g)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for k, old in p.items():
            m[k] = b1 * m[k] + (1 - b1) * g[k]
            v[k] = b2 * v[k] + (1 - b2) * g[k] ** 2
            bottom = np.sqrt(v[k]) / math.sqrt(1 - b2**t) + eps
            kept = old * (1 - lr * wd * (k == "kernel"))
            p[k] = kept - lr / (1 - b1**t) * m[k] / bottom
    for k, expected in p.items():
        np.testing.assert_allclose(params[k], expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_reduces_a_quadratic(name):
    o = optim.Optim(
        name=name,
        learning_rate=0.3 if name in ("adafactor", "muon") else 0.05,
        warmup_steps=5,
        weight_decay=1e-4,
    )
    tx = optim.build(o, 60)
    target = _params()
    params = jax.tree.map(jnp.ones_like, target)

    def loss(p):
        return sum(
            jnp.sum(jnp.square(a - b))
            for a, b in zip(jax.tree.leaves(p), jax.tree.leaves(target))
        )

    @jax.jit
    def step(p, state):
        updates, state = tx.update(jax.grad(loss)(p), state, p)
        return optax.apply_updates(p, updates), state

    state, before = tx.init(params), float(loss(params))
    shape = jax.tree.structure(state)
    for _ in range(60):
        params, state = step(params, state)
    assert float(loss(params)) < 0.5 * before
    assert jax.tree.structure(state) == shape


def test_clipping_keeps_direction_and_limits_the_length_over_all_leaves():
    tx = optim.build(_plain(clip_norm=2.0), 1)
    grads = {"a": jnp.full((2, 2), 3.0), "b": jnp.full((7,), 4.0)}
    assert float(optim.global_norm(grads)) == pytest.approx(math.sqrt(36 + 112))
    updates, _ = tx.update(grads, tx.init(grads), grads)
    assert float(optim.global_norm(updates)) == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_allclose(updates["a"][0, 0] / updates["b"][0], 0.75, rtol=1e-6)
    small = jax.tree.map(lambda x: x * 0.01, grads)
    updates, _ = tx.update(small, tx.init(grads), grads)
    jax.tree.map(lambda u, g: np.testing.assert_array_equal(u, -g), updates, small)


def test_one_nan_makes_every_clipped_update_nan():
    tx = optim.build(_plain(clip_norm=1.0), 1)
    grads = {"a": jnp.array([1.0, jnp.nan]), "b": jnp.ones(3)}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    assert np.isnan(updates["b"]).all()


def test_the_clipped_update_writes_out_no_copy_of_the_gradients():
    """XLA touches each array of AdamW 10 times: 7 to read and 3 to write."""
    tx = optim.build(optim.Optim(weight_decay=0.1), 10)
    params = {"kernel": jnp.ones((512, 512))}

    def update(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    args = (params, tx.init(params), params)
    compiled = jax.jit(update, donate_argnums=(0, 1)).lower(*args).compile()
    passes = compiled.cost_analysis()["bytes accessed"] / (4 * 512 * 512)
    assert passes < 11.5, "the norm reads the gradients once more; nothing else may"


@pytest.mark.parametrize("rule", optim.DECAY_MASKS)
def test_the_decay_mask_of_the_config_is_obeyed(rule):
    tx = optim.build(_plain(weight_decay=0.05, decay_mask=rule), 1)
    params = _params()
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    moved = jax.tree.map(lambda u: bool(jnp.any(u != 0)), updates)
    expected = {
        "matrices": masks.decay_mask(params),
        "kernels": masks.decay_mask(params, tables=False),
        "all": jax.tree.map(lambda x: True, params),
    }[rule]
    assert _names_where(moved) == _names_where(expected)
    np.testing.assert_allclose(
        updates["head"]["kernel"], -0.05 * params["head"]["kernel"], rtol=1e-6
    )


def test_layer_decay_slows_the_lower_layers():
    tx, params = optim.build(_plain(layer_decay=0.5), 1), _params()
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(ones, tx.init(params), params)
    rate = jax.tree.map(lambda u: -float(u.ravel()[0]), updates)
    assert rate["embed"]["tokens"] == 0.125
    assert rate["decoder"]["layers_0"]["mlp"]["up"] == 0.25
    assert rate["decoder"]["layers_1"]["attn_norm"]["scale"] == 0.5
    assert rate["decoder"]["norm"]["scale"] == rate["head"]["kernel"] == 1.0


def test_layer_decay_is_the_same_for_a_scanned_stack():
    tx = optim.build(_plain(layer_decay=0.5), 1)
    params = {"decoder": {"layers": {"up": jnp.ones((3, 2, 2))}}}
    updates, _ = tx.update(params, tx.init(params), params)
    got = updates["decoder"]["layers"]["up"][:, 0, 0]
    np.testing.assert_array_equal(got, [-0.125, -0.25, -0.5])


def test_muon_orthogonalizes_the_same_stacked_or_per_layer():
    tx = optim.build(optim.Optim(name="muon", weight_decay=0.0, clip_norm=0.0), 9)
    w = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 2, 3)), jnp.float32)
    apart = {f"layers_{i}": {"query": w[i]} for i in range(2)}
    together = {"layers": {"query": w}}
    one, _ = tx.update(apart, tx.init(apart), apart)
    two, _ = tx.update(together, tx.init(together), together)
    for i in range(2):
        np.testing.assert_allclose(
            one[f"layers_{i}"]["query"], two["layers"]["query"][i], rtol=1e-4, atol=1e-7
        )
    singular = np.linalg.svd(np.reshape(one["layers_0"]["query"], (6, 6)))[1]
    assert singular.max() / singular.min() < 2.5


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "adam"}, "'adam' is not one of adamw.*did you mean adamw"),
        ({"schedule": "cosin"}, "did you mean cosine"),
        ({"decay_mask": "none"}, "matrices, kernels, all"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 must be a number >= 0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"b2": 1.0}, "b2=1.0 must be"),
        ({"final_fraction": 1.5}, "final_fraction=1.5 must be between 0 and 1"),
        ({"layer_decay": 0.0}, "layer_decay=0.0 must be above 0"),
    ],
)
def test_a_wrong_field_is_refused_by_a_sentence(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        optim.Optim(**fields)


def test_a_warm_up_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="warmup_steps=100 do not fit into 50"):
        optim.build(optim.Optim(warmup_steps=100), 50)
    wsd = optim.Optim(schedule="wsd", warmup_steps=40, decay_steps=20)
    with pytest.raises(ValueError, match="decay_steps=20 do not fit into 50"):
        optim.schedule(wsd, 50)
