"""What must not change a model's numbers, tried on a run's own model and data.

Each check returns findings: what was tried, and what came of it. They run on a few rows
of the run's training data, with parameters drawn so that none is at a neutral value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lmtasks import builder
from lmtasks.losses import gather_at
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.studies import rows as made
from lmtasks.studies import subject
from lmtasks.training import begin
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.types import Batch
from lmtasks.types import Params


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


def targets(s: subject.Subject) -> subject.Finding:
    """Where tokens are predicted, a target is the next token."""
    name = "targets"
    causal = s.run.model.architecture != "encoder" and s.run.model.head == "lm"
    if not causal or s.run.objective.shares:
        return subject.Finding(name, "skipped", "targets are not the next tokens here")
    same, count = made.next_targets(s.batch)
    if not count:
        return subject.Finding(
            name, "skipped", "no two learned positions stand side by side"
        )
    if same == count:
        return subject.Finding(name, "ok", f"{count} targets are the next tokens")
    said = f"{count - same} of {count} targets are not the token that follows"
    return subject.Finding(name, "wrong", said)


def loss_of_right(s: subject.Subject) -> subject.Finding:
    """Logits that know the targets have a loss of 0."""
    name, targets_ = "loss of the right answer", s.batch["targets"]
    if s.run.model.head not in ("lm", "classify", "tag") or targets_.dtype != np.int32:
        return subject.Finding(name, "skipped", "the targets are not classes")
    if s.run.objective.shares or s.run.objective.whole_batch:
        return subject.Finding(name, "skipped", "the loss compares several answers")
    size = s.logits(s.batch).shape[-1]

    def knows(params, batch, rng):
        at = batch.get("at")
        return 50.0 * jax.nn.one_hot(gather_at(batch["targets"], at), size)

    sums = jax.jit(lambda b: s.run.objective.loss(knows, {}, b, None))(s.batch)
    mean = float(sums["loss"][0] / jnp.maximum(sums["loss"][1], 1))
    if mean < 1e-2:
        return subject.Finding(name, "ok")
    return subject.Finding(
        name, "wrong", f"it is {mean:.3g} nats: targets and logits do not meet"
    )


def weighted_mean(s: subject.Subject) -> subject.Finding:
    """The loss is a mean over what carries weight: twice the weights, the same loss."""
    name = "loss over weights"
    if s.run.objective.whole_batch:
        return subject.Finding(
            name, "skipped", "the loss compares the examples of a batch"
        )
    twice = {**s.batch, "weights": 2 * s.batch["weights"]}
    a, b = (_mean_loss(s, batch) for batch in (s.batch, twice))
    if abs(a - b) <= 1e-5 * max(abs(a), 1):
        return subject.Finding(name, "ok")
    return subject.Finding(name, "wrong", f"twice the weights make {a:.5g} to {b:.5g}")


def _mean_loss(
    s: subject.Subject, batch: Batch, run: builder.Run | None = None
) -> float:
    run = run or s.run
    recipe = steps.Recipe(run.model.apply, run.objective.loss, None, None)
    batch = {**batch, "valid": np.ones(len(batch["tokens"]), np.float32)}
    sums = jax.jit(lambda p, b: steps.eval_step(recipe, p, b))(s.params, batch)
    return float(sums["loss"][0] / jnp.maximum(sums["loss"][1], 1))


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


def accumulation(s: subject.Subject) -> subject.Finding:
    """An update of micro-batches is the update of the whole batch."""
    name = "accumulation"
    if s.run.objective.whole_batch:
        return subject.Finding(
            name, "skipped", "the loss compares the examples of a batch"
        )
    if len(s.batch["tokens"]) % 2:
        return subject.Finding(name, "skipped", "the rows do not divide into two parts")
    uneven = {**s.batch, "weights": s.batch["weights"].copy()}
    uneven["weights"][1:] *= np.arange(uneven["weights"].shape[1]) % 3 == 0
    results = []
    for parts in (1, 2):
        recipe = dataclasses.replace(_recipe(s.run), accumulate=parts)
        state, metrics = _update(recipe, s.params, uneven)
        change = jax.tree.map(jnp.subtract, state.params, s.params)
        results.append((change, float(metrics["loss"])))
    (a, loss_a), (b, loss_b) = results
    if abs(loss_a - loss_b) > 1e-4 * max(abs(loss_a), 1):
        said = f"the loss of {loss_a:.6g} is {loss_b:.6g} in two parts"
        return subject.Finding(name, "wrong", said)
    return subject.same_trees(name, a, b, "an update in two parts is another")


def _recipe(run: builder.Run) -> steps.Recipe:
    """Return the run's recipe at its full rate, without dropout, with plain descent."""
    import optax

    still = subject.with_model(run, dropout=0.0, attention_dropout=0.0)
    return steps.Recipe(
        still.model.apply, run.objective.loss, optax.sgd(0.1), lambda _: 0.1
    )


def _update(recipe: steps.Recipe, params: Params, batch: Batch):
    state = steps.init_state(recipe, params, jax.random.key(0))
    return jax.jit(lambda s, b: steps.train_step(recipe, s, b))(state, batch)


def trained(s: subject.Subject) -> subject.Finding:
    """Every parameter that has a gradient and is not frozen is changed by a step."""
    optim = dataclasses.replace(s.run.optim, warmup_steps=0, weight_decay=0.0)
    still = subject.with_model(s.run, dropout=0.0, attention_dropout=0.0)
    run = dataclasses.replace(still, optim=optim)
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    recipe = dataclasses.replace(begin.recipe_of(run, mesh), accumulate=1)
    params = begin.adapted(run, s.params)
    state, _ = _update(recipe, params, s.batch)
    grads = jax.grad(
        lambda p: run.objective.loss(run.model.apply, p, s.batch, None)["loss"][0]
    )(params)
    held = {} if recipe.frozen is None else masks.flat(recipe.frozen)
    before, after, slope = map(masks.flat, (params, state.params, grads))
    left, dead = [], []
    for name, x in before.items():
        moves = float(jnp.max(jnp.abs(slope[name]))) > 0
        if not moves:
            dead.append(name)
        elif not held.get(name) and bool(jnp.all(x == after[name])):
            left.append(name)
    if left:
        return subject.Finding(
            "trained", "wrong", f"a step leaves {', '.join(left[:4])} as it was"
        )
    note = f"no gradient reaches {', '.join(dead[:4])}" if dead else "every parameter"
    return subject.Finding("trained", "ok", note)


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
    causality, padding, order, packing, packed_positions, targets, loss_of_right,
    weighted_mean, dropout, accumulation, trained, cached, scanned, remat, sharded,
)  # fmt: skip


def check(run: builder.Run, note: Callable[[subject.Finding], None] = lambda f: None):
    """Return the findings of all checks, in order; `note` is told each."""
    s, found = subject.subject_of(run), []
    for one in CHECKS:
        found.append(one(s))
        note(found[-1])
    return found
