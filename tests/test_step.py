"""One train step: what may not change an update, and what must."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from lmtasks import losses
from lmtasks.training import masks
from lmtasks.training import optim
from lmtasks.training import step as steps


def _loss(apply, params, batch, rng):
    logits = apply(params, batch, rng)
    return losses.token_cross_entropy(logits, batch["targets"], batch["weights"])


@functools.cache
def _recipe(*, dropout=0.0, name="sgd", **changes):
    one = tiny.model(
        positions={"kind": "learned"}, dropout=dropout, attention_dropout=dropout
    )
    tx = optim.build(optim.Optim(name=name, learning_rate=0.1, schedule="constant"), 10)
    return steps.Recipe(one.apply, _loss, tx, lambda n: 0.1 / (n + 1), **changes)


def _params():
    return jax.tree.map(
        jnp.asarray, tiny.draw(tiny.model(positions={"kind": "learned"}))
    )


def _state(recipe):
    return steps.init_state(recipe, _params(), jax.random.key(3))


@functools.cache
def _step(recipe):
    return steps.jit_step(recipe)


def _batch(rows=8):
    """Rows of very different weight, so that a mean of means would show."""
    lengths = (9, 1, 3, 2, 9, 5, 1, 7)[:rows]
    batch = tiny.batch(*lengths, width=9)
    rng = np.random.default_rng(1)
    batch["targets"] = rng.integers(0, tiny.VOCAB, (rows, 9)).astype(np.int32)
    batch["weights"] = (batch["positions"] >= 0).astype(np.float32)
    batch["weights"][0, :4] = 0
    return batch


def _run(recipe, batch, updates=1):
    state = _state(recipe)
    for _ in range(updates):
        state, metrics = _step(recipe)(state, batch)
    return state, {k: float(v) for k, v in metrics.items()}


def _assert_near(a, b, atol=1e-5):
    for (path, x), y in zip(
        jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        np.testing.assert_allclose(x, y, atol=atol, err_msg=masks.name_of(path))


def test_the_update_is_that_of_the_mean_over_all_weights():
    recipe, batch, params = _recipe(), _batch(), _params()

    def mean(p):
        logits = recipe.apply(p, batch)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        return jnp.sum(each * batch["weights"]) / batch["weights"].sum()

    loss, slope = jax.jit(jax.value_and_grad(mean))(params)
    state, metrics = _run(recipe, batch)
    norm = float(optax.tree.norm(slope))
    clipped = 0.1 / max(norm, 1.0)
    decay = jax.tree.map(lambda y: 0.1 * 0.01 * y, masks.decay_mask(params))
    wanted = jax.tree.map(lambda p, g, d: p - clipped * g - d * p, params, slope, decay)
    _assert_near(state.params, wanted)
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert metrics["weight"] == batch["weights"].sum()


def test_the_metrics_are_named_and_follow_the_schedule():
    _, metrics = _run(_recipe(), _batch(), updates=3)
    names = {"loss", "accuracy", "grad_norm", "learning_rate", "weight"}
    assert set(metrics) == names
    assert metrics["learning_rate"] == pytest.approx(0.1 / 3)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_micro_batches_are_one_batch(parts):
    state, metrics = _run(_recipe(), _batch())
    again, other = _run(_recipe(accumulate=parts), _batch())
    _assert_near(again.params, state.params)
    assert other == pytest.approx(metrics, rel=1e-4)


def _linear(apply, params, batch, rng):
    del apply, rng
    each = params["slope"] * batch["values"]
    return {"loss": (jnp.sum(each * batch["weights"]), jnp.sum(batch["weights"]))}


def _plain(loss, **changes):
    return steps.Recipe(None, loss, optax.sgd(1.0), lambda n: 1.0, **changes)


def test_the_mean_of_means_is_not_what_accumulation_takes():
    """Micro-batches with losses 2, 2, 2, 2 and 1: 1.8, where a mean of means is 1.5."""
    batch = {
        "values": jnp.array([[2.0, 2, 2, 2], [1, 9, 9, 9]]),
        "weights": jnp.array([[1.0, 1, 1, 1], [1, 0, 0, 0]]),
    }
    recipe = _plain(_linear, accumulate=2)
    state = steps.init_state(recipe, {"slope": jnp.float32(1)}, jax.random.key(0))
    new, metrics = steps.jit_step(recipe)(state, batch)
    assert float(metrics["loss"]) == pytest.approx(1.8)
    assert float(new.params["slope"]) == pytest.approx(1 - 1.8)


def test_rows_that_only_fill_the_batch_change_nothing():
    batch = _batch(6)
    room = {"positions": -1, "weights": 0.0, "targets": 11, "tokens": 7}
    full = {
        k: np.concatenate([v, np.full((2, 9), room[k], v.dtype)])
        for k, v in batch.items()
    }
    state, metrics = _run(_recipe(), batch)
    again, other = _run(_recipe(), full)
    _assert_near(again.params, state.params)
    assert other == pytest.approx(metrics, rel=1e-5)


def test_the_order_of_rows_changes_nothing():
    batch = _batch()
    turned = {k: v[::-1] for k, v in batch.items()}
    state, _ = _run(_recipe(accumulate=2), batch)
    again, _ = _run(_recipe(accumulate=2), turned)
    _assert_near(again.params, state.params)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "ema": 0.5}])
def test_pmap_takes_the_step_that_jit_takes(changes):
    recipe = _recipe(**changes)
    batch = {k: np.concatenate([v, v[::-1]]) for k, v in _batch().items()}
    state, metrics = _run(recipe, batch)
    again, other = steps.pmap_step(recipe)(_state(recipe), batch)
    _assert_near(again.params, state.params)
    if recipe.ema:
        _assert_near(again.ema, state.ema)
    assert {k: float(v) for k, v in other.items()} == pytest.approx(metrics, rel=1e-4)
    assert int(again.step) == 1
    shapes = jax.tree.map(lambda x, y: x.shape == y.shape, again, state)
    assert all(jax.tree.leaves(shapes))


def test_the_average_follows_the_parameters_at_its_decay():
    recipe, start = _recipe(ema=0.9), _params()
    one, _ = _run(recipe, _batch())
    mix = lambda old, new: jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, old, new)
    _assert_near(one.ema, mix(start, one.params), atol=1e-6)
    two, _ = _run(recipe, _batch(), updates=2)
    _assert_near(two.ema, mix(one.ema, two.params), atol=1e-6)
    assert _run(_recipe(), _batch())[0].ema is None


def test_frozen_leaves_stay_as_they_are_and_have_no_optimizer_state():
    params = _params()
    frozen = masks.freeze_mask(params, ("embed", "layers_0"))
    plain = _recipe(name="adamw")
    recipe = dataclasses.replace(plain, frozen=frozen)
    state = _state(recipe)
    names = [masks.name_of(p) for p, _ in jax.tree.leaves_with_path(state.opt_state)]
    assert not any("embed" in n or "layers_0" in n for n in names)
    assert any("layers_1" in n for n in names)
    new, metrics = steps.jit_step(recipe)(state, _batch())

    def check(path, old, held, now):
        same = np.array_equal(old, now)
        assert same == held, masks.name_of(path)

    jax.tree_util.tree_map_with_path(check, _params(), frozen, new.params)
    assert metrics["grad_norm"] > 0
    _, whole = _run(plain, _batch())
    assert float(metrics["loss"]) == pytest.approx(whole["loss"])
    assert float(metrics["grad_norm"]) < whole["grad_norm"]


def test_the_same_state_and_batch_take_the_same_step_with_dropout():
    recipe, batch = _recipe(dropout=0.4), _batch()
    state, metrics = _run(recipe, batch)
    again, other = _run(recipe, batch)
    assert metrics == other
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    later = _state(recipe).replace(step=jnp.int32(1))
    assert float(_step(recipe)(later, batch)[1]["loss"]) != metrics["loss"]
    elsewhere = _state(recipe).replace(rng=jax.random.key(4))
    assert float(_step(recipe)(elsewhere, batch)[1]["loss"]) != metrics["loss"]


def _noise(apply, params, batch, rng):
    """A loss that is the draw of its key alone."""
    del apply
    draw = jax.random.uniform(rng) * jnp.ones(())
    return {
        "loss": (draw + 0 * params["slope"] * batch["values"].sum(), 1.0 + 0 * draw)
    }


def test_the_draws_of_a_step_are_its_own_however_it_was_reached():
    recipe, batch = _plain(_noise, accumulate=2), {"values": jnp.zeros((16, 1))}
    step = steps.jit_step(recipe)
    fresh = lambda: steps.init_state(
        recipe, {"slope": jnp.float32(1)}, jax.random.key(0)
    )
    state, run = fresh(), []
    for _ in range(5):
        state, metrics = step(state, batch)
        run.append(float(metrics["loss"]))
    jumped = [
        float(step(fresh().replace(step=jnp.int32(s)), batch)[1]["loss"])
        for s in range(5)
    ]
    assert run == jumped and len(set(run)) == 5


def test_micro_batches_and_devices_draw_their_own_dropout():
    batch = {"values": jnp.zeros((16, 1))}

    def mean(step, recipe):
        state = steps.init_state(recipe, {"slope": jnp.float32(1)}, jax.random.key(0))
        return float(step(recipe)(state, batch)[1]["loss"])

    single = mean(steps.jit_step, _plain(_noise))
    halves = mean(steps.jit_step, _plain(_noise, accumulate=2))
    devices = mean(steps.pmap_step, _plain(_noise))
    assert len({round(x, 6) for x in (single, halves, devices)}) == 3
    # Were all eight draws one, their mean would be a draw of one of their keys.
    key = jax.random.fold_in(jax.random.key(0), 0)
    draws = [float(jax.random.uniform(jax.random.fold_in(key, i))) for i in range(8)]
    assert devices == pytest.approx(np.mean(draws))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_batch_of_weight_zero_costs_nothing_and_breaks_nothing(name):
    batch = _batch() | {"weights": np.zeros((8, 9), np.float32)}
    batch["positions"] = np.full_like(batch["positions"], -1)
    state, metrics = _run(_recipe(name=name), batch)
    assert metrics["loss"] == metrics["weight"] == metrics["grad_norm"] == 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    decay = jax.tree.map(lambda y: 1 - 0.1 * 0.01 * y, masks.decay_mask(_params()))
    _assert_near(state.params, jax.tree.map(jnp.multiply, _params(), decay))


def test_rows_that_are_not_valid_count_nothing_in_evaluation():
    recipe, batch = _recipe(), _batch()
    evaluate = jax.jit(functools.partial(steps.eval_step, recipe))
    whole = evaluate(_params(), batch | {"valid": np.ones(8, np.float32)})
    first = np.array([1, 1, 1, 0, 0, 0, 0, 0], np.float32)
    parts = [evaluate(_params(), batch | {"valid": v}) for v in (first, 1 - first)]
    for key in ("loss", "accuracy"):
        sums = np.sum([[float(x) for x in part[key]] for part in parts], axis=0)
        np.testing.assert_allclose(sums, whole[key], rtol=1e-5)
    assert float(parts[0]["loss"][1]) == batch["weights"][:3].sum()


def test_evaluation_has_no_dropout():
    batch = _batch() | {"valid": np.ones(8, np.float32)}
    got = [
        jax.jit(functools.partial(steps.eval_step, _recipe(dropout=rate)))(
            _params(), batch
        )
        for rate in (0.0, 0.5)
    ]
    assert float(got[0]["loss"][0]) == float(got[1]["loss"][0])
