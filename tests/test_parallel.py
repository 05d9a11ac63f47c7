"""Meshes, shardings, and the same update on one device and on eight."""

import ast
import dataclasses
import functools
import itertools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from lmtasks import losses
from lmtasks.models import model as models
from lmtasks.training import masks
from lmtasks.training import optim
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir

ARCHITECTURES = ("encoder", "decoder", "encoder_decoder")


def _mesh(data=1, fsdp=1, sequence=1, tensor=1, replica=1):
    sizes = (data, fsdp, sequence, tensor)
    return parallel.make_mesh(parallel.Parallel(*sizes, replica=replica))


@pytest.mark.parametrize(
    "axes, said",
    [
        ({"data": 3}, "data=3, .* does not match the 8 devices"),
        ({"data": -1, "fsdp": 3}, "does not match the 8 devices"),
        ({"data": -1, "fsdp": -1}, "one may be -1"),
        ({"data": 0}, "at least 1"),
        ({"data": 16}, "does not match the 8 devices"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused_with_a_sentence(axes, said):
    with pytest.raises(ValueError, match=said):
        parallel.make_mesh(parallel.Parallel(**axes))


def test_the_axis_of_minus_one_takes_the_remaining_devices():
    assert parallel.Parallel().sizes(8) == (1, 8, 1, 1, 1)
    assert parallel.Parallel(data=2, tensor=-1).sizes(8) == (1, 2, 1, 1, 4)
    assert parallel.Parallel(replica=2).sizes(8) == (2, 4, 1, 1, 1)
    mesh = _mesh(2, 2, 1, 2)
    sizes = {"data": 2, "fsdp": 2, "sequence": 1, "tensor": 2}
    assert dict(mesh.shape) == {"replica": 1} | sizes


def test_pmap_takes_data_parallelism_alone():
    with pytest.raises(ValueError, match="set parallel.replica, parallel.fsdp"):
        parallel.Parallel(fsdp=2, mode="pmap")
    with pytest.raises(ValueError, match="jit, pmap"):
        parallel.Parallel(mode="pmapp")


@dataclasses.dataclass(frozen=True)
class Chip:
    """A device of a torus, as much of it as a mesh asks for."""

    id: int
    coords: tuple[int, ...]
    slice_index: int = 0
    platform = "tpu"
    device_kind = "TPU v5"
    core_on_chip = process_index = 0


@pytest.mark.parametrize("tensor", [4, 8, 16, 32])
def test_an_axis_may_take_a_part_of_a_dimension_of_a_torus(tensor):
    places = enumerate(itertools.product(range(4), repeat=3))
    chips = [Chip(i, place[::-1]) for i, place in places]
    axes = parallel.Parallel(data=1, fsdp=-1, tensor=tensor)
    mesh = parallel.make_mesh(axes, chips)
    groups = mesh.devices.reshape(-1, tensor)
    assert len({chip.id for chip in groups.flat}) == 64
    for group in groups:  # neighbours: a box of the torus
        sides = np.ptp([chip.coords for chip in group], axis=0) + 1
        assert np.prod(sides) == tensor


@pytest.mark.parametrize("replica", [2, 4])
def test_replicas_lie_on_slices_of_their_own_and_the_other_axes_within_one(replica):
    places = [place[::-1] for place in itertools.product(range(2), repeat=3)]
    chips = [Chip(8 * n + i, at, n) for n in (1, 0) for i, at in enumerate(places)]
    axes = parallel.Parallel(data=1, fsdp=-1, tensor=2, replica=replica)
    mesh = parallel.make_mesh(axes, chips)
    assert mesh.devices.shape == (replica, 1, 8 // replica, 1, 2)
    assert len({chip.id for chip in mesh.devices.flat}) == 16
    for i, part in enumerate(mesh.devices):
        assert {chip.slice_index for chip in part.flat} == {2 * i // replica}
    with pytest.raises(ValueError, match="of 2 slices, so it must be 2 or a multiple"):
        parallel.make_mesh(parallel.Parallel(), chips)


def test_a_batch_that_does_not_divide_is_refused_with_what_would():
    parallel.check_batch(_mesh(4, 2), 32, 4)
    with pytest.raises(ValueError, match="24 is not divisible by 32 .* multiple of 32"):
        parallel.check_batch(_mesh(4, 2), 24, 4)
    parallel.check_batch(_mesh(1, 1, 2, 4), 3, 1)  # rows are not cut here


def test_an_unknown_logical_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'head'"):
        parallel.mesh_axes("heat")
    with pytest.raises(ValueError, match="no sharding rule"):
        parallel.param_sharding(_mesh(8), PartitionSpec("widht"), (8,))


def test_every_constraint_in_the_source_names_known_axes():
    """linen leaves an activation of unknown name whole, without a word."""
    names = []
    for path in pathlib.Path(models.__file__).parents[1].rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if getattr(getattr(call, "func", None), "attr", "").endswith(
                "logical_constraint"
            ):
                names += ast.literal_eval(call.args[1])
    assert len(names) >= 6
    for name in names:
        parallel.mesh_axes(name)


def test_a_dim_that_does_not_divide_stays_whole_and_no_axis_is_used_twice():
    mesh = _mesh(1, 2, 1, 4)
    spec = lambda *names, shape: (
        parallel.param_sharding(mesh, PartitionSpec(*names), shape).spec
    )
    assert spec("vocab", "embed", shape=(50, 32)) == PartitionSpec(None, "fsdp")
    assert spec("vocab", "embed", shape=(52, 32)) == PartitionSpec("tensor", "fsdp")
    assert spec("embed", "embed", shape=(8, 8)) == PartitionSpec("fsdp", None)
    assert spec("heads", "mlp", shape=(4, 8)) == PartitionSpec("tensor", None)


def _shardings(one, mesh):
    return parallel.param_shardings(mesh, models.logical_axes(one), tiny.shapes(one))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("parts", [8, 2])
def test_no_large_parameter_is_replicated_under_fsdp(architecture, parts):
    one = tiny.model(architecture, positions={"kind": "learned"}, scan_layers=True)
    shardings = _shardings(one, _mesh(data=8 // parts, fsdp=parts))
    for x, sharding in zip(
        jax.tree.leaves(tiny.shapes(one)), jax.tree.leaves(shardings), strict=True
    ):
        part = math.prod(sharding.shard_shape(x.shape))
        assert part == x.size // parts or x.size <= 32, (x.shape, sharding.spec)


def test_tensor_parallelism_cuts_heads_hidden_widths_and_vocabulary():
    one = tiny.model(vocab=52, gated=True, tied=False, attention={"kv_heads": 2})
    s = _shardings(one, _mesh(data=2, tensor=4))
    layer = s["decoder"]["layers_0"]
    assert layer["attn"]["query"].spec == PartitionSpec("fsdp", "tensor", None)
    assert layer["attn"]["key"].spec == PartitionSpec("fsdp", None, None)  # 2 heads
    assert layer["attn"]["out"].spec == PartitionSpec("tensor", None, "fsdp")
    assert layer["mlp"]["up"].spec == PartitionSpec("fsdp", "tensor")
    assert layer["mlp"]["down"].spec == PartitionSpec("tensor", "fsdp")
    assert s["top"]["table"].spec == PartitionSpec("tensor", "fsdp")


def test_what_a_mesh_axis_does_not_divide_is_said():
    one = tiny.model(vocab=50, attention={"kv_heads": 2})  # keys and values, 2 layers
    heads, vocab = workdir.undivided(one, _mesh(data=2, tensor=4))
    assert heads.startswith("parallel.tensor=4 does not divide kv_heads=2: 4 parameter")
    assert vocab.startswith("parallel.tensor=4 does not divide vocab=50: 1 parameter")
    assert workdir.undivided(tiny.model(vocab=52), _mesh(fsdp=2, tensor=4)) == []


def _placed(one, tx, mesh, frozen=None):
    """Return (shapes, shardings) of the optimizer's state."""
    shardings, shapes = _shardings(one, mesh), tiny.shapes(one)
    if frozen is not None:
        shardings = masks.split(shardings, frozen)[0]
        shapes = masks.split(shapes, frozen)[0]
    state = jax.eval_shape(tx.init, shapes)
    return state, parallel.like_params(mesh, shardings, state)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_the_optimizers_state_is_sharded_like_the_parameters(name):
    one, mesh = tiny.model(), _mesh(fsdp=8)
    tx = optim.build(optim.Optim(name=name, schedule="constant"), 10)
    state, shardings = _placed(one, tx, mesh)
    large = 0
    for x, sharding in zip(
        jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True
    ):
        assert len(sharding.spec) <= x.ndim, (x.shape, sharding.spec)
        if x.size >= 1024:
            large += 1
            part = math.prod(sharding.shard_shape(x.shape))
            assert part == x.size // 8, (x.shape, sharding.spec)
    assert large or name == "adafactor"
    # And jit takes them.
    jax.jit(tx.init, out_shardings=shardings).lower(tiny.shapes(one))


def test_frozen_parameters_have_no_state_to_shard():
    one, mesh = tiny.model(), _mesh(fsdp=8)
    tx = optim.build(optim.Optim(schedule="constant"), 10)
    frozen = masks.freeze_mask(tiny.shapes(one), ("embed/tokens", "attn"))
    state, shardings = _placed(one, tx, mesh, frozen)
    names = [masks.name_of(p) for p, _ in jax.tree.leaves_with_path(state)]
    assert names and not any("tokens" in n or "attn/" in n for n in names)
    sharded = [s for s in jax.tree.leaves(shardings) if s.spec != PartitionSpec()]
    assert len(sharded) >= 2 * 4  # Adam's two moments of up and down in two layers


def _loss(apply, params, batch, rng):
    logits = apply(params, batch, rng)
    return losses.token_cross_entropy(logits, batch["targets"], batch["weights"])


@functools.cache
def _problem(architecture):
    """Return (model, recipe, params, batch, loss and gradient on one device)."""
    kind = {"encoder": "learned", "decoder": "rotary", "encoder_decoder": "t5"}
    one = tiny.model(
        architecture,
        positions={"kind": kind[architecture]},
        attention={"kv_heads": 2, "bias": True, "out_bias": True},
        vocab=52,
        layers=1,
    )
    given = {"name": "sgd", "schedule": "constant", "clip_norm": 0.0}
    tx = optim.build(optim.Optim(learning_rate=0.1, **given), 10)
    recipe = steps.Recipe(one.apply, _loss, tx, lambda n: 0.1)
    rows = tiny.batch(8, 3, 5, 8, 1, 7, 6, 2, architecture=architecture)
    rng = np.random.default_rng(1)
    rows["targets"] = rng.integers(0, 50, rows["tokens"].shape).astype(np.int32)
    rows["weights"] = (rows["positions"] >= 0).astype(np.float32)
    params = tiny.draw(one)

    def mean(p):
        total, weight = _loss(one.apply, p, rows, None)["loss"]
        return total / weight

    loss, slope = jax.jit(jax.value_and_grad(mean))(params)
    return one, recipe, params, rows, float(loss), slope


def _same_gradient(state, wanted):
    """Assert that the first update was made of this gradient: its momentum."""
    for (path, x), y in zip(
        jax.tree.leaves_with_path(optax.tree.get(state.opt_state, "trace")),
        jax.tree.leaves(wanted),
        strict=True,
    ):
        assert np.any(y), masks.name_of(path)
        np.testing.assert_allclose(x, y, atol=1e-5, err_msg=masks.name_of(path))


def _places(state, mesh, shardings):
    """Return the shardings of a train state, given those of its parameters."""
    whole = parallel.replicated(mesh)
    return steps.TrainState(
        step=whole,
        params=shardings,
        opt_state=parallel.like_params(mesh, shardings, state.opt_state),
        ema=None,
        rng=whole,
    )


def _sharded_update(architecture, mesh):
    """Return (lowered text, new state, metrics) of one update on the mesh."""
    one, recipe, params, rows, *_ = _problem(architecture)
    shardings = _shardings(one, mesh)
    state = steps.init_state(recipe, params, jax.random.key(0))
    placed = _places(state, mesh, shardings)
    with jax.set_mesh(mesh), parallel.rules():
        state = jax.device_put(state, placed)
        batch = parallel.put(rows, parallel.batch_sharding(mesh))
        lowered = steps.jit_step(recipe).lower(state, batch)
        new, metrics = lowered.compile()(state, batch)
    return lowered.as_text(), new, metrics


MESHES = (
    (8, 1, 1, 1), (4, 2, 1, 1), (2, 2, 1, 2), (1, 2, 2, 2), (1, 8, 1, 1),
    (1, 2, 1, 2, 2),
)  # fmt: skip
FOR_ALL = ((8, 1, 1, 1), (1, 8, 1, 1), (2, 2, 1, 2), (1, 2, 2, 2))


@pytest.mark.parametrize(
    "architecture, shape",
    [("decoder", shape) for shape in MESHES]
    + [(kind, shape) for kind in ("encoder", "encoder_decoder") for shape in FOR_ALL],
)
def test_an_update_on_a_mesh_is_the_update_on_one_device(architecture, shape):
    mesh = _mesh(*shape)
    *_, loss, wanted = _problem(architecture)
    text, new, metrics = _sharded_update(architecture, mesh)
    assert text.count("sharding_constraint") + text.count("@Sharding") > 2
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    _same_gradient(new, wanted)
    one = _problem(architecture)[0]
    for x, sharding in zip(
        jax.tree.leaves(new.params), jax.tree.leaves(_shardings(one, mesh)), strict=True
    ):
        assert x.sharding.is_equivalent_to(sharding, x.ndim), (x.shape, x.sharding)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_update_under_pmap_is_the_update_on_one_device(architecture):
    _, recipe, params, rows, loss, wanted = _problem(architecture)
    state = steps.init_state(recipe, jax.tree.map(jnp.copy, params), jax.random.key(0))
    new, metrics = steps.pmap_step(recipe)(state, rows)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    _same_gradient(new, wanted)


def test_rules_can_be_changed_for_a_run():
    mesh, logical = _mesh(1, 4, 1, 2), PartitionSpec("embed", "mlp")
    of = lambda: parallel.param_sharding(mesh, logical, (16, 32)).spec
    assert of() == PartitionSpec("fsdp", "tensor")
    changed = parallel.Parallel(rules=("embed:", "mlp:fsdp"))
    with parallel.following(changed):
        assert of() == PartitionSpec(None, "fsdp")
        test_an_update_on_a_mesh_is_the_update_on_one_device("decoder", (2, 2, 1, 2))
    assert of() == PartitionSpec("fsdp", "tensor")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mlp", "'mlp': each is NAME:AXIS"),
        ("mlp:fdsp", "NAME:AXIS"),
        ("batch:tensor", "but batch"),
        ("mpl:fsdp", "did you mean 'mlp'"),
    ],
)
def test_a_rule_that_is_none_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parallel.Parallel(rules=(text,))


def test_full_sharding_holds_no_second_copy_of_the_parameters():
    """Behind the state itself, a device needs a layer's parameters at a time."""
    one, mesh = (
        tiny.model(layers=8, width=128, mlp=512, scan_layers=True),
        _mesh(fsdp=8),
    )
    tx = optim.build(optim.Optim(schedule="constant"), 10)
    recipe = steps.Recipe(one.apply, _loss, tx, lambda n: 0.1)
    like, shardings = tiny.shapes(one), _shardings(one, mesh)
    state = jax.eval_shape(
        lambda p: steps.init_state(recipe, p, jax.random.key(0)), like
    )
    placed = _places(state, mesh, shardings)
    state = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, placed
    )
    rows = tiny.batch(*[8] * 8)
    rows |= {"targets": rows["tokens"], "weights": np.ones((8, 8), np.float32)}
    with jax.set_mesh(mesh), parallel.rules():
        batch = parallel.put(rows, parallel.batch_sharding(mesh))
        made = steps.jit_step(recipe).lower(state, batch).compile()
    memory = made.memory_analysis()
    full = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(like))
    held = memory.argument_size_in_bytes
    assert held < 1.1 * 3 * full / 8  # parameters and two moments, an eighth of each
    fresh = memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert fresh < full / 50
    # Gradients in parts, activations, and the gathered layer: about half of them all.
    assert memory.temp_size_in_bytes < 0.8 * full


@functools.cache
def _decoded(architecture):
    """Return what `_decode` does on one device."""
    one, _, params, rows, *_ = _problem(architecture)
    return jax.jit(functools.partial(_decode, one))(params, rows)


def _decode(one, params, rows):
    """Return (logits after the prompt, logits after one more token)."""
    logits, cache = one.start(params, rows, 12)
    slot = (jnp.max(rows["positions"], axis=1) + 1).astype(jnp.int32)
    token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    more, _ = one.step(params, token[:, None], slot[:, None], cache, slot)
    return logits, more[:, 0]


@pytest.mark.parametrize(
    "architecture, shape",
    [("decoder", shape) for shape in FOR_ALL[1:]]
    + [("encoder_decoder", shape) for shape in FOR_ALL[1::2]],
)
def test_a_cache_is_filled_and_read_on_a_mesh_as_on_one_device(architecture, shape):
    one, _, params, rows, *_ = _problem(architecture)
    mesh, decode = _mesh(*shape), functools.partial(_decode, one)
    with jax.set_mesh(mesh), parallel.rules():
        placed = jax.device_put(params, _shardings(one, mesh))
        batch = parallel.put(rows, parallel.batch_sharding(mesh))
        got = jax.jit(decode)(placed, batch)
    for x, y in zip(got, _decoded(architecture), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_activations_are_cut_where_the_rules_say():
    mesh = _mesh(2, 2, 1, 2)
    one, _, params, rows, *_ = _problem("decoder")
    with jax.set_mesh(mesh), parallel.rules():
        batch = parallel.put(rows, parallel.batch_sharding(mesh))
        logits = jax.jit(one.apply)(
            jax.device_put(params, _shardings(one, mesh)), batch
        )
    spec = PartitionSpec(parallel.ROWS, "sequence", "tensor")
    assert logits.sharding.is_equivalent_to(NamedSharding(mesh, spec), 3)
