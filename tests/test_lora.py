"""Low-rank adapters: beside the weights, in training, and merged into them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from lmtasks.layers import linear
from lmtasks.models import config as configs
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.training import adapters
from lmtasks.training import lora as loras
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import step as steps

ALL = ("(attn|cross)/", "mlp/", "embed/tokens")
LORA = loras.Lora(rank=3, alpha=6.0, targets=ALL)


def weighted_loss(apply, params, batch, rng=None):
    """The mean square of all logits, as an objective's sums."""
    logits = apply(params, batch, rng)
    return {"loss": (jnp.sum(logits**2), jnp.float32(logits.size))}


def adapted(one, lora=LORA, *, moved=True):
    """Return (plain parameters, the same adapted); `moved` gives b values."""
    params = tiny.draw(one)
    tree = loras.adapt(params, models.logical_axes(one), lora, jax.random.key(5))
    if not moved:
        return params, tree
    rng = np.random.default_rng(1)

    def move(x):
        noise = rng.normal(size=x.b.shape).astype(np.float32)
        return x.replace(b=0.2 * noise) if loras.is_adapted(x) else x

    whole = lambda x: move(x) if loras.is_adapted(x) else x
    return params, jax.tree.map(whole, tree, is_leaf=loras.is_adapted)


def rows_for(architecture):
    return tiny.batch(7, 5, 3, architecture=architecture)


@pytest.mark.parametrize("architecture", ["encoder", "decoder", "encoder_decoder"])
def test_new_adapters_change_no_bit_of_the_outputs(architecture):
    one = tiny.usual(architecture)
    params, tree = adapted(one, moved=False)
    batch = rows_for(architecture)
    assert np.array_equal(
        tiny.logits(one, params, batch), tiny.logits(one, tree, batch)
    )
    one = tiny.replace(one, dtype="bfloat16")
    assert np.array_equal(
        tiny.logits(one, params, batch), tiny.logits(one, tree, batch)
    )


@pytest.mark.parametrize("architecture", ["encoder", "decoder", "encoder_decoder"])
def test_merged_weights_give_the_outputs_of_the_adapted_ones(architecture):
    one, batch = tiny.usual(architecture), rows_for(architecture)
    params, tree = adapted(one)
    whole = loras.merge(tree)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    found, plain = tiny.logits(one, tree, batch), tiny.logits(one, params, batch)
    assert np.abs(found - plain).max() > 0.1 * plain.std()
    atol = 1e-5 * found.std()
    np.testing.assert_allclose(
        tiny.logits(one, whole, batch), found, atol=atol, rtol=1e-5
    )


def test_weights_of_several_dims_are_adapted_as_matrices():
    one = tiny.model(attention={"heads": 4, "kv_heads": 2, "head_dim": 6}, tied=False)
    _, tree = adapted(one)
    layer = tree["decoder"]["layers_0"]
    sizes = {name: (x.a.shape, x.b.shape) for name, x in layer["attn"].items()}
    assert sizes["query"] == ((32, 3), (3, 24)) and sizes["key"] == ((32, 3), (3, 12))
    assert sizes["out"] == ((24, 3), (3, 32))
    assert layer["mlp"]["down"].a.shape == (48, 3)
    assert not loras.is_adapted(layer["attn_norm"]["scale"])
    out = layer["attn"]["out"]
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 6)).astype(np.float32)
    weight = out.base + out.scale * (out.a @ out.b).reshape(4, 6, 32)
    np.testing.assert_allclose(
        linear.project(x, out, inputs=2),
        np.einsum("BTNH,NHD->BTD", x, weight),
        atol=1e-4,
    )
    assert tree["embed"]["tokens"].scale == 2.0


def test_a_stack_of_layers_is_the_layers_one_by_one():
    one = tiny.model()
    _, tree = adapted(one)
    stacked, batch = layout.stack_layers(tree), rows_for("decoder")
    scanned = tiny.replace(one, scan_layers=True, remat="full")
    axes = models.logical_axes(scanned)
    made = jax.eval_shape(
        lambda p: loras.adapt(p, axes, LORA, jax.random.key(0)), tiny.shapes(scanned)
    )
    assert jax.tree.structure(made) == jax.tree.structure(stacked)
    same = jax.tree.map(lambda a, b: a.shape == b.shape, made, stacked)
    assert all(jax.tree.leaves(same))
    np.testing.assert_allclose(
        tiny.logits(scanned, stacked, batch), tiny.logits(one, tree, batch), atol=1e-5
    )
    whole = loras.merge(stacked)
    for a, b in zip(jax.tree.leaves(layout.unstack_layers(whole)),
                    jax.tree.leaves(loras.merge(tree)), strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_adapters_go_out_and_in_under_the_names_of_layers():
    one = tiny.model()
    params, tree = adapted(one, dataclasses.replace(LORA, targets=("attn/query$",)))
    alone = adapters.adapters_of(tree)
    names = [f"decoder/layers_{i}/attn/query" for i in range(2)]
    assert list(alone) == names
    stacked = layout.stack_layers(tree)
    for name, pair in adapters.adapters_of(stacked).items():
        assert all(map(np.array_equal, pair, alone[name]))
    for begun, whole in ((params, tree), (layout.stack_layers(params), stacked)):
        back = adapters.with_adapters(begun, alone, LORA)
        assert jax.tree.structure(back) == jax.tree.structure(whole)
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, back, whole)))
    with pytest.raises(ValueError, match="belongs to none.*layers_1/attn/query"):
        adapters.with_adapters(params, {"layers_1/attn/quer": alone[names[0]]}, LORA)
    a, b = alone[names[0]]
    with pytest.raises(ValueError, match="does not fit the weight"):
        adapters.with_adapters(params, {names[0]: (a[1:], b)}, LORA)


def recipe_of(one, tree, lora=LORA, **changes):
    trained = loras.trained(tree, {"lora.also": lora.also})
    return steps.Recipe(
        apply=loras.with_dropout(one.apply, lora),
        loss=weighted_loss,
        tx=optax.adam(0.01),
        schedule=lambda n: 0.01,
        frozen=jax.tree.map(lambda x: not x, trained),
        **changes,
    )


def test_a_step_trains_adapters_and_nothing_else():
    one, batch = tiny.model(), rows_for("decoder")
    _, tree = adapted(one, moved=False)
    recipe = recipe_of(one, tree)
    before = jax.tree.map(np.array, tree)
    state = steps.init_state(recipe, tree, jax.random.key(0))
    names = {masks.name_of(p) for p, _ in jax.tree.leaves_with_path(state.opt_state)}
    assert len(names) > 10 and all(n.endswith(("/a", "/b", "count")) for n in names)
    update = jax.jit(functools.partial(steps.train_step, recipe))
    for _ in range(2):
        state, metrics = update(state, batch)
    assert metrics["grad_norm"] > 0
    for path, old in jax.tree.leaves_with_path(before):
        name, new = masks.name_of(path), state.params
        for key in path:
            new = new[key.key] if hasattr(key, "key") else getattr(new, key.name)
        assert np.array_equal(new, old) != name.endswith(("/a", "/b")), name


def test_also_trains_more_in_full():
    one = tiny.model("encoder", head="classify", classes=3)
    lora = loras.Lora(rank=2, targets=("query$",), also=("^top/", "attn/query$"))
    _, tree = adapted(one, lora)
    trained = loras.trained(tree, {"lora.also": lora.also})
    names = {masks.name_of(p) for p, yes in jax.tree.leaves_with_path(trained) if yes}
    parts = {f"encoder/layers_{i}/attn/query/{p}" for i in (0, 1) for p in
             ("base", "a", "b")}  # fmt: skip
    assert names == parts | {"top/out", "top/out_bias"}


def test_dropout_is_on_in_training_only_and_differs_between_weights_and_layers():
    lora = dataclasses.replace(LORA, dropout=0.5, targets=("attn/",))
    one, batch = tiny.model(), rows_for("decoder")
    _, tree = adapted(one, lora)
    apply = jax.jit(loras.with_dropout(one.apply, lora))
    key = jax.random.key
    assert np.array_equal(apply(tree, batch, None), tiny.logits(one, tree, batch))
    first, again, other = (apply(tree, batch, key(i)) for i in (0, 0, 1))
    assert np.array_equal(first, again) and not np.allclose(first, other)


def test_every_weight_and_every_layer_of_a_stack_drops_inputs_of_its_own():
    lora = dataclasses.replace(LORA, dropout=0.5)
    seen = []

    def apply(params, batch, rng):
        found = loras.flat(params).values()
        seen.extend(jax.random.key_data(x.key) for x in found if loras.is_adapted(x))

    _, tree = adapted(tiny.model(), lora)
    loras.with_dropout(apply, lora)(layout.stack_layers(tree), {}, jax.random.key(0))
    words = np.concatenate([np.reshape(x, (-1, 2)) for x in seen])
    assert len(seen) == 7 and len(np.unique(words, axis=0)) == len(words) == 13


def test_dropout_reaches_scanned_and_recomputed_layers():
    lora = dataclasses.replace(LORA, dropout=0.5, targets=("attn/query",))
    one = tiny.model(scan_layers=True, remat="dots", mlp=8, width=16)
    batch = tiny.batch(4, 3)
    _, tree = adapted(one, lora)
    apply = loras.with_dropout(one.apply, lora)
    slope = jax.jit(jax.grad(lambda p, key: jnp.mean(apply(p, batch, key) ** 2)))
    both = [slope(tree, jax.random.key(i)) for i in (0, 0, 1)]
    first, again, other = (x["decoder"]["layers"]["attn"]["query"].b for x in both)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max(axis=(1, 2)).all()


def test_dropout_keeps_the_mean_of_what_an_adapter_reads():
    w = linear.LowRank(jnp.zeros((4, 1)), jnp.ones((4, 1)), jnp.ones((1, 1)), 1.0)
    w = w.replace(key=jax.random.key(0), rate=0.25)
    y = linear.project(jnp.ones((4000, 4)), w)
    np.testing.assert_allclose(y.mean(), 4.0, atol=0.06)
    np.testing.assert_allclose(np.unique(y), np.arange(5) * 4 / 3, atol=1e-6)


@pytest.mark.parametrize("other", ["pmap", "accumulate"])
def test_a_step_is_the_same_under_pmap_and_in_micro_batches(other):
    one, batch = tiny.model(layers=1), tiny.batch(*[7, 5, 3, 6] * 4)
    _, tree = adapted(one, dataclasses.replace(LORA, targets=("attn/",)))
    found = []
    for kind in ("jit", other):
        recipe = recipe_of(one, tree, accumulate=1 + (kind == "accumulate"))
        start = jax.tree.map(jnp.array, tree)
        state = steps.init_state(recipe, start, jax.random.key(0))
        make = steps.pmap_step if kind == "pmap" else steps.jit_step
        found.append(make(recipe)(state, batch)[0].params)
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_adapters_are_sharded_like_the_sides_of_their_weight():
    one = tiny.model()
    mesh = parallel.make_mesh(parallel.Parallel(data=2, fsdp=2, tensor=2))
    shapes, axes = loras.like(one, dataclasses.replace(LORA, rank=4))
    placed = parallel.param_shardings(mesh, axes, shapes)
    attn = placed["decoder"]["layers_0"]["attn"]
    assert tuple(attn["query"].a.spec) == ("fsdp", None)
    assert tuple(attn["query"].b.spec) == (None, "tensor")
    assert tuple(attn["out"].a.spec) == ("tensor", None)
    assert tuple(attn["out"].b.spec) == (None, "fsdp")
    _, axes = loras.like(tiny.replace(one, scan_layers=True), LORA)
    query = axes["decoder"]["layers"]["attn"]["query"]
    assert tuple(query.a) == ("layers", "embed", None)
    batch = tiny.batch(7, 5, 3, 6)
    _, tree = adapted(one, dataclasses.replace(LORA, rank=4))
    with jax.set_mesh(mesh), parallel.rules():
        there = jax.device_put(tree, placed)
        rows = parallel.put(batch, parallel.batch_sharding(mesh))
        found = jax.jit(one.apply)(there, rows)
    np.testing.assert_allclose(found, tiny.logits(one, tree, batch), atol=1e-4)


def test_llama_2_7b_with_rank_8_on_query_and_value_trains_4194304_numbers():
    cfg = configs.TransformerConfig(
        vocab=32000, width=4096, layers=32, mlp=11008, activation="silu", gated=True,
        attention=configs.Attention(heads=32), tied=False, scan_layers=True,
    )  # fmt: skip
    one = models.Model("decoder", cfg)
    lora = loras.Lora(rank=8, targets=("attn/(query|value)$",))
    shapes, _ = loras.like(one, lora)
    frozen = jax.tree.map(lambda x: not x, loras.trained(shapes, {}))
    trained, held = masks.split(shapes, frozen)
    assert models.count(trained) == 4_194_304
    assert models.count(held) == 6_738_415_616


def test_the_scale_is_alpha_over_the_rank_or_its_root():
    lora = loras.Lora(rank=16, alpha=8.0, targets=("query",))
    assert lora.scale() == 0.5
    assert dataclasses.replace(lora, rs=True).scale() == 2.0
    assert lora.scale(4) == 2.0


def test_names_of_adapters_are_names_of_their_weights():
    assert masks.weight_of("decoder/layers_0/attn/query/a") == (
        "decoder/layers_0/attn/query"
    )
    assert masks.is_table("embed/tokens/b") and not masks.is_table("x/query/b")
    _, tree = adapted(tiny.model())
    frozen = masks.freeze_mask(tree, ("layers_0/attn/query$", "tokens$"))
    held = {masks.name_of(p) for p, yes in jax.tree.leaves_with_path(frozen) if yes}
    assert held == {f"{name}/{part}" for part in ("base", "a", "b") for name in
                    ("decoder/layers_0/attn/query", "embed/tokens")}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "lora.rank=-1 must be at least 1"),
        ({"rank": 2, "targets": ()}, "lora.rank=2 needs lora.targets"),
        ({"rank": 2, "alpha": 0.0}, "lora.alpha=0.0 must be above 0"),
        ({"rank": 2, "dropout": 1.0}, "lora.dropout=1.0 must be at least 0"),
        ({"rank": 2, "targets": ("attn/quary$",)}, "lora.targets pattern.*attn/query"),
        ({"rank": 2, "targets": ("norm/scale",)}, "matches none"),
        ({"rank": 2, "targets": ("(",)}, "no regular expression"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_a_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        loras.like(tiny.model(), loras.Lora(**{"targets": ("query",)} | settings))
