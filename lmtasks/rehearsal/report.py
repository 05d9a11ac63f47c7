"""What a rehearsal says: bytes, FLOPs, exchanges, the bound on a step, what to turn."""

from __future__ import annotations

import dataclasses
import functools

from ml_collections import ConfigDict

from lmtasks import builder
from lmtasks.models import flops
from lmtasks.models import model as models
from lmtasks.rehearsal import collectives
from lmtasks.rehearsal import programs
from lmtasks.rehearsal import topology
from lmtasks.training import begin
from lmtasks.training import chips
from lmtasks.training import feed
from lmtasks.training import parallel
from lmtasks.training import workdir

STEPS = ("train", "eval", "decode")


@dataclasses.dataclass(frozen=True)
class Row:
    """One program of a run on one topology.

    Attributes:
        program: train, eval or decode. rows: of a batch, over all devices.
        kept, used: bytes a device holds between steps, and at most, None where the
            compiler does not say; `limit` it has, 0 = unknown. fits: whether the compiler found room.
        flops: of the products by formula, all devices together.
        sent: {mesh axes: bytes a device sends in a step}.
        exchanges: of each kind, see collectives.
        compute, memory, links: the least seconds of a step by products, by reading what
            is kept (training also writes it), and by sending; None = unknown.
        bound: seconds, the largest of those. mfu: the share of the peak it allows; see
            `_peak`.
        advice: what to turn. compile_seconds: lowering and compiling.
        problem: the compiler's words where it does not fit.
    """

    program: str
    rows: int
    kept: float
    used: float | None
    limit: float
    fits: bool
    flops: float
    sent: dict[str, float]
    exchanges: list[dict]
    compute: float | None
    memory: float | None
    links: float | None
    bound: float | None
    mfu: float | None
    advice: str
    compile_seconds: float
    problem: str


def rehearse(config: ConfigDict, where: str, steps: tuple[str, ...]) -> dict:
    """Return {"topology", "devices", "mesh", "attention", "parameters", "rows": [Row as dict]}.

    Args:
        config: of a run; its training data is read, nothing is trained.
        where: a topology, see `topology.parse`. steps: of STEPS.
    """
    devices = topology.devices_of(where)
    run = builder.build(config)
    check(run, devices)
    return of_run(run, feed.read(run), where, devices, steps)


def check(run: builder.Run, devices: list) -> None:
    """Raise ValueError where the mesh or the batch does not fit so many devices."""
    mesh, train = parallel.make_mesh(run.parallel, devices), run.config.train
    parallel.check_batch(mesh, train.batch_size, train.accumulate)


def of_run(
    run: builder.Run, read: feed.Feed, where: str, devices: list, steps: tuple[str, ...]
) -> dict:
    """Return what `rehearse` does, of a run whose data is read and devices are there."""
    mesh = parallel.make_mesh(run.parallel, devices)
    run, attention = begin.on_devices(run, mesh)
    if not run.objective.writes:
        steps = tuple(step for step in steps if step != "decode")
    chip = topology.parse(where)[0]
    with parallel.following(run.parallel):
        rows = [_row(step, run, mesh, read, chip) for step in steps]
    return {
        "topology": where,
        "devices": len(devices),
        "chip": devices[0].device_kind,
        "mesh": dict(mesh.shape),
        "attention": attention,
        "parameters": models.count(workdir.like_params(run.model, mesh)),
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def _row(step: str, run: builder.Run, mesh, read: feed.Feed, chip: str) -> Row:
    made = {
        "train": lambda: programs.train_step(run, mesh, read),
        "eval": lambda: programs.eval_step(run, mesh, read),
        "decode": lambda: programs.decode_step(run, mesh),
    }[step]()
    found = collectives.of_program(made.text, mesh) if made.text else []
    sent: dict[str, float] = {}
    for one in found:
        sent[one.axes] = sent.get(one.axes, 0.0) + one.sent
    needed, done = _flops(step, run, mesh, read)
    links = chips.LINKS.get(chip)
    limit = links.memory if links else 0.0
    fits = not made.problem and (not limit or made.used <= limit)
    peak = _peak(step, run, mesh, read)
    times = _times(step, made, done, sent, links, mesh, peak)
    bound = max(times.values()) if fits and times else None
    row = Row(
        program=step,
        rows=_rows(step, run, mesh),
        kept=made.kept,
        used=made.used,
        limit=limit,
        fits=fits,
        flops=needed,
        sent=sent,
        exchanges=[dataclasses.asdict(one) for one in found],
        compute=times.get("compute"),
        memory=times.get("memory"),
        links=times.get("links"),
        bound=bound,
        mfu=needed / (peak * bound) if bound and peak else None,
        advice="",
        compile_seconds=made.seconds,
        problem=made.problem,
    )
    return dataclasses.replace(row, advice=advice(row, run))


def _rows(step: str, run: builder.Run, mesh) -> int:
    c = run.config
    if step == "train":
        return c.train.batch_size
    return programs.rows_of(c.eval.batch_size, mesh)


def _flops(step: str, run: builder.Run, mesh, read: feed.Feed) -> tuple[float, float]:
    """Return the FLOPs of a step over all devices: by formula, and with what a backward
    pass computes again under model.remat="full".
    """
    c, rows = run.config, _rows(step, run, mesh)
    if step == "decode":
        size = programs.slots_of(run)
        both = run.model.architecture == "encoder_decoder"
        one = flops.forward(
            run.model.architecture, run.model.cfg, tokens=rows * run.decode.lanes,
            length=size, source_length=c.data.source_length if both else 0,
        )  # fmt: skip
        return one, one
    shape = read.train.shape
    slots = shape.buckets[-1] + (shape.source_buckets or (0,))[-1]
    whole = read.flops_per_slot * slots * rows
    if step == "eval":
        return whole / 3, whole / 3
    return whole, whole * (4 / 3 if run.model.cfg.remat == "full" else 1)


def _peak(step: str, run: builder.Run, mesh, read: feed.Feed) -> float:
    """Return FLOP/s of all devices together, 0 = unknown: of products of the model's
    type, and of integers in those that model.matmul="int8" makes.
    """
    of = functools.partial(chips.peak_flops, mesh.devices.flat[0])
    peak, share = of(run.model.cfg.dtype), 0.0
    if not peak:
        return 0.0
    if run.model.cfg.matmul and step != "decode":
        shape = read.train.shape
        share = feed.forward_flops(run, shape, projections=True)
        share /= feed.forward_flops(run, shape)
    return mesh.size * peak / (1 - share + share * peak / of("int8"))


def _times(step, made, done: float, sent: dict, links, mesh, peak) -> dict[str, float]:
    if links is None or not peak:
        return {}
    return {
        "compute": done / peak,
        "memory": made.kept * (2 if step == "train" else 1) / links.bandwidth,
        "links": _sending(sent, links, mesh),
    }


def _sending(sent: dict, links: chips.Links, mesh) -> float:
    """Return the least seconds of sending {axes: bytes}; along "replica" over the
    slower network, where there are several slices.
    """
    slices = collectives.slices_of(mesh)
    far = sent.get("replica", 0.0) if slices > 1 else 0.0
    near = sum(sent.values()) - far
    return near / links.out + (far / links.between if links.between else 0.0)


def advice(row: Row, run: builder.Run) -> str:
    """Return which knob to turn, where it does not fit and where it does."""
    train = row.program == "train"
    if not row.fits:
        if row.kept > 0.9 * row.limit:
            more = "parallel.fsdp or parallel.tensor" + train * ", optim.name=adafactor"
            return f"what is kept fills the chip: more {more}, or more chips"
        if train and not run.model.cfg.remat:
            return "model.remat=full, which recomputes what the backward pass reads"
        if train:
            # With the length in parts splash attention cannot run, and the logits that
            # it leaves out need more than that gives.
            splash = run.model.cfg.attention.implementation == "splash"
            fewer = "more train.accumulate, a smaller train.batch_size"
            return fewer + ("" if splash else ", parallel.sequence")
        return "a smaller eval.batch_size, or more parallel.tensor"
    if row.bound is None:
        return ""
    slowest = max(("compute", "memory", "links"), key=lambda name: getattr(row, name))
    if slowest == "links":
        axes = max(row.sent, key=row.sent.get)
        return f"bound by what is sent along {axes}: a smaller axis, or more rows"
    if slowest == "memory":
        return "bound by memory: more rows a step"
    free = row.limit - row.used
    if train and run.model.cfg.remat == "full" and free > row.limit / 3:
        return "bound by products; a third is free: model.remat=dots may fit"
    return "bound by products"


def table(found: dict) -> str:
    """Return a rehearsal as text."""
    shape = " ".join(f"{axis}={n}" for axis, n in found["mesh"].items())
    first = (
        f"{found['topology']}: {found['devices']} x {found['chip']}, {shape}, "
        f"{found['parameters']:,} parameters"
    )
    if found["attention"]:
        first += f", {found['attention']}"
    lines = [first]
    for row in found["rows"]:
        lines += ["", *_said(Row(**row))]
    return "\n".join(lines)


def _said(row: Row) -> list[str]:
    room = f" of {_gib(row.limit)}" if row.limit else ""
    verdict = ("fits" if row.fits else "DOES NOT FIT") if row.limit else "compiled"
    first = (
        f"{row.program}, {row.rows} rows: {verdict}: {_gib(row.used)}{room} a device, "
        f"{_gib(row.kept)} of it kept between steps; compiled in "
        f"{row.compile_seconds:.0f} s"
    )
    lines = [first]
    if row.problem:
        lines.append("  " + row.problem[:200])
    if row.fits:
        lines.append(f"  products   {row.flops:.3g} FLOPs" + _ms(row.compute))
        moved = f"{_gib(row.kept)} read" + " and written" * (row.program == "train")
        lines.append(f"  memory     {moved}" + _ms(row.memory))
        total = sum(row.sent.values())
        lines.append(f"  sent       {_gib(total)} by each device" + _ms(row.links))
        for one in row.exchanges:
            lines.append(
                f"    {one['kind']:20} {one['axes']:12} {one['count']:6} times "
                f"{_gib(one['sent'])}"
            )
    if row.bound:
        share = f", {row.mfu:.0%} of the peak at most" if row.mfu else ""
        lines.append(f"  a step takes {_ms(row.bound).strip(', ')} or more{share}")
    return lines + ([f"  {row.advice}"] if row.advice else [])


def _gib(size: float | None) -> str:
    if size is None:
        return "unknown"
    if size < 2**27:
        return f"{size / 2**20:.1f} MiB"
    return f"{size / 2**30:.2f} GiB"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f", {1000 * seconds:.3g} ms"
