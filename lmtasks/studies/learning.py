"""What must hold of a run's targets, loss and updates."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lmtasks import builder
from lmtasks.losses import gather_at
from lmtasks.studies import rows as made
from lmtasks.studies import subject
from lmtasks.training import begin
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.types import Batch
from lmtasks.types import Params


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
