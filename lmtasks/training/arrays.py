"""Trees of arrays on a disk, written and read by orbax under the leaves' names."""

from __future__ import annotations

import pathlib
import typing

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from lmtasks.training import masks

Tree = typing.Any


def writer() -> ocp.AsyncCheckpointer:
    """Return what saves in the background, after it copied the arrays to the host.

    Uncompressed: weights hardly shrink, and two cores should train meanwhile.
    """
    return ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler(use_compression=False))


def write(save: ocp.AsyncCheckpointer, path: pathlib.Path, tree: Tree) -> None:
    """Start to save the tree's leaves; `save.wait_until_finished` raises what fails."""
    leaves = {name: _stored(leaf) for name, leaf in masks.flat(tree).items()}
    # Orbax refuses arrays without elements; `read` makes them anew.
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.size}
    save.save(path, args=ocp.args.PyTreeSave(masks.nest(leaves)))


def kinds(tree: Tree) -> dict[str, list]:
    """Return name -> [type, shape] of the leaves: arrays, their shapes or numbers."""
    arrays = {
        name: leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        for name, leaf in masks.flat(tree).items()
    }
    return {name: [str(x.dtype), list(x.shape)] for name, x in arrays.items()}


def key_kinds(tree: Tree) -> dict[str, str]:
    """Return name -> generator of the leaves that are random keys ("threefry2x32")."""
    flat = masks.flat(tree).items()
    return {n: str(jax.random.key_impl(leaf)) for n, leaf in flat if _is_key(leaf)}


def read(path: pathlib.Path, like: Tree, *, part: str, keys: dict[str, str]) -> Tree:
    """Return what `write` saved in the form of `like`.

    Args:
        path: as `write` got it.
        like: arrays, numbers or `jax.ShapeDtypeStruct`s that fit, by their names,
            what was saved; arrays arrive with their shardings.
        part: "" or "params/": the prefix of the names of `like` in what was saved.
        keys: what `key_kinds` said of it.
    """
    wanted = {part + name: leaf for name, leaf in masks.flat(like).items()}
    filled = {n: leaf for n, leaf in wanted.items() if np.prod(np.shape(leaf))}
    args = ocp.args.PyTreeRestore(
        item=masks.nest(dict.fromkeys(filled, 0)),
        restore_args=masks.nest({n: _restore_args(leaf) for n, leaf in filled.items()}),
        partial_restore=True,
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        found = masks.flat(reader.restore(path, args=args))
    leaves = [
        _revived(found[name], leaf, keys.get(name)) if name in filled else _empty(leaf)
        for name, leaf in wanted.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _is_key(leaf) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", np.int32), jax.dtypes.prng_key)


def _stored(leaf):
    """A leaf as orbax keeps it: keys as their words, numbers as arrays.

    Orbax saves a numpy scalar but cannot restore it; an array of rank 0 it can.
    """
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _sharding(leaf):
    return leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _restore_args(leaf) -> ocp.RestoreArgs:
    """How orbax reads the leaf, given what it is to become."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return ocp.RestoreArgs(restore_type=np.ndarray)
    sharding = _sharding(leaf)
    if not _is_key(leaf):
        return ocp.ArrayRestoreArgs(
            sharding=sharding, global_shape=leaf.shape, dtype=leaf.dtype
        )
    # The words of a key have one axis more than the keys: they are kept whole.
    if isinstance(sharding, jax.sharding.NamedSharding):
        everywhere = jax.sharding.PartitionSpec()
        sharding = jax.sharding.NamedSharding(sharding.mesh, everywhere)
    return ocp.ArrayRestoreArgs(sharding=sharding)


def _revived(value, leaf, keys: str | None):
    """The restored value as the kind of leaf that `like` has."""
    if keys:
        return jax.random.wrap_key_data(value, impl=keys)
    if isinstance(leaf, bool | int | float):
        return type(leaf)(value)
    return value[()] if isinstance(leaf, np.generic) else value


def _empty(leaf):
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return jnp.zeros(leaf.shape, leaf.dtype, device=_sharding(leaf))
    return np.zeros_like(leaf)
