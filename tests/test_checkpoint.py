"""A checkpoint comes back bit for bit, or is refused; damage never goes unnoticed."""

import hashlib
import json
import shutil
import typing

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from lmtasks.training import checkpoint
from lmtasks.training import manifest

META = {"position": 96, "config": {"task": "toy"}, "fingerprint": "ab12"}


@flax.struct.dataclass
class State:
    """As the training loop's state."""

    step: jax.Array
    params: typing.Any
    opt_state: typing.Any
    ema: typing.Any
    rng: jax.Array


def _state(seed: int = 0, width: int = 8) -> State:
    rng = np.random.default_rng(seed)
    params = {
        "embed": {"tokens": jnp.asarray(rng.normal(size=(16, width)), jnp.float32)},
        "layers_0": {
            "up": jnp.asarray(rng.normal(size=(width, 4)), jnp.bfloat16),
            "frozen": None,
        },
    }
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    return State(
        step=jnp.int32(seed),
        params=params,
        opt_state=tx.init(params),
        ema=None,
        rng=jax.random.key(seed),
    )


def _like(state):
    """The shapes and shardings of a state, without its contents."""

    def shape(x):
        if not isinstance(x, jax.Array):
            return x
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)

    return jax.tree.map(shape, state)


def _sha(tree) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(str((leaf.dtype, leaf.shape)).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the steps 1 and 2, to be copied before it is damaged."""
    folder = tmp_path_factory.mktemp("saved")
    with checkpoint.Checkpoints(folder, keep=-1) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, _state(step), {**META, "position": step})
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_state_comes_back_bit_for_bit(tmp_path, asynchronous):
    state = _state(3)
    with checkpoint.Checkpoints(tmp_path, asynchronous=asynchronous) as checkpoints:
        checkpoints.save(3, state, META)
    back, meta, step = checkpoint.Checkpoints(tmp_path).restore(_like(state))
    assert (meta, step) == (META, 3)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    assert _sha(back) == _sha(state)
    assert jax.random.key_impl(back.rng) == jax.random.key_impl(state.rng)
    assert jax.random.bits(back.rng) == jax.random.bits(state.rng)


def test_numbers_and_empty_arrays_come_back_as_what_they_were(tmp_path):
    tree = {
        "int64": np.int64(2**40 + 1),
        "float": 1 / 3,
        "flag": np.bool_(True),
        "count": 7,
        "array": np.arange(3, dtype=np.uint8),
        "rank 0": np.asarray(0.1),
        "nothing": jnp.zeros((0, 3)),
        "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
    }
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, tree, {})
        back, _, _ = checkpoints.restore(tree)
    for name, leaf in tree.items():
        assert type(back[name]) is type(leaf), name
        same = back[name] == leaf
        assert same if isinstance(same, bool) else same.all(), name
    assert back["nothing"].shape == (0, 3)


def test_arrays_arrive_with_the_shardings_asked_for(tmp_path):
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices")
    auto = (jax.sharding.AxisType.Auto,)
    one, other = (
        jax.make_mesh((n,), ("data",), axis_types=auto, devices=jax.devices()[:n])
        for n in (8, 2)
    )
    w = jnp.arange(64.0).reshape(8, 8)
    put = lambda mesh, *axes: NamedSharding(mesh, PartitionSpec(*axes))
    tree = {
        "w": jax.device_put(w, put(one, "data")),
        "rng": jax.device_put(jax.random.key(0), put(one)),
    }
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, tree, {})
        new = {"w": put(other, None, "data"), "rng": put(other)}
        like = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, new
        )
        back, _, _ = checkpoints.restore(like)
    assert back["w"].sharding == new["w"]
    assert back["rng"].sharding.is_equivalent_to(new["rng"], 0)
    np.testing.assert_array_equal(back["w"], w)


def test_a_save_holds_the_moment_it_was_called_and_restored_arrays_can_be_donated(
    tmp_path,
):
    step = jax.jit(lambda t: jax.tree.map(lambda x: x + 1, t), donate_argnums=0)
    tree = step({"w": jnp.zeros((512, 1024)), "b": jnp.zeros(7)})
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, {})
        for _ in range(5):
            tree = step(tree)
        back, _, _ = checkpoints.restore(tree)
    assert all(bool((x == 1).all()) for x in jax.tree.leaves(back))
    assert all(bool((x == 2).all()) for x in jax.tree.leaves(step(back)))


def test_parameters_are_read_without_the_optimizer(folder):
    like = _like(_state())
    params, meta, step = checkpoint.restore_params(folder, like.params)
    assert (step, meta["position"]) == (2, 2)
    assert _sha(params) == _sha(_state(2).params)
    params, _, step = checkpoint.restore_params(folder, like.params, 1)
    assert _sha(params) == _sha(_state(1).params)
    with pytest.raises(ValueError, match="ema/embed/tokens is absent there"):
        checkpoint.restore_params(folder, like.params, part="ema")
    with pytest.raises(ValueError, match="no checkpoint in"):
        checkpoint.restore_params(folder / "nowhere", like.params)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def _largest(step):
    files = (path for path in step.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def _hollow(step):
    shutil.rmtree(step)
    step.mkdir()


DAMAGE = {
    "flipped": lambda step: _flip(_largest(step)),
    "truncated": lambda step: _largest(step).write_bytes(b"123"),
    "emptied": lambda step: (step / "meta.json").write_bytes(b""),
    "missing": lambda step: _largest(step).unlink(),
    "no manifest": lambda step: (step / manifest.NAME).unlink(),
    "bad manifest": lambda step: (step / manifest.NAME).write_text("[1"),
    "a list": lambda step: (step / manifest.NAME).write_text("[]"),
    "hollow": _hollow,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_restore_falls_back_loudly_and_sets_the_damaged_aside(folder, kind, capfd):
    DAMAGE[kind](folder / "2")
    state, meta, step = checkpoint.Checkpoints(folder).restore(_like(_state()))
    assert (step, meta["position"]) == (1, 1)
    assert _sha(state) == _sha(_state(1))
    said = capfd.readouterr().err
    assert "Checkpoint 2 of" in said and "is damaged" in said
    assert "Falling back to checkpoint 1" in said
    assert not (folder / "2").exists() and (folder / "2.damaged").is_dir()


@pytest.mark.parametrize("kind", DAMAGE)
def test_all_damaged_is_an_error_now_and_at_the_next_start(folder, kind):
    for step in ("1", "2"):
        DAMAGE[kind](folder / step)
    for _ in range(2):
        with pytest.raises(ValueError, match="every checkpoint in .* is damaged"):
            checkpoint.Checkpoints(folder).restore(_like(_state()))


def test_reading_parameters_falls_back_and_renames_nothing(folder, capfd):
    _flip(_largest(folder / "2"))
    _, _, step = checkpoint.restore_params(folder, _like(_state()).params)
    assert step == 1 and (folder / "2").is_dir()
    assert "Falling back to checkpoint 1" in capfd.readouterr().err


def test_a_named_step_is_that_step_or_an_error(folder):
    checkpoints = checkpoint.Checkpoints(folder)
    assert checkpoints.restore(_like(_state()), 1)[2] == 1
    with pytest.raises(ValueError, match="no checkpoint 7 in .* it has 1, 2"):
        checkpoints.restore(_like(_state()), 7)
    _flip(_largest(folder / "2"))
    with pytest.raises(ValueError, match="checkpoint 2 of .* is damaged"):
        checkpoints.restore(_like(_state()), 2)
    assert checkpoints.steps() == [1, 2]


def test_what_a_kill_leaves_behind_is_ignored_and_removed(folder):
    shutil.copytree(folder / "2", folder / "3.tmp")
    (folder / "3.tmp" / manifest.NAME).unlink()
    shutil.copytree(folder / "1", folder / "0.old.tmp")
    (folder / "1").rename(folder / "1.replaced")
    with checkpoint.Checkpoints(folder, keep=-1) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.restore(_like(_state()), 1)[2] == 1
        assert not list(folder.glob("*.tmp"))  # a finished run saves no more
        checkpoints.save(1, _state(5), {})
        back, _, _ = checkpoints.restore(_like(_state()), 1)
    assert _sha(back) == _sha(_state(5))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_another_shape_is_refused_by_names_and_both_shapes(folder):
    checkpoints = checkpoint.Checkpoints(folder)
    with pytest.raises(ValueError) as error:
        checkpoints.restore(_like(_state(width=6)))
    assert "params/embed/tokens is float32[16, 8] there, float32[16, 6] here" in str(
        error.value
    )
    assert "Use the config it was trained with" in str(error.value)
    less = _like(_state()).replace(opt_state=())
    with pytest.raises(ValueError, match=r"opt_state/\S+ is int32\[\] there, absent"):
        checkpoints.restore(less)
    assert checkpoints.steps() == [1, 2], "a misfit is no damage"


def test_a_newer_format_is_refused_by_a_sentence(folder):
    path = folder / "2" / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    manifest.seal(folder / "2")
    with pytest.raises(ValueError, match="has format 99 .* update lmtasks"):
        checkpoint.Checkpoints(folder).restore(_like(_state()))


def test_nothing_saved_is_none(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path / "new")
    assert checkpoints.restore(_state()) is None
    assert checkpoints.latest() is None and checkpoints.best_step() is None
    assert not (tmp_path / "new").exists()
