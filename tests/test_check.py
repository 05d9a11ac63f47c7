"""The fault-finder finds faults: each is put in, and the check of that name says so."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import runs
from flax import linen as nn

from configs import base
from lmtasks import builder
from lmtasks import losses
from lmtasks import schema
from lmtasks.data import pack
from lmtasks.layers import attention
from lmtasks.models import layout
from lmtasks.models import model as models
from lmtasks.studies import invariance
from lmtasks.studies import learning
from lmtasks.studies import liveness
from lmtasks.studies import subject as subjects
from lmtasks.training import optim
from lmtasks.training import step as steps


def config(task="pydocs", architecture="decoder", **changes):
    c = base.pretrain() if task == "pydocs" else base.finetune()
    c.task, c.architecture = task, architecture
    values = runs.TINY | {"tokenizer.kind": "byte", "data.limit": 40}
    if task == "pydocs":
        values |= {"data.limit": 2}
    for key, value in values.items():
        schema.override(c, key, str(value))
    for key, value in changes.items():
        schema.override(c, key.replace("__", "."), str(value))
    return c


def subject(task="pydocs", architecture="decoder", **changes):
    return subjects.subject_of(builder.build(config(task, architecture, **changes)))


def wrong(check, *args, **changes):
    """Return what a check says of a run with a fault put in."""
    found = check(subject(*args, **changes))
    assert found.state == "wrong", found
    return found.said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "architecture", "tried"),
    [
        ("pydocs", "decoder", 14),
        ("toy_labelled", "encoder", 10),
        ("toy_turns", "encoder_decoder", 13),
        ("toy_tagged", "encoder", 12),
    ],
)
def test_nothing_is_wrong_with_models_as_they_are(task, architecture, tried):
    found = invariance.check(builder.build(config(task, architecture, model__layers=3)))
    assert [one for one in found if one.state == "wrong"] == []
    assert sum(one.state == "ok" for one in found) >= tried, found
    assert len(found) == len(invariance.CHECKS)


def test_targets_shifted_by_one_are_found(monkeypatch):
    row = pack.StreamRows.row

    def shifted(self, epoch, i):
        found = row(self, epoch, i)
        return {**found, "targets": np.roll(found["targets"], -1)}

    monkeypatch.setattr(pack.StreamRows, "row", shifted)
    assert "not the token that follows" in wrong(learning.targets)


def test_a_loss_that_looks_one_further_is_found(monkeypatch):
    whole = losses.token_cross_entropy

    def shifted(logits, targets, weights, **options):
        return whole(logits, jnp.roll(targets, -1, axis=-1), weights, **options)

    monkeypatch.setattr(losses, "token_cross_entropy", shifted)
    assert "targets and logits do not meet" in wrong(learning.loss_of_right)


def test_one_future_key_that_is_visible_is_found(monkeypatch):
    def dense(self, window=None):
        q, k = self.q_positions[:, :, None], self.k_positions[:, None, :]
        return (k >= 0) & (k <= q + 1)

    monkeypatch.setattr(attention.Visibility, "dense", dense)
    assert "a later token changes" in wrong(invariance.causality)


@pytest.mark.parametrize("architecture", ["encoder", "encoder_decoder"])
def test_padding_that_is_attended_is_found(monkeypatch, architecture):
    plain = attention.Visibility.dense

    def dense(self, window=None):
        return plain(self, window) | (self.k_positions < 0)[:, None, :]

    monkeypatch.setattr(attention.Visibility, "dense", dense)
    assert "empty slots change" in wrong(
        invariance.padding, "toy_labelled", architecture
    )


def test_a_loss_over_the_batch_is_found(monkeypatch):
    whole = losses.token_cross_entropy

    def over_rows(logits, targets, weights, **options):
        sums = whole(logits, targets, weights, **options)
        return {k: (s, jnp.float32(len(targets))) for k, (s, _) in sums.items()}

    monkeypatch.setattr(losses, "token_cross_entropy", over_rows)
    assert "twice the weights" in wrong(learning.weighted_mean)


def test_positions_that_go_on_in_a_pack_are_found(monkeypatch):
    row = pack.PackedRows.row

    def going_on(self, epoch, i):
        found = row(self, epoch, i)
        places = np.arange(len(found["positions"]), dtype=np.int32)
        return {**found, "positions": places}

    monkeypatch.setattr(pack.PackedRows, "row", going_on)
    said = wrong(invariance.packed_positions, "toy_tagged", "encoder", data__length=96)
    assert re.match(r"example 2 of row 0 begins at position \d+, not 0", said)


def test_neighbours_that_see_each_other_in_a_pack_are_found(monkeypatch):
    def dense(self, window=None):
        q, k = self.q_positions[:, :, None], self.k_positions[:, None, :]
        return (k >= 0) & (k <= q)  # no segments

    monkeypatch.setattr(attention.Visibility, "dense", dense)
    assert "a neighbour in a row" in wrong(invariance.packing)


def test_dropout_in_an_evaluation_is_found(monkeypatch):
    def apply(self, params, batch, rng=None):
        module = self.module(train=True)
        rngs = {"dropout": jax.random.key(0) if rng is None else rng}
        return module.apply({"params": params}, batch, rngs=rngs)

    monkeypatch.setattr(models.Model, "apply", apply)
    assert "dropout changes an evaluation" in wrong(invariance.dropout)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_cache_slot_off_by_one_is_found(monkeypatch, architecture):
    step = models.Model.step

    def late(self, params, tokens, positions, cache, slot, *rest, **options):
        return step(self, params, tokens, positions, cache, slot - 1, *rest, **options)

    monkeypatch.setattr(models.Model, "step", late)
    task = "pydocs" if architecture == "decoder" else "toy_turns"
    # Eight tokens and more in a reply, so that the cache is read from.
    said = wrong(invariance.cached, task, architecture)
    assert "the cache gives other logits" in said


def test_a_mean_of_means_is_found(monkeypatch):
    whole = steps._grads

    def of_means(recipe, trainable, frozen, batch, rng):
        if recipe.accumulate == 1:
            return whole(recipe, trainable, frozen, batch, rng)
        one = steps.dataclasses.replace(recipe, accumulate=1)
        parts = []
        for i in range(recipe.accumulate):
            part = {k: x[i :: recipe.accumulate] for k, x in batch.items()}
            sums, grads = whole(one, trainable, frozen, part, rng)
            weight = sums["loss"][1]
            parts.append(jax.tree.map(lambda x, w=weight: x / w, (sums, grads)))
        return jax.tree.map(lambda *x: sum(x), *parts)

    monkeypatch.setattr(steps, "_grads", of_means)
    assert "in two parts" in wrong(learning.accumulation)


def test_a_parameter_left_out_of_the_optimizer_is_found(monkeypatch):
    build = optim.build

    def leaving_out(setting, count):
        def held(params):
            flat = jax.tree_util.tree_flatten_with_path(params)[0]
            names = [jax.tree_util.keystr(path) for path, _ in flat]
            marks = ["key" in name for name in names]
            return jax.tree.unflatten(jax.tree.structure(params), marks)

        return optax.chain(
            build(setting, count), optax.masked(optax.set_to_zero(), held)
        )

    monkeypatch.setattr(optim, "build", leaving_out)
    assert "attn/key" in wrong(learning.trained)


def test_parameters_that_are_frozen_are_no_fault():
    frozen = subject(train__freeze="('embed',)")
    assert learning.trained(frozen).state == "ok"


def test_rows_that_see_each_other_are_found(monkeypatch):
    apply = models.Model.apply

    def leaking(self, *args, **options):
        found = apply(self, *args, **options)
        return found + 0.01 * jnp.roll(found, 1, axis=0)

    monkeypatch.setattr(models.Model, "apply", leaking)
    assert "a row's logits depend on its neighbours" in wrong(invariance.order)


def test_layers_that_are_stacked_in_another_order_are_found(monkeypatch):
    stack = layout.stack_layers

    def turned(params):
        if isinstance(params, dict) and "layers_1" in params:
            first, second = params["layers_0"], params["layers_1"]
            params = {**params, "layers_0": second, "layers_1": first}
        return stack(params)

    assert invariance.scanned(subject(model__layers=2)).state == "ok"
    monkeypatch.setattr(layout, "stack_layers", turned)
    said = wrong(invariance.scanned, model__layers=2)
    assert "stacked layers give other logits" in said


def test_gradients_that_stop_at_a_recomputed_layer_are_found(monkeypatch):
    def stopping(block, **options):
        stop = functools.partial(jax.tree.map, jax.lax.stop_gradient)
        return nn.map_variables(block, "params", stop)

    monkeypatch.setattr(nn, "remat", stopping)
    assert "gradients with remat are others" in wrong(invariance.remat)


@pytest.mark.slow
def test_the_verb_names_a_key_that_changes_nothing(capsys, monkeypatch):
    monkeypatch.setattr(invariance, "check", lambda run, note: [])
    argv = ["check", "--config=quickstart", "--config.data.limit=2"]
    argv += [f"--config.{key}={value}" for key, value in runs.TINY.items()]
    alive = runs.command(capsys, *argv)
    assert alive.code == 0 and "change something" in alive.out
    said = runs.command(capsys, *argv, "--config.optim.momentum=0.5")
    assert said.code == 1
    assert "wrong    keys that are set: nothing is changed by optim.momentum=0.5\n" in (
        said.out
    )


def test_a_key_that_is_read_from_the_default_is_found(monkeypatch):
    c = config(optim__b1="0.5", model__dropout="0.1")
    keys = {"optim.b1": 0.9, "model.dropout": 0.0}
    assert liveness.dead_keys(c, keys) == []
    typed = schema.typed

    def forgetful(kind, section):
        if kind is optim.Optim:
            section = section.copy_and_resolve_references()
            section.b1 = 0.9
        return typed(kind, section)

    monkeypatch.setattr(schema, "typed", forgetful)
    assert liveness.dead_keys(c, keys) == ["optim.b1"]


def test_a_key_that_changes_nothing_here_is_named():
    # Momentum is of sgd. What is set to its own default changes nothing either, but
    # another value would.
    c = config(optim__momentum="0.5", optim__name="adamw")
    keys = liveness.set_keys(c)
    assert "optim.momentum" in keys and "train.steps" not in keys
    assert liveness.dead_keys(c, {"optim.momentum": 0.9}) == ["optim.momentum"]
    assert liveness.dead_keys(c, {"optim.learning_rate": c.optim.learning_rate}) == []


def test_the_verb_says_each_and_fails_where_one_is_wrong(capsys, monkeypatch):
    argv = ["check", "--config=quickstart", "--nokeys", "--config.data.limit=2"]
    argv += [f"--config.{key}={value}" for key, value in runs.TINY.items()]
    said = runs.command(capsys, *argv)
    assert said.code == 0 and "ok       causality" in said.out
    assert re.search(r"\d+ tried, 0 wrong", said.out)

    def dense(self, window=None):
        q, k = self.q_positions[:, :, None], self.k_positions[:, None, :]
        return (k >= 0) & (k <= q + 1)

    monkeypatch.setattr(attention.Visibility, "dense", dense)
    said = runs.command(capsys, *argv)
    assert said.code == 1 and "wrong    causality: a later token changes" in said.out
