"""Two runs held against each other: config, parameters, data order, program, machine."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import re

import jax

from lmtasks import builder
from lmtasks import schema
from lmtasks.studies import since
from lmtasks.studies import versions
from lmtasks.training import begin
from lmtasks.training import feed
from lmtasks.training import files
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import workdir

# Steps whose examples are held against each other.
_STEPS = 1000
_OP = re.compile(r"= \"?(stablehlo\.[\w.]+|\w+\.custom_call)")


@dataclasses.dataclass(frozen=True)
class Order:
    """Where the data of two runs part.

    Attributes:
        step: first whose batch differs, 0 is the first; None where none does.
        a, b: its example ids. steps: how many were looked at.
        same_rows: the rows' fingerprint (data, tokenizer, layout) is the same.
    """

    step: int | None
    a: list[int]
    b: list[int]
    steps: int
    same_rows: bool


@dataclasses.dataclass(frozen=True)
class Program:
    """The train step of a run: operations by kind, FLOPs, bytes read and written."""

    ops: dict[str, int]
    flops: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class Diff:
    """All that differs; what is empty is the same.

    Attributes:
        config: {key: (of a, of b)}, defaults resolved.
        parameters: {name: (shape of a or None, of b)}.
        order: of the data. programs: of both, None where their texts are the same.
        environment: {what: (of a, of b)}.
        since: what has changed of each since it ran; None where no checkpoint tells.
            The rest is of what config.json and the data are now.
    """

    config: dict[str, tuple]
    parameters: dict[str, tuple]
    order: Order
    programs: tuple[Program, Program] | None
    environment: dict[str, tuple]
    since: tuple[since.Since | None, since.Since | None] = (None, None)

    @property
    def edited(self) -> bool:
        """Whether data was changed after one of the two had read it."""
        known = [one for one in self.since if one]
        changed = any(one.then != one.now for one in known)
        return changed and len({one.then for one in known}) > 1

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        order = self.order.step is None and self.order.same_rows
        parts = (self.config, self.parameters, self.programs, self.environment)
        return order and not self.edited and not any(parts)


def diff(a: str, b: str) -> Diff:
    """Return what differs between two work directories."""
    sides = [_Side(folder) for folder in (a, b)]
    one, other = sides
    shapes = [side.parameters() for side in sides]
    names = sorted({*shapes[0], *shapes[1]})
    parameters = {
        name: (shapes[0].get(name), shapes[1].get(name))
        for name in names
        if shapes[0].get(name) != shapes[1].get(name)
    }
    texts = [side.lowered() for side in sides]
    programs = None
    if texts[0].as_text() != texts[1].as_text():
        programs = tuple(_program(text) for text in texts)
    return Diff(
        files.differences(one.stored, other.stored),
        parameters,
        _order(one.read, other.read),
        programs,
        versions.differences(a, b),
        tuple(since.read(s.folder, s.read.fingerprint) for s in sides),
    )


class _Side:
    """One of the two: its run, built on this machine."""

    def __init__(self, folder: str):
        self.folder, self.stored = folder, files.read_config(folder)
        if self.stored is None:
            raise ValueError(
                f"{folder} is not a work directory: there is no config.json"
            )
        self.run = builder.build(schema.from_stored(self.stored), folder)
        self.mesh = parallel.make_mesh(self.run.parallel)
        self.run, _ = begin.on_devices(self.run, self.mesh)
        self.read = feed.read(self.run)

    def parameters(self) -> dict[str, str]:
        """Return {name: shape}."""
        like = workdir.like_params(self.run.model, self.mesh, self.run.lora)
        flat = jax.tree_util.tree_flatten_with_path(like)[0]
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): "x".join(
                map(str, x.shape)
            )
            for path, x in flat
        }

    def lowered(self):
        """Return the train step, lowered for this machine."""
        recipe = begin.recipe_of(self.run, self.mesh)
        like = begin.like_state(self.run, recipe, self.mesh)
        batch = {
            k: jax.ShapeDtypeStruct(x.shape, x.dtype)
            for k, x in self.read.train.batch(0).items()
        }
        with jax.set_mesh(self.mesh), parallel.rules():
            return steps.jit_step(recipe).lower(like, batch)


def _order(a: feed.Feed, b: feed.Feed) -> Order:
    same = a.train.rows.fingerprint == b.train.rows.fingerprint
    for step in range(_STEPS):
        ids = [side.train.example_ids(step) for side in (a, b)]
        if ids[0] != ids[1]:
            return Order(step, list(ids[0]), list(ids[1]), _STEPS, same)
    return Order(None, [], [], _STEPS, same)


def _program(lowered) -> Program:
    ops = collections.Counter(_OP.findall(lowered.as_text()))
    cost = lowered.compile().cost_analysis() or {}
    return Program(dict(ops), cost.get("flops", 0.0), cost.get("bytes accessed", 0.0))


def as_json(found: Diff) -> str:
    """Return all of it as json."""
    return json.dumps(dataclasses.asdict(found), indent=1, default=str) + "\n"


def lines(found: Diff, a: str, b: str) -> list[str]:
    """Return what is printed."""
    names = [pathlib.Path(folder).name for folder in (a, b)]
    out = [f"a = {a}, b = {b}", ""]
    for title, pairs in (("config", found.config), ("machine", found.environment)):
        out.append(f"{title}: " + ("the same" if not pairs else f"{len(pairs)} differ"))
        out += [f"  {key}: {x!r} -> {y!r}" for key, (x, y) in pairs.items()]
    out.append(
        "parameters: "
        + ("the same" if not found.parameters else f"{len(found.parameters)} differ")
    )
    for name, (x, y) in list(found.parameters.items())[:12]:
        out.append(f"  {name}: {x or 'none'} -> {y or 'none'}")
    if len(found.parameters) > 12:
        out.append(f"  and {len(found.parameters) - 12} more")
    out += _order_lines(found.order, names)
    for name, one in zip(names, found.since, strict=True):
        out += [f"  {name}: {line}" for line in (one.lines() if one else [])]
    return out + _program_lines(found.programs)


def _order_lines(order: Order, names) -> list[str]:
    rows = "the same rows" if order.same_rows else "other rows (data, tokens or layout)"
    if order.step is None:
        return [f"data: {rows}, the same examples in the first {order.steps} batches"]
    only = [
        sorted(set(x) - set(y))[:8] for x, y in ((order.a, order.b), (order.b, order.a))
    ]
    return [
        f"data: {rows}; the batch of step {order.step + 1} is the first that differs",
        f"  examples a {order.a[:8]}, b {order.b[:8]}",
        f"  only in {names[0]}: {only[0] or 'none'}, only in {names[1]}: {only[1] or 'none'}",
    ]


def _program_lines(programs) -> list[str]:
    if programs is None:
        return ["program: the same"]
    a, b = programs
    out = [
        "program: differs",
        f"  FLOPs {a.flops:,.0f} -> {b.flops:,.0f} ({_change(a.flops, b.flops)})",
        f"  bytes {a.bytes:,.0f} -> {b.bytes:,.0f} ({_change(a.bytes, b.bytes)})",
    ]
    for op in sorted({*a.ops, *b.ops}):
        x, y = a.ops.get(op, 0), b.ops.get(op, 0)
        if x != y:
            out.append(f"  {op.removeprefix('stablehlo.')}: {x} -> {y}")
    return out


def _change(a: float, b: float) -> str:
    return f"{b / a - 1:+.1%}" if a else "none before"
