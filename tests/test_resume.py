"""Stopping and going on: the same bits as a run that was never stopped."""

import contextlib
import itertools
import json
import math
import os
import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest
import runs

from lmtasks import schema
from lmtasks.data import pipeline
from lmtasks.training import begin
from lmtasks.training import checkpoint
from lmtasks.training import evaluate
from lmtasks.training import loop
from lmtasks.training import parallel
from lmtasks.training import report
from lmtasks.training import samples
from lmtasks.training import workdir

# 8 devices as 4 x 2, dropout, two micro-batches, packing, averaged parameters, more
# than one epoch; evaluations at 4, 8, 12 and saves at 3, 6, 9, 12.
LONG = {
    "train__steps": 12, "train__batch_size": 16, "train__accumulate": 2,
    "train__ema": 0.9, "parallel__fsdp": 2, "model__dropout": 0.3,
    "model__attention_dropout": 0.2, "data__packing": True, "data__length": 96,
    "eval__every": 4, "checkpoint__every": 3, "checkpoint__keep": 3,
}  # fmt: skip


class Killed(BaseException):
    """Ends a run at once, as far as that can be done inside this process."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    runs.keep_cache(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.data(tmp_path_factory.mktemp("resume") / "data", train=90)


@pytest.fixture(scope="module")
def arguments(data):
    """Work directory -> the arguments of the long run."""
    return lambda work, **changes: runs.classify(data, work, **(LONG | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, arguments):
    """The run that nothing disturbed."""
    work = tmp_path_factory.mktemp("whole") / "work"
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        assert runs.main.main(arguments(work)) == 0
    return work


def same(work, whole):
    """Assert that two finished runs left the same state and the same numbers."""
    assert runs.sha(work) == runs.sha(whole)
    assert runs.numbers(work) == runs.numbers(whole)
    assert runs.rows(work, "samples.jsonl") == runs.rows(whole, "samples.jsonl")
    last = runs.steps(work)[-1]
    meta = [
        json.loads((w / "checkpoints" / str(last) / "meta.json").read_text())
        for w in (work, whole)
    ]
    assert meta[0]["meta"]["memory"] == meta[1]["meta"]["memory"]
    assert meta[0]["metrics"] == meta[1]["metrics"]


def stopped_at(capsys, argv, owner, name, call):
    """Run until the signal at the `call`th call of `owner.name`; return what it said."""
    with runs.signal_at(owner, name, call):
        out = runs.good(capsys, *argv)
    assert "preempted: saved step" in out
    return out


def test_a_run_repeats_itself_bit_for_bit(whole, arguments, tmp_path, capsys):
    runs.good(capsys, *arguments(tmp_path / "again"))
    same(tmp_path / "again", whole)


def test_the_long_run_really_has_what_resuming_could_get_wrong(whole):
    state, step = runs.state_of(whole)
    config = json.loads((whole / "config.json").read_text())
    assert step == 12 and jax.device_count() == 8
    assert config["model"]["dropout"] and config["train"]["accumulate"] == 2
    leaves = jax.tree.leaves(state.params)
    assert any(not x.sharding.is_fully_replicated for x in leaves)
    differs = [not np.array_equal(a, b) for a, b in zip(
        leaves, jax.tree.leaves(state.ema), strict=True)]  # fmt: skip
    assert all(differs)
    rows = runs.numbers(whole)
    assert [r["step"] for r in rows if r["split"] == "train"] == [*range(1, 13)]
    assert [r["step"] for r in rows if r["split"] == "validation"] == [4, 8, 12]
    assert len({r["loss"] for r in rows}) > 10


def test_5_and_7_steps_are_12_steps(whole, arguments, tmp_path, capsys):
    work = tmp_path / "work"
    out = stopped_at(capsys, arguments(work), loop.runtime.Clock, "count", 5)
    assert "saved step 5; run again to go on" in out
    assert runs.steps(work)[-1] == 5
    out = runs.good(capsys, *arguments(work))
    assert "resumed at step 5" in out
    same(work, whole)


def test_a_run_may_be_stopped_many_times(whole, arguments, tmp_path, capsys):
    work = tmp_path / "work"
    for number, call in ((signal.SIGTERM, 2), (signal.SIGINT, 1), (signal.SIGTERM, 6)):
        with runs.signal_at(loop.runtime.Clock, "count", call, number):
            assert "preempted" in runs.good(capsys, *arguments(work))
    assert runs.steps(work)[-1] == 9
    runs.good(capsys, *arguments(work))
    same(work, whole)


@pytest.mark.parametrize("step", [4, 8])
def test_a_run_stopped_at_an_evaluation_goes_on_as_if_it_had_not_been(
    step, whole, arguments, tmp_path, capsys
):
    work = tmp_path / "work"
    stopped_at(capsys, arguments(work), loop.runtime.Clock, "count", step)
    assert runs.steps(work)[-1] == step
    runs.good(capsys, *arguments(work))
    same(work, whole)


# Where in the work of an evaluation the signal arrives.
DURING = [
    (evaluate.Evaluator, "totals"),
    (evaluate.Evaluator, "predictions"),
    (samples, "make"),
    (pipeline, "eval_batches"),
]


@pytest.mark.parametrize(("owner", "name"), DURING)
def test_a_signal_during_an_evaluation_saves_and_repeats_the_evaluation(
    owner, name, whole, arguments, tmp_path, capsys
):
    work = tmp_path / "work"
    # A plan of predictions reads samples too: the second call is at step 8 or before.
    stopped_at(capsys, arguments(work), owner, name, 2)
    step = runs.steps(work)[-1]
    assert step in (4, 8)
    runs.good(capsys, *arguments(work))
    same(work, whole)


def test_a_signal_during_the_last_evaluation_keeps_the_last_step(
    whole, arguments, tmp_path, capsys
):
    work = tmp_path / "work"
    stopped_at(capsys, arguments(work), evaluate.Evaluator, "totals", 3)
    assert runs.steps(work)[-1] == 12
    runs.good(capsys, *arguments(work))
    assert runs.numbers(work) == runs.numbers(whole)
    assert runs.sha(work) == runs.sha(whole)


def test_an_evaluation_repeated_after_two_stops_is_written_once(
    whole, arguments, tmp_path, capsys
):
    work = tmp_path / "work"
    stopped_at(capsys, arguments(work), evaluate.Evaluator, "totals", 1)
    assert runs.steps(work)[-1] == 4
    # The evaluation of step 4 is made and written now; nothing is saved after it.
    with pytest.MonkeyPatch.context() as patch:

        def killed(*_):
            raise Killed

        patch.setattr(loop.runtime.Clock, "count", killed)
        with pytest.raises(Killed):
            runs.command(capsys, *arguments(work))
    assert runs.steps(work)[-1] == 4
    runs.good(capsys, *arguments(work))
    same(work, whole)


def test_the_best_checkpoint_is_kept_though_its_evaluation_was_interrupted(
    arguments, tmp_path, capsys
):
    # Nothing is learned: the first evaluation, at step 4, stays the best.
    changes = {"optim__learning_rate": 0.0, "checkpoint__every": 0,
               "checkpoint__keep": 1}  # fmt: skip
    plain, work = tmp_path / "plain", tmp_path / "work"
    runs.good(capsys, *arguments(plain, **changes))
    assert runs.steps(plain) == [4, 12]
    argv = arguments(work, **changes)
    stopped_at(capsys, argv, evaluate.Evaluator, "totals", 1)
    runs.good(capsys, *argv)
    assert runs.steps(work) == [4, 12]


def test_a_finished_run_says_so_and_changes_nothing(whole, arguments, tmp_path, capsys):
    work = shutil.copytree(whole, tmp_path / "work")
    before = runs.files(work)
    out = runs.good(capsys, *arguments(work))
    assert "resumed at step 12" in out and "step 13" not in out
    after = runs.files(work)
    for noted in ("command.txt", "README.md"):
        before.pop(noted), after.pop(noted)
    assert after == before


def test_more_steps_extend_a_finished_run(whole, arguments, tmp_path, capsys):
    work = shutil.copytree(whole, tmp_path / "work")
    changes = {"train__steps": 14, "optim__schedule": "constant"}
    runs.good(capsys, *arguments(work, **changes))
    assert runs.steps(work)[-1] == 14
    assert [r["step"] for r in runs.rows(work) if r["split"] == "train"][-2:] == [
        13,
        14,
    ]
    found = {row["key"]: row for row in runs.rows(work, "config_changes.jsonl")}
    assert found["train.steps"] == {
        "event": "config_change", "key": "train.steps", "old": 12, "new": 14,
    }  # fmt: skip
    assert found.keys() == {"train.steps", "optim.schedule"}


def test_changes_are_said_logged_and_kept(whole, arguments, tmp_path, capsys):
    work = shutil.copytree(whole, tmp_path / "work")
    out = runs.good(capsys, *arguments(work, optim__learning_rate=1e-5))
    assert "optim.learning_rate: 0.0005 -> 1e-05" in out
    (row,) = runs.rows(work, "config_changes.jsonl")
    assert (row["key"], row["old"], row["new"]) == ("optim.learning_rate", 5e-4, 1e-5)
    stored = json.loads((work / "config.json").read_text())
    assert stored["optim"]["learning_rate"] == 1e-5
    # The same command again changes nothing more.
    runs.good(capsys, *arguments(work, optim__learning_rate=1e-5))
    assert len(runs.rows(work, "config_changes.jsonl")) == 1


def test_what_does_not_touch_the_training_rows_may_change(tmp_path, capsys):
    rows = [{"source": f"say {i}", "target": f"so {i}"} for i in range(16)]
    runs.write_jsonl(tmp_path / "train.jsonl", rows)
    runs.write_jsonl(tmp_path / "validation.jsonl", rows)
    argv = ["train", "--config=own:seq2seq,decoder", f"--config.data.dir={tmp_path}"]
    argv += [*runs.settings(tokenizer__kind="byte"), f"--workdir={tmp_path / 'work'}"]
    runs.good(capsys, *argv)
    changes = {
        "train.steps": 6, "train.ema": 0.0, "optim.learning_rate": 1e-5,
        "optim.schedule": "constant", "loss.label_smoothing": 0.1, "loss.z_loss": 1e-4,
        "decode.max_tokens": 2, "decode.temperature": 0.5, "decode.top_p": 0.9,
        "decode.samples": 0, "eval.every": 3, "eval.batch_size": 16, "eval.limit": 8,
        "log.every": 2, "checkpoint.keep": 1, "data.threads": 1, "model.dropout": 0.1,
    }  # fmt: skip
    more = [f"--config.{key}={value}" for key, value in changes.items()]
    out = runs.good(capsys, *argv, *more)
    assert "resumed at step 4" in out
    assert runs.steps(tmp_path / "work")[-1] == 6
    logged = {
        row["key"] for row in runs.rows(tmp_path / "work", "config_changes.jsonl")
    }
    assert logged == changes.keys() - {"train.ema"}


def test_a_row_cut_in_half_is_repaired(whole, arguments, tmp_path, capsys):
    work = tmp_path / "work"
    stopped_at(capsys, arguments(work), loop.runtime.Clock, "count", 5)
    for name in ("metrics.jsonl", "samples.jsonl"):
        with open(work / name, "a") as file:
            file.write('{"step": 5, "split": "tr')
    runs.good(capsys, *arguments(work))
    same(work, whole)


def test_a_clock_that_goes_back_changes_nothing(
    whole, arguments, tmp_path, capsys, monkeypatch
):
    """An hour back in the middle of a run, and another before it goes on."""
    work, real = tmp_path / "work", time.time
    back = itertools.count(0, 60)  # seconds more at each look
    monkeypatch.setattr(time, "time", lambda: real() - next(back))
    stopped_at(capsys, arguments(work), loop.runtime.Clock, "count", 5)
    assert next(back) > 60  # somebody looked
    back = itertools.count(7200, 60)
    assert "resumed at step 5" in runs.good(capsys, *arguments(work))
    same(work, whole)


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["flip", "truncate", "remove", "empty"])
def test_a_damaged_newest_checkpoint_is_passed_over_loudly(
    how, whole, arguments, tmp_path, capsys
):
    work = tmp_path / "work"
    stopped_at(capsys, arguments(work), loop.runtime.Clock, "count", 8)
    folder = work / "checkpoints" / "8"
    largest = max(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    if how == "flip":
        _flip(largest)
    elif how == "truncate":
        largest.write_bytes(largest.read_bytes()[:-1])
    elif how == "remove":
        (folder / "manifest.json").unlink()
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    said = runs.command(capsys, *arguments(work))
    assert said.code == 0
    assert "Checkpoint 8" in said.err and "damaged" in said.err
    assert "Falling back to checkpoint 6" in said.err
    assert "resumed at step 6" in said.out
    assert (work / "checkpoints" / "8.damaged").is_dir()
    same(work, whole)


def test_checksums_are_compared_unless_the_config_says_not_to(
    whole, arguments, tmp_path, capsys
):
    work = shutil.copytree(whole, tmp_path / "work")
    about = work / "checkpoints" / "12" / "meta.json"
    text = about.read_text()
    about.write_text(text.replace('"python": "3', '"python": "4'))
    assert about.read_text() != text
    run = workdir.load_run(str(work))
    mesh = parallel.make_mesh(run.parallel)
    with pytest.raises(
        ValueError, match="12 of .* is damaged: meta.json does not match"
    ):
        workdir.restore_for_use(str(work), run, mesh, 12, "params")
    runs_on = runs.command(capsys, *arguments(work, checkpoint__verify=False))
    assert runs_on.code == 0 and "resumed at step 12" in runs_on.out
    assert "damaged" not in runs_on.err
    run = workdir.load_run(str(work))  # it is kept in the run's own config
    assert workdir.restore_for_use(str(work), run, mesh, 12, "params")[1] == 12


def test_all_damaged_never_starts_over(whole, arguments, tmp_path, capsys):
    work = shutil.copytree(whole, tmp_path / "work")
    for step in runs.steps(work):
        (work / "checkpoints" / str(step) / "meta.json").write_text("")
    for _ in range(2):
        said = runs.command(capsys, *arguments(work))
        assert said.code == 2
        assert "every checkpoint" in said.err.splitlines()[-1]
    assert runs.numbers(work) == runs.numbers(whole)


def test_without_config_a_work_directory_goes_on_with_its_own(
    whole, arguments, tmp_path, capsys
):
    work = tmp_path / "work"
    stopped_at(capsys, arguments(work), loop.runtime.Clock, "count", 5)
    runs.good(capsys, "train", f"--workdir={work}")
    same(work, whole)
    assert not (work / "config_changes.jsonl").exists()


def test_early_stopping_is_remembered(data, tmp_path, capsys):
    changes = {"eval__patience": 1, "eval__every": 1, "optim__learning_rate": 0.0,
               "train__steps": 6, "checkpoint__every": 1}  # fmt: skip
    argv = runs.classify(data, tmp_path / "work", **changes)
    runs.good(capsys, *argv)
    stopped = runs.steps(tmp_path / "work")[-1]
    assert stopped == 2  # the loss never falls: one evaluation is waited for
    card = (tmp_path / "work" / "README.md").read_text()
    assert "early" in card
    # The same command again finds it stopped, and does not train on.
    runs.good(capsys, *argv)
    assert runs.steps(tmp_path / "work")[-1] == stopped
    assert "early" in (tmp_path / "work" / "README.md").read_text()


def test_a_run_goes_on_over_other_meshes(arguments, tmp_path, capsys):
    plain = {"model__dropout": 0.0, "model__attention_dropout": 0.0}
    meshes = (
        {"parallel__fsdp": 8},
        {"parallel__fsdp": 2, "parallel__tensor": 2, "parallel__rules": "('embed:',)"},
        {"parallel__mode": "pmap", "parallel__fsdp": 1, "train__accumulate": 1},
        {"parallel__replica": 2, "parallel__tensor": 4, "parallel__fsdp": 1},
    )
    moved, still = tmp_path / "moved", tmp_path / "still"
    runs.good(capsys, *arguments(still, optim__schedule="constant", **plain))
    for number, mesh in enumerate(meshes, 1):
        given = {"optim__schedule": "constant", "train__steps": 3 * number}
        out = runs.good(capsys, *arguments(moved, **(plain | given | mesh)))
    assert "parallel.tensor=4 does not divide heads=2" in out  # and it goes on
    losses = [
        [row["loss"] for row in runs.rows(work) if row["split"] == "train"]
        for work in (moved, still)
    ]
    assert len(losses[0]) == 12
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """(a decoder's run, the folder of a checkpoint saved from 8 parts, that state)."""
    run = runs.untrained("toy_text", "decoder", parallel__fsdp=8).run
    mesh, folder = parallel.make_mesh(run.parallel), tmp_path_factory.mktemp("decoder")
    recipe = begin.recipe_of(run, mesh)
    rng = np.random.default_rng(0)

    def drawn(x):
        if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.device_put(jax.random.key(7), x.sharding)
        values = np.asarray(9 * rng.normal(size=x.shape)).astype(x.dtype)
        return jax.device_put(values, x.sharding)

    state = jax.tree.map(drawn, begin.like_state(run, recipe, mesh))
    with checkpoint.Checkpoints(folder) as saved:
        saved.save(1, state, {})
    return run, folder, state


@pytest.mark.parametrize("architecture", ["encoder", "decoder"])
@pytest.mark.parametrize("axes", [(1, 2, 2, 2), (1, 1, 1, 1)])
def test_a_state_comes_back_bit_for_bit_on_other_meshes(
    axes, architecture, whole, decoder
):
    run, folder, state = decoder
    if architecture == "encoder":
        run, folder = workdir.load_run(str(whole)), whole / "checkpoints"
        state, _ = runs.state_of(whole)
    devices = jax.devices()[: math.prod(axes)]
    mesh = parallel.make_mesh(parallel.Parallel(*axes), devices)
    like = begin.like_state(run, begin.recipe_of(run, mesh), mesh)
    with checkpoint.Checkpoints(folder) as saved:
        found, _, _ = saved.restore(like)
    cut = 0
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        assert x.sharding.device_set == set(devices)
        cut += not x.sharding.is_fully_replicated
        if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)
    assert bool(cut) == (len(devices) > 1)


# Real processes.


@pytest.fixture(scope="module")
def process_whole(tmp_path_factory, arguments):
    """(the undisturbed run of a process, its seconds)."""
    work = tmp_path_factory.mktemp("process") / "work"
    begin = time.monotonic()
    said = runs.ended(runs.start(*arguments(work)))
    assert said.code == 0, said.err
    return work, time.monotonic() - begin


def seen(work):
    """Return the last step whose row is in metrics.jsonl; 0 for none."""
    path = work / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [0]
    for line in lines:
        try:
            found.append(json.loads(line)["step"])
        except ValueError:
            continue
    return max(found)


def pending(work):
    """Return the saves that are being written, or that a kill left; not what `_prune`
    takes away, N.old.tmp.
    """
    found = (work / "checkpoints").glob("*.tmp")
    return [path for path in found if path.stem.isdigit()]


def kill_when(argv, there):
    """Start a run and kill it the moment `there()` holds; return whether it lived."""
    process = runs.start(*argv)
    alive = runs.until(process, there)
    process.kill()
    said = runs.ended(process)
    assert said.code in (0, -signal.SIGKILL), said.err
    return alive


@pytest.mark.process
def test_a_process_is_bit_equal_to_a_run_in_this_one(whole, process_whole):
    same(process_whole[0], whole)


@pytest.mark.process
def test_killed_in_training_and_in_a_save_it_ends_with_the_same_state(
    process_whole, arguments, tmp_path
):
    work = tmp_path / "work"
    assert kill_when(arguments(work), lambda: pending(work))
    assert kill_when(arguments(work), lambda: seen(work) >= 7)
    complete, before = runs.steps(work), seen(work)
    said = runs.ended(runs.start(*arguments(work)))
    assert said.code == 0, said.err
    if complete:
        assert f"resumed at step {complete[-1]}" in said.out
        # Two saves may be on their way: the one that ends and the one that waits.
        assert before - complete[-1] <= 2 * LONG["checkpoint__every"]
    same(work, process_whole[0])


@pytest.mark.process
def test_sigterm_to_a_process_exits_0_and_the_rerun_is_exact(
    process_whole, arguments, tmp_path
):
    work = tmp_path / "work"
    process = runs.start(*arguments(work))
    assert runs.until(process, lambda: seen(work) >= 4)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # impatience does no harm
    said = runs.ended(process)
    assert said.code == 0, said.err
    assert "preempted: saved step" in said.out or seen(work) == 12
    assert runs.steps(work)[-1] >= seen(work)
    assert runs.ended(runs.start(*arguments(work))).code == 0
    same(work, process_whole[0])


@pytest.mark.process
def test_sigint_before_training_begins_is_one_line_and_no_traceback(
    arguments, tmp_path
):
    process = runs.start(*arguments(tmp_path / "work"))
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    said = runs.ended(process)
    assert "Traceback" not in said.err, said.err
    assert said.code in (0, 130), said


@pytest.mark.process
def test_sigterm_before_the_run_is_built_exits_0_and_says_that_it_is_to_go_on(
    data, arguments, tmp_path
):
    """The training file is a pipe: building the run waits for what it holds."""
    pipe, work = tmp_path / "train.csv", tmp_path / "work"
    os.mkfifo(pipe)
    process = runs.start(*arguments(work, data__files__train=pipe))
    opened = []

    def reads():
        with contextlib.suppress(OSError):  # while nobody reads
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return opened

    assert runs.until(process, reads)
    process.send_signal(signal.SIGTERM)
    said = runs.ended(process)
    os.close(opened[0])
    assert (said.code, said.err) == (0, "")
    assert "preempted: nothing was to save yet; run again" in said.out
    assert "| stopped | preempted |" in (work / "README.md").read_text()
    assert "lmtasks" in (work / "README.md").read_text()
    assert not runs.steps(work)


def test_a_stop_before_a_run_goes_on_is_marked_in_its_card(tmp_path):
    config = schema.load("quickstart")
    report.mark_preempted(tmp_path, config)
    card = tmp_path / "README.md"
    assert "| steps | 0 |\n| stopped | preempted |" in card.read_text()
    report.write_card(tmp_path, config, {"stopped": "at the last step", "loss": 2})
    report.mark_preempted(tmp_path, config)
    assert "| stopped | preempted |\n| loss | 2 |" in card.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 40 processes
def test_killed_at_20_moments_of_the_whole_run_nothing_is_lost(
    process_whole, arguments, tmp_path, record_property
):
    """At least 5 of 20 kills fall between the first and the last byte of a save.

    python -m pytest tests/test_resume.py -m slow -k 20_moments -s
    """
    reference, seconds = process_whole
    draw, in_save = random.Random(0), 0
    for i in range(20):
        work = tmp_path / str(i)
        argv = arguments(work, checkpoint__every=1 if i % 2 else 3)
        if i % 2:
            # The moment is drawn in saves: the n-th new one, and a little later.
            number, begun = draw.randrange(1, 12), set()

            def there(work=work, begun=begun, number=number):
                begun.update(path.name for path in pending(work))
                return len(begun) >= number

            kill_when(argv, there)
        else:
            end = time.monotonic() + draw.uniform(0.0, seconds)
            kill_when(argv, lambda end=end: time.monotonic() >= end)
        torn = bool(pending(work))
        in_save += torn
        complete, before = runs.steps(work), seen(work)
        said = runs.ended(runs.start(*argv))
        assert said.code == 0, said.err
        first = f"resumed at step {complete[-1]}" if complete else "training"
        assert first in said.out
        print(f"kill {i}: in a save {torn}, seen {before}, saved {complete[-1:]}")
        assert runs.sha(work) == runs.sha(reference)
        assert runs.numbers(work) == runs.numbers(reference)
        assert not list((work / "checkpoints").glob("*.tmp"))
        shutil.rmtree(work)
    record_property("kills in a save", in_save)
    assert in_save >= 5
