"""The device mesh, the rules from logical to mesh axes, and shardings made of them."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import difflib
import functools
import math
import types
import typing

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import mesh_utils
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

AXES = ("replica", "data", "fsdp", "sequence", "tensor")
# Those along which devices have rows of their own.
ROWS = ("replica", "data", "fsdp")

# Logical name of an array dim -> mesh axes. Every name in use must stand here.
RULES = (
    ("batch", ROWS),
    ("length", "sequence"),
    ("act_embed", None),
    ("act_vocab", "tensor"),
    ("embed", "fsdp"),
    ("embed_in", None),
    ("embed_out", "tensor"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("head", None),
    ("mlp", "tensor"),
    ("vocab", "tensor"),
    ("positions", None),
    ("types", None),
    ("buckets", None),
    ("gates", None),
    ("units", None),
    ("classes", None),
    ("layers", None),
)


_CURRENT = contextvars.ContextVar("rules", default=types.MappingProxyType(dict(RULES)))


@dataclasses.dataclass(frozen=True)
class Parallel:
    """The mesh as numbers of devices along each axis; one axis may be -1, the rest.

    Attributes:
        replica: as data, over slices that the data-center network joins: as many as
            there are slices, or a multiple. data: the same within a slice.
        fsdp: parts of parameters and optimizer state, gathered when used.
        sequence: parts of the length. tensor: parts of heads and hidden widths.
        mode: "jit" | "pmap" (data parallel only).
        rules: "NAME:AXIS" changes where a logical axis of RULES lies ("mlp:fsdp"), and
            "NAME:" keeps it whole on every device.
    """

    data: int = -1
    fsdp: int = 1
    sequence: int = 1
    tensor: int = 1
    mode: str = "jit"
    replica: int = 1
    rules: tuple[str, ...] = ()

    def __post_init__(self):
        for text in self.rules:
            name, colon, axis = text.partition(":")
            if not colon or axis not in ("", *AXES) or name == "batch":
                raise ValueError(
                    f"parallel.rules has {text!r}: each is NAME:AXIS, with AXIS one of "
                    f"{', '.join(AXES)} or nothing, and NAME a logical axis but batch"
                )
            mesh_axes(name)  # known, or an error with the nearest
        if self.mode not in ("jit", "pmap"):
            raise ValueError(f"parallel.mode={self.mode!r} is not one of jit, pmap")
        cut = (self.replica, self.fsdp, self.sequence, self.tensor)
        if self.mode == "pmap" and cut != (1, 1, 1, 1):
            raise ValueError(
                "parallel.mode='pmap' is replicated data parallelism: set "
                "parallel.replica, parallel.fsdp, parallel.sequence and "
                "parallel.tensor to 1"
            )

    def sizes(self, devices: int) -> tuple[int, ...]:
        """Return the sizes of AXES for so many devices."""
        sizes = [getattr(self, axis) for axis in AXES]
        shape = ", ".join(f"{a}={n}" for a, n in zip(AXES, sizes, strict=True))
        if sizes.count(-1) > 1 or any(n < 1 and n != -1 for n in sizes):
            raise ValueError(
                f"parallel ({shape}): each axis is at least 1, and one may be -1"
            )
        known = math.prod(n for n in sizes if n != -1)
        if -1 in sizes and devices % known == 0:
            sizes[sizes.index(-1)] = devices // known
        if math.prod(sizes) != devices:
            raise ValueError(
                f"parallel ({shape}) does not match the {devices} devices there are; "
                "their product must be the number of devices"
            )
        return tuple(sizes)


def make_mesh(parallel: Parallel, devices=None) -> Mesh:
    """Return the mesh of AXES over the devices; replicas lie on slices of their own."""
    devices = jax.devices() if devices is None else devices
    if parallel.mode == "pmap" and jax.process_count() > 1:
        raise ValueError(
            "parallel.mode='pmap' is for the devices of one process; use 'jit', which "
            "spans those of all"
        )
    sizes = parallel.sizes(len(devices))
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if sizes[0] % slices:
        raise ValueError(
            f"parallel.replica={sizes[0]}: the devices are of {slices} slices, so it "
            f"must be {slices} or a multiple"
        )
    # Explicit axes, jax's default, do not work with linen's logical constraints.
    auto = (AxisType.Auto,) * len(AXES)
    # An axis may take a part of a dimension of the torus, such as 8 of 4 x 4 x 4.
    split = {"allow_split_physical_axes": True}
    if slices > 1:
        ones = (1,) * (len(AXES) - 1)
        inner = (sizes[0] // slices, *sizes[1:])
        grid = mesh_utils.create_hybrid_device_mesh(
            inner, (slices, *ones), devices, **split
        )
    else:
        grid = mesh_utils.create_device_mesh(sizes, devices, **split)
    return Mesh(grid, AXES, axis_types=auto)


def mesh_axes(name: str | None):
    """Return the mesh axes of a logical name; an unknown one is an error."""
    if name is None:
        return None
    known = _CURRENT.get()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no sharding rule for the logical axis {name!r}{hint}")
    return known[name]


def _size(mesh: Mesh, axes) -> int:
    names = (axes,) if isinstance(axes, str) else axes or ()
    return math.prod(mesh.shape[a] for a in names)


def param_sharding(mesh: Mesh, logical: PartitionSpec, shape) -> NamedSharding:
    """Return the sharding of a parameter; a dim that does not divide stays whole."""
    names = (*logical, *[None] * (len(shape) - len(logical)))
    axes, used = [], set()
    for name, size in zip(names, shape, strict=True):
        axis = mesh_axes(name)
        if axis is None or axis in used or size % _size(mesh, axis):
            axes.append(None)
            continue
        used.add(axis)
        axes.append(axis)
    return NamedSharding(mesh, PartitionSpec(*axes))


def param_shardings(mesh: Mesh, logical, shapes):
    """Return the tree of shardings of a parameter tree."""
    return jax.tree.map(
        lambda spec, x: param_sharding(mesh, spec, x.shape),
        logical,
        shapes,
        is_leaf=lambda x: isinstance(x, PartitionSpec),
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def like_params(mesh: Mesh, shardings, tree):
    """Return shardings for an optimizer's state: a leaf whose path ends with that of
    a parameter, and that can be cut like it, is sharded like it; the rest, such as
    Adafactor's sums over rows, is replicated.
    """
    known = dict(jax.tree.leaves_with_path(shardings))

    def fits(spec, shape):
        return len(spec) == len(shape) and not any(
            n % _size(mesh, axes) for n, axes in zip(shape, spec, strict=True)
        )

    def of(path, x):
        ends = (known.get(path[i:]) for i in range(len(path)))
        found = next((s for s in ends if s is not None), replicated(mesh))
        return found if fits(found.spec, x.shape) else replicated(mesh)

    return jax.tree.map_with_path(of, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of every batch array: rows over replica, data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def ways(mesh: Mesh) -> int:
    """Return how many parts the rows of a batch are cut into."""
    return _size(mesh, ROWS)


def check_batch(mesh: Mesh, batch_size: int, accumulate: int) -> None:
    """Raise ValueError unless rows divide over devices and accumulation."""
    check_rows(batch_size, ways(mesh) * accumulate, accumulate)


def check_rows(batch_size: int, parts: int, accumulate: int) -> None:
    """Raise ValueError unless rows divide into so many parts, accumulation included."""
    if batch_size % parts:
        raise ValueError(
            f"train.batch_size={batch_size} is not divisible by {parts} (data-parallel "
            f"devices times train.accumulate={accumulate}); use a multiple of {parts}"
        )


def put(batch, sharding: NamedSharding):
    """Return this process's rows of a batch (see `Rows`) as global arrays."""
    parts, mine = _parts(sharding)

    def placed(x):
        x = np.asarray(x)
        size = len(x) // len(mine)  # rows of one part
        starts = {part * size: i * size for i, part in enumerate(mine)}

        def rows(index):
            at = starts[index[0].start or 0]
            return x[at : at + size]

        shape = (size * parts, *x.shape[1:])
        return jax.make_array_from_callback(shape, sharding, rows)

    return {name: placed(x) for name, x in batch.items()}


@functools.lru_cache
def _parts(sharding: NamedSharding) -> tuple[int, list[int]]:
    """Return (parts that rows are cut into, those that lie on this process's devices)."""
    parts = ways(sharding.mesh)
    here = sharding.addressable_devices_indices_map((parts,)).values()
    return parts, sorted({index[0].start or 0 for index in here})


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a global batch that this process reads: those of its devices.

    Where the devices of one part of the rows are of several processes, each of these
    reads them.
    """

    mesh: Mesh

    def block(self, batch_size: int, key: str = "train.batch_size") -> np.ndarray:
        """Return the numbers of the rows, rising; `key` is of the batch's size."""
        parts, mine = _parts(batch_sharding(self.mesh))
        if batch_size % parts:
            raise ValueError(
                f"{key}={batch_size} is not divisible by the {parts} data-parallel "
                f"devices; use a multiple of {parts}"
            )
        return np.arange(batch_size).reshape(parts, -1)[mine].reshape(-1)


def rules():
    """Return a context in which linen's logical constraints follow the rules."""
    return nn.logical_axis_rules(tuple(_CURRENT.get().items()))


@contextlib.contextmanager
def following(parallel: Parallel) -> typing.Iterator[None]:
    """Run with the rules that parallel.rules changes."""
    pairs = (text.split(":") for text in parallel.rules)
    changed = {name: axis or None for name, axis in pairs}
    token = _CURRENT.set(dict(RULES) | changed)
    try:
        yield
    finally:
        _CURRENT.reset(token)
