"""Bytes that devices send each other in a compiled program, by mesh axis."""

from __future__ import annotations

import collections
import dataclasses
import math
import re

import numpy as np
from jax.sharding import Mesh

_KINDS = (
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute",
    "ragged-all-to-all",
)  # fmt: skip
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_CALL = re.compile(r"^(\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"(pred|[subf]+\d+\w*)\[([\d,]*)\]")
# On a TPU an exchange stands in the fusion that starts it, again in those it runs
# beside, and in the one that waits for it.
_AGAIN = ("async-collective-done", "async_collective_fusion")
# What a device hands to the other slices: the compiler writes it as a send.
_FAR = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_CALLED = re.compile(
    r"(?:calls|body|condition|to_apply|true_computation|false_computation)="
    r"%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r"known_trip_count\D*(\d+)")
_LISTS = re.compile(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{} ]*\})\}")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")
_AXIS = re.compile(r"'([^']*)'(?::\((\d+)\)(\d+))?(?:=(\d+))?")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind of exchange along some mesh axes, all of a program together.

    Attributes:
        kind: as XLA names it. axes: of the mesh, "fsdp" or "data+fsdp".
        count: how often a run of the program does it. sent: bytes each device sends.
    """

    kind: str
    axes: str
    count: int
    sent: float


def of_program(text: str, mesh: Mesh) -> list[Collective]:
    """Return the exchanges of an optimized HLO module, those that send most first.

    A loop's body counts as often as it runs. What goes to other slices is along "replica". What is sent is that of a ring: (n - 1) / n
    of the whole array for a gather or a scatter, twice that for an all-reduce.

    Args:
        text: `compiled.as_text()`. mesh: whose devices the program numbers in order.
    """
    bodies, entry = _computations(text)
    times = _times(bodies, entry)
    found: dict = collections.defaultdict(lambda: [0, 0.0])
    for name, lines in bodies.items():
        for _, result, op, rest in lines:
            kind = op.removesuffix("-start")
            if op == "send" and times[name] and (far := _FAR.search(rest)):
                kind, group = far[1].lower().replace("_", "-"), slices_of(mesh)
                total = found[kind, "replica"]
                total[0] += times[name]
                total[1] += times[name] * _sent(kind, _sizes(result)[0], group)
            if kind not in _KINDS or op == "send" or not times[name]:
                continue
            size = _bytes(result, op)
            if kind == "all-reduce" and "reduce-scatter" in name:
                # A TPU's fusion of an all-reduce and of slices of it.
                slices = [r for _, r, op, _ in lines if op == "dynamic-slice"]
                kind, size = "reduce-scatter", sum(_bytes(r, "") for r in slices)
            group, axes = _group(rest, mesh)
            if axes:
                total = found[kind, axes]
                total[0] += times[name]
                total[1] += times[name] * _sent(kind, size, group)
    out = [Collective(*key, count, sent) for key, (count, sent) in found.items()]
    return sorted(out, key=lambda c: -c.sent)


def _computations(text: str):
    """Return ({computation: [(name, result type, op, the rest)]}, the entry's name)."""
    bodies: dict[str, list] = {}
    entry = lines = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            lines = bodies.setdefault(head[1], [])
            entry = head[1] if line.startswith("ENTRY") else entry
            continue
        named = _LINE.match(line) if lines is not None else None
        call = _CALL.match(named[2]) if named else None
        if call:
            lines.append((named[1], *call.groups()))
    return bodies, entry


def _times(bodies: dict, entry: str) -> dict[str, int]:
    """Return how often each computation runs in one run of the program."""
    times = dict.fromkeys(bodies, 0)

    def visit(name, count):
        times[name] += count
        for caller, _, op, rest in bodies[name]:
            if caller.startswith(_AGAIN):
                continue
            trips = _trips(rest, bodies) if op == "while" else 1
            called = _CALLED.findall(rest)
            for names in _BRANCHES.findall(rest):
                called += [one.strip(" %") for one in names.split(",")]
            for one in called:
                if one in bodies and not one.startswith(_AGAIN):
                    visit(one, count * trips)

    visit(entry, 1)
    return times


def _trips(rest: str, bodies: dict) -> int:
    """Return how often a loop runs: as XLA knows it, else the constant that its
    condition compares with (for TPU it says no more); 1 where there is none.
    """
    if known := _TRIPS.search(rest):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", rest)[1]
    limits = [
        int(number[1])
        for _, result, op, given in bodies[condition]
        if op == "constant" and result.startswith("s32[]")
        if (number := re.match(r"(\d+)\)", given))
    ]
    return max(limits, default=1)


def slices_of(mesh: Mesh) -> int:
    """Return of how many slices the devices are."""
    return len({getattr(device, "slice_index", 0) for device in mesh.devices.flat})


def _sizes(result: str) -> list[float]:
    """Return the bytes of each array of a result's type."""
    sizes = []
    for kind, dims in _ARRAY.findall(result):
        bits = 8 if kind == "pred" else int(re.search(r"\d+", kind)[0])
        sizes.append(math.prod(map(int, filter(None, dims.split(",")))) * bits / 8)
    return sizes


def _bytes(result: str, op: str) -> float:
    """Return the bytes of an exchange's result; of a pair (given, result) the result."""
    sizes = _sizes(result)
    if op.endswith("-start") and op != "all-reduce-start" and len(sizes) > 1:
        return max(sizes[:2]) if op.startswith("all-gather") else sizes[1]
    return sum(sizes)


def _sent(kind: str, size: float, group: int) -> float:
    """Return the bytes a device sends for a result of so many bytes."""
    share = (group - 1) / group
    if kind == "reduce-scatter":
        return size * (group - 1)
    if kind == "all-reduce":
        return 2 * size * share
    return size if kind == "collective-permute" else size * share


def _group(rest: str, mesh: Mesh) -> tuple[int, str]:
    """Return (how many devices exchange, the mesh axes along which they differ)."""
    group = _first_group(rest, mesh.size)
    at = np.array(np.unravel_index(group, tuple(mesh.shape.values())))
    differ = [
        axis for axis, row in zip(mesh.axis_names, at, strict=True) if np.ptp(row) > 0
    ]
    return len(group), "+".join(differ)


def _first_group(rest: str, size: int) -> list[int]:
    """Return the devices of an exchange's first group, or of its first pair."""
    if named := _MESH.search(rest):
        return _along(*named.groups())
    if iota := _IOTA.search(rest):
        dims, shape = ([int(n) for n in iota[i].split(",")] for i in (1, 2))
        order = np.arange(math.prod(shape)).reshape(shape)
        if iota[3]:
            order = order.transpose([int(n) for n in iota[3].split(",")])
        return order.reshape(dims[0], -1)[0].tolist()
    if lists := _LISTS.search(rest):
        groups = re.findall(r"\{([\d,]*)\}", lists[1])
        groups = [[int(n) for n in one.split(",") if n] for one in groups]
        return next((one for one in groups if len(set(one)) > 1), groups[0])
    return list(range(size))


def _along(sizes: str, axes: str) -> list[int]:
    """Return the first device and those that differ from it along some axes of XLA's
    own mesh alone: 'a'=2,'b'=4 and 'b', or 'b':(1)2 for the outer half of b.
    """
    shape = {name: int(n) for name, _, _, n in _AXIS.findall(sizes)}
    order = np.arange(math.prod(shape.values())).reshape(list(shape.values()))
    for name, before, size, _ in _AXIS.findall(axes):
        at = list(shape).index(name)
        if size:  # axis = (before, size, rest): only the middle one varies
            step = shape[name] // (int(before) * int(size))
            order = np.take(order, np.arange(int(size)) * step, axis=at)
    kept = {name for name, *_ in _AXIS.findall(axes)}
    for at, name in enumerate(shape):
        if name not in kept:
            order = np.take(order, [0], axis=at)
    return order.reshape(-1).tolist()
