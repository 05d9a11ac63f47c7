"""Losses that are not finite, or that jump: stopped, left out, or gone back from."""

import math
import threading
import time
import types

import jax
import numpy as np
import pytest
import runs

from lmtasks.training import begin
from lmtasks.training import checkpoint
from lmtasks.training import feed
from lmtasks.training import guard
from lmtasks.training import parallel
from lmtasks.training import step as steps
from lmtasks.training import watchdog
from lmtasks.training import workdir

LAG = 2


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    runs.keep_cache(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.data(tmp_path_factory.mktemp("guard") / "data", train=64)


def of(tmp_path, **options):
    return guard.Guard(guard.Options(**options), tmp_path, LAG)


def metrics(loss, **more):
    return {"loss": loss, "grad_norm": 1.0, **more}


def test_a_limit_is_the_mean_and_so_many_deviations_of_what_is_surely_known(tmp_path):
    watch = of(tmp_path, spike="stop", window=4, factor=2.0)
    losses = [3.0, 1.0, 2.0, 4.0, 9.0]
    for step, loss in enumerate(losses[:4], 1):
        assert watch.limit(step) == math.inf
        assert watch.judge(step, metrics(loss)) == ""
    # Steps 1 to 4 are known to step 7 alone: 5 and 6 may have been on their way.
    assert watch.limit(6) == math.inf
    assert watch.limit(7) == pytest.approx(2.5 + 2 * np.std(losses[:4]))
    assert watch.judge(7, metrics(2.5 + 2 * np.std(losses[:4]) + 1e-6)) == "stop"
    assert watch.judge(8, metrics(4.5)) == ""


def test_a_bad_loss_is_not_remembered_and_few_are_kept(tmp_path):
    watch = of(tmp_path, spike="skip", window=4, nan="skip")
    for step in range(1, 100):
        assert watch.judge(step, metrics(1.0 + step % 2)) == ""
    assert watch.judge(100, metrics(math.nan, skipped=1.0)) == "skip"
    assert watch.judge(101, metrics(50.0, skipped=1.0)) == "skip"
    assert len(watch.losses) <= 4 + LAG + 1
    assert max(loss for _, loss in watch.losses) == 2.0


def test_a_watchdog_lets_go_of_what_moves_and_of_a_stopped_process(
    tmp_path, monkeypatch, capfd
):
    """One in a process of its own is in test_hosts."""
    ended = threading.Event()
    monkeypatch.setattr(watchdog.os, "_exit", lambda code: ended.set())
    clock = [0.0]
    fake = types.SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr(watchdog, "time", fake)
    with watchdog.Watchdog(0.2, tmp_path, "0") as dog:
        for _ in range(20):  # each look is 20 ms of real time later
            clock[0] += 0.05
            dog.beat()
            time.sleep(0.02)
        assert not ended.is_set()
        clock[0] += 100.0  # at once: the process was stopped
        assert not ended.wait(0.2)
        while not ended.is_set() and clock[0] < 200:
            clock[0] += 0.02
            time.sleep(0.02)
        assert ended.is_set() and clock[0] < 101.9
    assert "nothing was done for" in capfd.readouterr().err
    assert "Thread" in (tmp_path / "stacks-0.txt").read_text()


def test_too_many_bad_steps_in_a_row_end_the_run(tmp_path):
    watch = of(tmp_path, nan="skip")
    bad = metrics(math.inf)
    assert [watch.judge(s, bad) for s in range(guard.MOST)] == [
        *["skip"] * (guard.MOST - 1),
        "stop",
    ]
    assert of(tmp_path).judge(1, bad) == "stop"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"guard__nan": "ignore"}, "guard.nan='ignore' is not one of stop, skip, roll"),
        ({"guard__spike": "jump"}, "guard.spike='jump' is not one of ignore, stop"),
        ({"guard__window": 1}, "guard.window=1"),
        ({"train__stuck_after": -1.0}, "train.stuck_after=-1.0 must be at least 0"),
    ],
)
def test_what_is_no_policy_is_refused(changes, said, data, tmp_path, capsys):
    found = runs.command(capsys, *runs.classify(data, tmp_path / "work", **changes))
    assert found.code == 2 and said in found.err
    assert not (tmp_path / "work").exists()


def poison(monkeypatch, run_of, number, spoil):
    """Spoil, by `spoil(update, state, batch, limit)`, the step that reads batch
    `number` of the data; returns the list of steps that did.
    """
    make, read, hit = steps.jit_step, {}, []

    def poisoned(recipe):
        update = make(recipe)

        def step(state, batch, *limit):
            if not read:
                read.update(feed.read(run_of()).train.batch(number))
            if np.array_equal(batch["tokens"], read["tokens"]):
                hit.append(int(state.step) + 1)
                return spoil(update, state, batch, *limit)
            return update(state, batch, *limit)

        return step

    monkeypatch.setattr(steps, "jit_step", poisoned)
    return hit


def no_number(update, state, batch, *limit):
    return update(state, {**batch, "weights": batch["weights"] * math.nan}, *limit)


def jump(update, state, batch, *limit):
    state, found = update(state, batch, *limit)
    return state, {**found, "loss": found["loss"] * 100}


def test_the_largest_gradients_are_named_those_without_a_value_first():
    params = {"a": {"b": np.zeros(2), "c": np.zeros(3)}, "d": np.zeros(1)}
    frozen = jax.tree.map(lambda x: x.size == 3, params)
    like, recipe = types.SimpleNamespace(params=params), types.SimpleNamespace
    found = begin.largest(recipe(frozen=None), like, np.array([1.0, math.nan, 2.0]))
    assert list(found) == ["a/c", "d", "a/b"] and found["d"] == 2
    found = begin.largest(recipe(frozen=frozen), like, np.array([1.0, 2.0]))
    assert found == {"d": 2.0, "a/b": 1.0}


def meta_of(work):
    return checkpoint.Checkpoints(work / "checkpoints").read_meta(runs.steps(work)[-1])


def test_a_step_left_out_changes_nothing_but_the_steps_number(data, tmp_path, capsys):
    work = tmp_path / "work"
    runs.good(capsys, *runs.classify(data, work, train__ema=0.9))
    run = workdir.load_run(str(work))
    mesh = parallel.make_mesh(run.parallel)
    recipe = begin.recipe_of(run, mesh)
    state, _ = runs.state_of(work)
    batch = feed.read(run).train.batch(4)
    step = jax.jit(lambda s, b, m: steps.train_step(recipe, s, b, m))
    bad = {**batch, "weights": batch["weights"] * np.float32(math.nan)}
    with jax.set_mesh(mesh), parallel.rules():
        done, found = step(state, batch, np.float32(math.inf))
        over, _ = step(state, batch, np.float32(found["loss"] * 0.99))
        broken, told = step(state, bad, np.float32(math.inf))
        plain, _ = jax.jit(lambda s, b: steps.train_step(recipe, s, b))(state, batch)
    assert found["skipped"] == 0 and told["skipped"] == 1
    for kept in (over, broken):
        assert int(kept.step) == int(state.step) + 1
        same(kept.replace(step=state.step), state)
    for x, y in zip(
        jax.tree.leaves(done.params), jax.tree.leaves(plain.params), strict=True
    ):
        np.testing.assert_allclose(x, y, atol=1e-7)  # two programs: rounding


def same(a, b):
    key = lambda x: (
        jax.random.key_data(x)
        if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)
        else x
    )
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(key(x), key(y))


def test_skip_leaves_one_update_out_and_says_so(data, tmp_path, capsys, monkeypatch):
    work = tmp_path / "work"
    argv = runs.classify(data, work, train__steps=6, guard__nan="skip")
    hit = poison(monkeypatch, lambda: workdir.load_run(str(work)), 2, no_number)
    out = runs.good(capsys, *argv)
    assert hit == [3] and "loss of step 3 is nan" in out and "is left out" in out
    (row,) = runs.rows(work, guard.FILE)
    run = workdir.load_run(str(work))
    assert row["step"] == 3 and row["policy"] == "skip"
    assert row["examples"] == feed.read(run).train.example_ids(2)
    assert len(row["grad_norms"]) == begin.LARGEST
    assert all(map(math.isnan, row["grad_norms"].values()))
    found = runs.rows(work)
    assert math.isnan(next(r["loss"] for r in found if r["step"] == 3))
    assert all(math.isfinite(r["loss"]) for r in found if r["step"] > 3)
    assert {int(x) for x in counts_of(work)} == {5}


def test_rollback_goes_back_and_leaves_the_batches_out(
    data, tmp_path, capsys, monkeypatch
):
    plan = {"train__steps": 8, "checkpoint__every": 2, "guard__nan": "rollback"}
    first, other = tmp_path / "first", tmp_path / "other"
    run_of = lambda: workdir.load_run(str(first))
    hit = poison(monkeypatch, run_of, 5, no_number)
    out = runs.good(capsys, *runs.classify(data, first, **plan))
    assert hit == [6] and "resumed at step 4" in out
    assert "2 batches are left out, up to that of step 6" in out
    (row,) = runs.rows(first, guard.FILE)
    assert (row["step"], row["policy"]) == (6, "rollback")
    train = [r["step"] for r in runs.rows(first) if r["split"] == "train"]
    assert train == list(range(1, 9))
    assert meta_of(first)["guard"]["offset"] == 2
    # A run that is stopped behind it goes on with the same batches.
    argv = runs.classify(data, other, **plan)
    with runs.signal_at(checkpoint.Checkpoints, "save", 3):
        runs.good(capsys, *argv)
    runs.good(capsys, *argv)
    assert runs.sha(other) == runs.sha(first)
    assert runs.numbers(other) == runs.numbers(first)


def test_rollback_before_any_checkpoint_begins_anew(
    data, tmp_path, capsys, monkeypatch
):
    work = tmp_path / "work"
    argv = runs.classify(
        data, work, train__steps=6, checkpoint__every=6, eval__every=6,
        guard__nan="rollback",
    )  # fmt: skip
    hit = poison(monkeypatch, lambda: workdir.load_run(str(work)), 2, no_number)
    out = runs.good(capsys, *argv)
    assert hit == [3] and "3 batches are left out" in out
    assert runs.steps(work)[-1] == 6


def test_what_is_bad_over_any_batches_is_given_up(data, tmp_path, capsys, monkeypatch):
    make = steps.jit_step

    def diverging(recipe):
        update = make(recipe)

        def step(state, batch, *limit):
            spoil = no_number if int(state.step) == 3 else lambda f, *args: f(*args)
            return spoil(update, state, batch, *limit)

        return step

    monkeypatch.setattr(steps, "jit_step", diverging)
    work = tmp_path / "work"
    argv = runs.classify(data, work, train__steps=8, guard__nan="rollback")
    said = runs.command(capsys, *argv)
    assert said.code == 2 and "went back to step 2 3 times" in said.err
    assert [row["step"] for row in runs.rows(work, guard.FILE)] == [4] * 4
    assert runs.steps(work)[-1] == 2


@pytest.mark.parametrize("policy", ["stop", "rollback"])
def test_a_jump_is_seen_once_enough_losses_are_known(
    policy, data, tmp_path, capsys, monkeypatch
):
    work = tmp_path / "work"
    argv = runs.classify(
        data, work, train__steps=12, checkpoint__every=4, eval__every=0,
        guard__spike=policy, guard__window=3, guard__factor=50.0,
    )  # fmt: skip
    hit = poison(monkeypatch, lambda: workdir.load_run(str(work)), 8, jump)
    said = runs.command(capsys, *argv)
    assert hit == [9]
    assert said.code == (2 if policy == "stop" else 0), said.err
    assert "loss of step 9 is" in (said.err if policy == "stop" else said.out)
    assert [row["step"] for row in runs.rows(work, guard.FILE)] == [9]
    assert runs.steps(work)[-1] == (8 if policy == "stop" else 12)


def test_a_run_leaves_out_the_update_of_a_jump(data, tmp_path, capsys, monkeypatch):
    def over(update, state, batch, limit):
        assert limit < math.inf  # known from the losses before
        return update(state, batch, np.float32(0.0))

    work = tmp_path / "work"
    argv = runs.classify(
        data, work, train__steps=8, checkpoint__every=8, eval__every=0,
        guard__spike="skip", guard__window=2, guard__factor=50.0,
    )  # fmt: skip
    hit = poison(monkeypatch, lambda: workdir.load_run(str(work)), 6, over)
    out = runs.good(capsys, *argv)
    assert hit == [7] and "loss of step 7 is" in out and "is left out" in out
    (row,) = runs.rows(work, guard.FILE)
    assert (row["step"], row["policy"], row["metrics"]["skipped"]) == (7, "skip", 1)
    norms, whole = list(row["grad_norms"].values()), row["metrics"]["grad_norm"]
    assert norms == sorted(norms, reverse=True) and norms[0] > 0
    assert math.hypot(*norms) == pytest.approx(whole, rel=0.1)
    assert any("layers_0/" in name for name in row["grad_norms"])
    skipped = [r["skipped"] for r in runs.rows(work) if r["split"] == "train"]
    assert skipped == [0, 0, 0, 0, 0, 0, 1, 0]
    assert {int(x) for x in counts_of(work)} == {7}


def counts_of(work):
    """Return the numbers of updates that the optimizer has counted."""
    state, _ = runs.state_of(work)
    scalars = [x for x in jax.tree.leaves(state.opt_state) if x.shape == ()]
    return [x for x in scalars if x.dtype == np.int32]
