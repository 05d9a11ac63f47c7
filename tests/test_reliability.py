"""What may happen to a run from outside: tiny data, full disks, signals, long runs."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
import runs

from lmtasks.data import features
from lmtasks.training import feed
from lmtasks.training import loop
from lmtasks.training import manifest


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    runs.keep_cache(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.data(tmp_path_factory.mktemp("reliability") / "data")


def write(folder, work, architecture="decoder", **changes):
    """Return the arguments of a tiny seq2seq run over a folder of json lines."""
    argv = ["train", f"--config=own:seq2seq,{architecture}", f"--workdir={work}"]
    changes = {"data__dir": folder, "tokenizer__kind": "byte"} | changes
    return [*argv, *runs.settings(**changes)]


def pairs(folder, **splits):
    """Write the splits' (source, target) pairs as json lines; return the folder."""
    for split, rows in splits.items():
        rows = [{"source": source, "target": target} for source, target in rows]
        runs.write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


# Tiny data (R17).


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("count", [1, 7, 9])
def test_a_split_smaller_or_a_bit_larger_than_a_batch_trains(
    count, packing, tmp_path, capsys
):
    rows = [(f"say {i}", f"so {i}") for i in range(count)]
    pairs(tmp_path, train=rows, validation=rows[:1])
    argv = write(tmp_path, tmp_path / "work", data__packing=packing, train__steps=2)
    out = runs.good(capsys, *argv)
    assert f"{count} examples" in out
    assert all(row["loss"] > 0 for row in runs.rows(tmp_path / "work"))


def test_text_shorter_than_a_row_is_refused_with_both_numbers(tmp_path, capsys):
    (tmp_path / "train.txt").write_text("short\n")
    argv = ["train", "--config=own:text,decoder", f"--workdir={tmp_path / 'work'}"]
    argv += runs.settings(data__dir=tmp_path, tokenizer__kind="byte")
    said = runs.command(capsys, *argv)
    assert said.code == 2 and len(said.err.splitlines()) == 1
    assert "7 tokens" in said.err and "data.length=48" in said.err
    assert runs.files(tmp_path / "work") == {}


# Nothing to learn, nothing to evaluate.


def test_conversations_without_a_reply_are_refused(tmp_path, capsys):
    rows = [{"messages": [{"role": "user", "content": "hello"}]}] * 8
    runs.write_jsonl(tmp_path / "train.jsonl", rows)
    argv = ["train", "--config=own:chat,decoder", f"--workdir={tmp_path / 'work'}"]
    argv += runs.settings(data__dir=tmp_path, tokenizer__kind="byte")
    said = runs.command(capsys, *argv)
    assert said.code == 2 and len(said.err.splitlines()) == 1
    assert "no row with a target" in said.err and "8 without" in said.err
    assert runs.files(tmp_path / "work") == {}


def test_an_evaluation_split_without_text_is_refused_before_training(tmp_path, capsys):
    pairs(tmp_path, train=[("a", "b")] * 8, validation=[("", "b"), (" ", "c")])
    said = runs.command(capsys, *write(tmp_path, tmp_path / "work"))
    assert said.code == 2 and len(said.err.splitlines()) == 1
    assert "validation split" in said.err and "target" in said.err
    assert runs.files(tmp_path / "work") == {}


def test_rows_without_weight_neither_divide_by_zero_nor_count(data, tmp_path):
    import lmtasks
    from lmtasks import schema
    from lmtasks.cli import common
    from lmtasks.training import begin
    from lmtasks.training import step as steps

    spec, overrides, _ = common.split_config(runs.classify(data)[1:])
    config = schema.load(spec)
    for key, text in overrides:
        schema.override(config, key, text)
    run = lmtasks.build(config)
    mesh = loop.parallel.make_mesh(run.parallel)
    recipe = begin.recipe_of(run, mesh)
    batch = feed.read(run).train.batch(0)
    batch = {**batch, "weights": np.zeros_like(batch["weights"])}
    params = loop.begin.models.unbox(run.model.init(jax.random.key(0)))
    state = steps.init_state(recipe, params, jax.random.key(1))
    before = jax.device_get(state.params)
    with jax.set_mesh(mesh), loop.parallel.rules():
        state, metrics = jax.jit(lambda s, b: steps.train_step(recipe, s, b))(
            state, batch
        )
    assert float(metrics["loss"]) == float(metrics["grad_norm"]) == 0.0
    # Only weight decay moves a parameter.
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), before, state.params)
    assert all(np.isfinite(x) and x < 1e-4 for x in jax.tree.leaves(moved))


# Over-long text (R18).


def test_a_decoder_keeps_the_whole_answer_and_cuts_the_prompt(tmp_path, capsys):
    pairs(tmp_path, train=[("x" * 100, "the answer")] * 8)
    argv = write(tmp_path, tmp_path / "w", data__packing=False)
    out = runs.good(capsys, *argv, "--dry_run")
    assert "8 cut to the length" in out
    line = next(line for line in out.splitlines() if "[[" in line and "[[a]]" in line)
    marked = [part.partition("]]")[0] for part in line.split("[[")[1:]]
    assert "".join(marked).replace("<0x20>", " ") == " the answer<eos>"


def test_an_encoder_decoder_cuts_source_and_target_apart(tmp_path, capsys):
    pairs(tmp_path, train=[("x" * 100, "y" * 100)] * 8, validation=[("a", "b")] * 8)
    argv = write(tmp_path, tmp_path / "w", "encoder_decoder", train__steps=1)
    assert "8 cut to the length" in runs.good(capsys, *argv)
    said = runs.command(capsys, *argv, "--config.data.on_long=raise")
    assert said.code == 2 and "train.jsonl:1" in said.err


# Disks (R7, R8).


def test_a_disk_that_fills_up_stops_the_run_and_keeps_what_is_whole(
    data, tmp_path, capsys, monkeypatch
):
    seal, calls = manifest.seal, []

    def full(folder):
        calls.append(folder)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        seal(folder)

    work = tmp_path / "work"
    argv = runs.classify(data, work, train__steps=8, checkpoint__keep=3)
    monkeypatch.setattr(manifest, "seal", full)
    said = runs.command(capsys, *argv)
    assert said.code == 2 and len(said.err.splitlines()) == 1
    assert "checkpoint 4 could not be saved" in said.err
    assert "No space left on device" in said.err and "newest there is 2" in said.err
    assert runs.steps(work) == [2]
    monkeypatch.setattr(manifest, "seal", seal)
    assert "resumed at step 2" in runs.good(capsys, *argv)
    plain = runs.classify(data, tmp_path / "plain", train__steps=8)
    runs.good(capsys, *plain, "--config.checkpoint.keep=3")
    assert runs.sha(work) == runs.sha(tmp_path / "plain")
    assert runs.numbers(work) == runs.numbers(tmp_path / "plain")


def test_a_file_in_the_place_of_the_checkpoints_is_said(data, tmp_path, capsys):
    work = tmp_path / "work"
    work.mkdir()
    (work / "checkpoints").write_text("mine")
    said = runs.command(capsys, *runs.classify(data, work))
    assert said.code == 2 and len(said.err.splitlines()) == 1
    assert "could not be saved" in said.err and str(work) in said.err
    assert (work / "checkpoints").read_text() == "mine"


@pytest.mark.process
def test_a_file_system_that_takes_no_more_stops_the_run_with_a_sentence(data, tmp_path):
    work = tmp_path / "work"
    argv = runs.classify(data, work, model__width=64, checkpoint__every=2)
    code = (
        "import resource, signal, sys\n"
        "from lmtasks.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        f"sys.exit(main.main({argv!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=runs.environment() | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    # Orbax's threads print their own complaints around it.
    ours = [line for line in done.stderr.splitlines() if "lmtasks train:" in line]
    assert len(ours) == 1 and "could not be saved" in ours[0]
    assert runs.steps(work) == []


# Kills while the work directory is written (R3).


class Killed(BaseException):
    """Ends a run at once, as far as that can be done inside this process."""


@pytest.mark.parametrize("number", range(1, 8))
def test_a_kill_in_the_middle_of_any_file_needs_no_repair(
    number, tmp_path, capsys, monkeypatch
):
    """Files are cut in half, in the order in which a new run writes them."""
    folder, work = runs.data(tmp_path / "data"), tmp_path / "work"
    argv = runs.classify(folder, work, train__steps=1, tokenizer__kind="word")
    written = []

    def halved(write):
        def cut(path, content, *args, **kwargs):
            if work not in path.parents:
                return write(path, content, *args, **kwargs)
            written.append(path.name)
            if len(written) < number:
                return write(path, content, *args, **kwargs)
            write(path, content[: len(content) // 2], *args, **kwargs)
            raise Killed

        return cut

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "write_text"):
            patch.setattr(pathlib.Path, name, halved(getattr(pathlib.Path, name)))
        with pytest.raises(Killed):
            runs.command(capsys, *argv)
    runs.good(capsys, *argv)
    assert runs.steps(work) == [1]
    runs.good(capsys, "eval", f"--workdir={work}")


# Signals (R9).


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (feed, "read"),  # while data is read
        (features.Pieces, "_add"),  # while it is cut into tokens
        (loop.updates.steps, "jit_step"),  # before the first compile
        (loop.begin, "fresh_state"),  # while parameters are drawn
        (loop.workdir, "write_config"),  # while the work directory is written
    ],
)
def test_a_signal_before_the_first_step_ends_in_a_saved_step(
    owner, name, data, tmp_path, capsys
):
    work = tmp_path / "work"
    argv = runs.classify(data, work)
    with runs.signal_at(owner, name):
        out = runs.good(capsys, *argv)
    assert "preempted: saved step" in out
    assert len(runs.steps(work)) == 1
    out = runs.good(capsys, *argv)
    assert "resumed at step" in out and runs.steps(work)[-1] == 4


def test_two_signals_are_one(data, tmp_path, capsys):
    work = tmp_path / "work"
    argv = runs.classify(data, work)
    with (
        runs.signal_at(loop.runtime.Clock, "count", 2, signal.SIGINT),
        runs.signal_at(loop.Trainer, "_log", 2, signal.SIGTERM),
    ):
        assert "preempted: saved step 2" in runs.good(capsys, *argv)
    assert runs.steps(work) == [2]


def test_the_handlers_of_the_caller_come_back(data, tmp_path, capsys):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    runs.good(capsys, *runs.classify(data, tmp_path / "work", train__steps=1))
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


# Keys are used once (R2).


def test_no_random_key_is_used_twice(data, tmp_path, capsys):
    argv = runs.classify(
        data, tmp_path / "work", train__steps=2, train__batch_size=16,
        train__accumulate=2, model__dropout=0.2, model__attention_dropout=0.2,
    )  # fmt: skip
    with jax.debug_key_reuse(True):
        runs.good(capsys, *argv)


# Long runs (R32).


def _open_files():
    folder = pathlib.Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this system does not list open files")
    return len(list(folder.iterdir()))


def _resident():
    """Return the resident memory of this process in MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _watched(monkeypatch, capsys, argv):
    """Run; return (threads, open files, MiB) at each save."""
    seen, save = [], loop.Trainer._save

    def watched(self, *args):
        self.store.checkpoints.wait()
        seen.append((threading.active_count(), _open_files(), _resident()))
        save(self, *args)

    monkeypatch.setattr(loop.Trainer, "_save", watched)
    runs.good(capsys, *argv)
    return seen


def test_saves_and_evaluations_leave_no_threads_and_no_open_files(
    data, tmp_path, capsys, monkeypatch
):
    every = {"eval__every": 2, "checkpoint__every": 2, "log__every": 2}
    argv = runs.classify(data, tmp_path / "work", train__steps=16, **every)
    seen = _watched(monkeypatch, capsys, argv)
    assert len(seen) >= 8
    assert max(t for t, _, _ in seen[2:]) <= seen[2][0] + 1
    assert max(f for _, f, _ in seen[2:]) <= seen[2][1] + 2


@pytest.mark.slow
def test_500_steps_with_10_evaluations_and_saves_do_not_grow(
    data, tmp_path, capsys, monkeypatch
):
    """python -m pytest tests/test_reliability.py -m slow -k 500_steps"""
    every = {"eval__every": 50, "checkpoint__every": 50, "log__every": 10}
    argv = runs.classify(data, tmp_path / "work", train__steps=500, **every)
    seen = _watched(monkeypatch, capsys, argv)
    assert len(seen) >= 10
    assert seen[-1][0] <= seen[3][0] + 1 and seen[-1][1] <= seen[3][1] + 2
    slope = np.polyfit(range(len(seen) - 3), [m for _, _, m in seen[3:]], 1)[0]
    assert slope < 1.0, f"{slope:.2f} MiB a save"


# Names of folders.


def test_spaces_and_accents_in_paths_are_fine(data, tmp_path, capsys):
    work = tmp_path / "my runs" / "première = 1"
    runs.good(capsys, *runs.classify(data, work, train__steps=1))
    runs.good(capsys, "eval", f"--workdir={work}")
    runs.good(capsys, "plot", work)
    assert json.loads((work / "eval.jsonl").read_text())["step"] == 1


def test_developers_can_ask_for_the_traceback(monkeypatch, capsys):
    monkeypatch.setenv("LMTASKS_TRACEBACK", "1")
    with pytest.raises(ValueError, match="did you mean quickstart"):
        runs.command(capsys, "config", "quikstart")


# A trace of some steps.


def test_steps_that_are_asked_for_are_traced(data, tmp_path, capsys):
    work = tmp_path / "work"
    out = runs.good(capsys, *runs.classify(data, work), "--profile=2:4")
    assert f"steps 2 to 3 are traced in {work / 'profile'}" in out
    assert list((work / "profile").rglob("*.xplane.pb"))
    assert "mfu: FLOPs of the products" in out


@pytest.mark.parametrize("steps", ["3", "0:2", "4:4", "5:2", "a:b"])
def test_steps_that_are_none_are_refused(steps, data, tmp_path, capsys):
    argv = runs.classify(data, tmp_path / "work")
    said = runs.command(capsys, *argv, f"--profile={steps}")
    assert said.code == 2 and "takes A:B" in said.err
    assert not (tmp_path / "work").exists()
