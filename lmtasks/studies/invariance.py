"""What must not change a model's numbers, tried on a run's own model and data.

Each check returns findings: what was tried, and what came of it. They run on a few rows
of the run's training data, with parameters drawn so that none is at a neutral value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from lmtasks import builder
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.studies import learning
from lmtasks.studies import rows as made
from lmtasks.studies import subject
from lmtasks.training import parallel


def causality(s: subject.Subject) -> subject.Finding:
    """Later tokens change nothing before them."""
    name = "causality"
    if s.run.model.architecture == "encoder":
        return subject.Finding(name, "skipped", "an encoder sees both sides")
    batch, cut = made.changed_after(s.batch, s.run.model.cfg.vocab)
    if cut is None:
        return subject.Finding(name, "skipped", "no row is long enough")
    seen = s.batch["positions"][:, :cut] >= 0
    a, b = (s.logits(x)[:, :cut][seen] for x in (s.batch, batch))
    return subject.same(name, a, b, "a later token changes logits before it")


def padding(s: subject.Subject) -> subject.Finding:
    """What stands in empty slots, and how many there are, changes nothing."""
    there = s.batch["positions"] >= 0
    wide = made.padded(s.batch, 5, s.run.model.cfg.vocab)
    a, b = s.logits(s.batch), s.logits(wide)
    if a.ndim < 3 or a.shape[1] != there.shape[1]:  # a head that reads one position
        return subject.same("padding", a, b, "empty slots change the logits")
    return subject.same(
        "padding", a[there], b[:, : a.shape[1]][there], "empty slots change logits"
    )


def order(s: subject.Subject) -> subject.Finding:
    """A row's logits do not depend on its place in the batch."""
    turn = np.arange(len(s.batch["tokens"]))[::-1]
    mixed = {k: v[turn] if np.ndim(v) else v for k, v in s.batch.items()}
    a, b = s.logits(s.batch), s.logits(mixed)[turn]
    return subject.same(
        "order of rows", a, b, "a row's logits depend on its neighbours"
    )


def packing(s: subject.Subject) -> subject.Finding:
    """Two examples in one row read as they do apart."""
    if not getattr(s.run.objective, "packs", True) or s.run.objective.pools:
        return subject.Finding("packing", "skipped", "this objective does not pack")
    pair = made.two_in_one(s.batch)
    if pair is None:
        return subject.Finding("packing", "skipped", "no two rows fit into one")
    joined, parts = pair
    whole = s.logits(joined)[0]
    apart = np.concatenate([s.logits(part)[0] for part in parts])
    return subject.same(
        "packing", apart, whole, "a neighbour in a row changes an example"
    )


def packed_positions(s: subject.Subject) -> subject.Finding:
    """In the run's own rows, every example begins at position 0."""
    wrong = made.wrong_starts(s.batch)
    if wrong is None:
        return subject.Finding(
            "positions in a pack", "skipped", "no row holds two examples"
        )
    if not wrong:
        return subject.Finding("positions in a pack", "ok")
    row, segment, first = wrong[0]
    said = f"example {segment} of row {row} begins at position {first}, not 0"
    return subject.Finding("positions in a pack", "wrong", said)


def dropout(s: subject.Subject) -> subject.Finding:
    """Evaluation has no dropout, and training has where it is set."""
    high, none = (
        subject.with_model(s.run, dropout=rate, attention_dropout=rate)
        for rate in (0.5, 0.0)
    )
    a, b = (s.logits(s.batch, run) for run in (high, none))
    return subject.same("dropout", b, a, "dropout changes an evaluation")


def remat(s: subject.Subject) -> subject.Finding:
    """Recomputing layers changes no gradient."""
    grads = [
        subject.grads(s, subject.with_model(s.run, remat=kind)) for kind in ("", "full")
    ]
    return subject.same_trees("remat", *grads, "gradients with remat are others")


def scanned(s: subject.Subject) -> subject.Finding:
    """One compiled layer over stacked parameters is the layers one by one."""
    name, cfg = "scan_layers", s.run.model.cfg
    try:
        runs = [subject.with_model(s.run, scan_layers=scan) for scan in (False, True)]
    except ValueError as error:
        return subject.Finding(name, "skipped", str(error))
    if s.run.model.soft.kind == "prefix":
        return subject.Finding(
            name, "skipped", "soft.kind=prefix has no place in a scan"
        )
    flat = layout.unstack_layers(s.params) if cfg.scan_layers else s.params
    pair = (flat, layout.stack_layers(flat))
    a, b = (s.logits(s.batch, run, p) for run, p in zip(runs, pair, strict=True))
    return subject.same(name, a, b, "stacked layers give other logits")


def cached(s: subject.Subject) -> subject.Finding:
    """Reading token by token with a cache is reading at once."""
    model = s.run.model
    if model.head != "lm" or model.architecture == "encoder":
        return subject.Finding("cache", "skipped", "this model writes no text")
    prompt, rest = made.halves(s.batch)
    if prompt is None:
        return subject.Finding("cache", "skipped", "no row is long enough")
    plain = model.for_decoding()
    params = layout.unstack_layers(s.params) if model.cfg.scan_layers else s.params
    whole = s.logits(made.joined(prompt, rest), with_decoding(s.run, plain), params)
    length = prompt["tokens"].shape[1]
    size = length + rest["tokens"].shape[1]
    logits, cache = jax.jit(plain.start, static_argnums=2)(params, prompt, size)
    got, step = [np.asarray(logits)], jax.jit(plain.step)
    slot = np.sum(prompt["positions"] >= 0, axis=1).astype(np.int32)
    for i in range(rest["tokens"].shape[1]):
        token, place = (rest[k][:, i : i + 1] for k in ("tokens", "positions"))
        logits, cache = step(params, token, place, cache, slot + i)
        got.append(np.asarray(logits)[:, 0])
    seen = whole[:, length - 1 :]
    return subject.same(
        "cache", seen, np.stack(got, axis=1), "the cache gives other logits"
    )


def with_decoding(run: builder.Run, model) -> builder.Run:
    """Return the run with another model."""
    return dataclasses.replace(run, model=model)


def sharded(s: subject.Subject) -> subject.Finding:
    """Loss and gradients on all devices are those on one."""
    devices = jax.devices()
    rows = len(s.batch["tokens"])
    count = max(n for n in (1, 2, 4) if n <= len(devices) and rows % n == 0)
    if count == 1:
        return subject.Finding(
            "sharding", "skipped", "one device, or rows that do not divide"
        )
    axes = parallel.Parallel(data=1, fsdp=-1)
    mesh = parallel.make_mesh(axes, devices[:count])
    batch = {
        k: jax.device_put(v, parallel.batch_sharding(mesh)) if np.ndim(v) else v
        for k, v in s.batch.items()
    }
    boxed = jax.eval_shape(s.run.model.init, jax.random.key(0))
    shardings = parallel.param_shardings(
        mesh, models.logical_axes(s.run.model), models.unbox(boxed)
    )
    with jax.set_mesh(mesh), parallel.rules():
        params = jax.tree.map(jax.device_put, s.params, shardings)
        spread = subject.grads(s, s.run, batch, params)
    whole = subject.grads(s, s.run)
    return subject.same_trees(
        "sharding", whole, spread, "gradients on a mesh are others"
    )


CHECKS: tuple[Callable[[subject.Subject], subject.Finding], ...] = (
    causality, padding, order, packing, packed_positions, learning.targets, learning.loss_of_right,
    learning.weighted_mean, dropout, learning.accumulation, learning.trained, cached, scanned, remat, sharded,
)  # fmt: skip


def check(run: builder.Run, note: Callable[[subject.Finding], None] = lambda f: None):
    """Return the findings of all checks, in order; `note` is told each."""
    s, found = subject.subject_of(run), []
    for one in CHECKS:
        found.append(one(s))
        note(found[-1])
    return found
