"""Several processes as one run, on this machine, by gloo.

Those that are started twice or killed: pytest -m slow tests/test_hosts.py
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
import runs

from lmtasks.data import pipeline
from lmtasks.training import begin
from lmtasks.training import hosts
from lmtasks.training import parallel
from lmtasks.training import supervise

LONG = {"train__steps": 6, "checkpoint__every": 2, "eval__every": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.data(tmp_path_factory.mktemp("hosts") / "data", train=40)


@pytest.fixture(scope="module")
def arguments(data):
    return lambda work, **changes: runs.classify(data, work, **(LONG | changes))


def all_ended(processes):
    return [runs.ended(process) for process in processes]


def good(processes):
    """Return what processes said that must all succeed."""
    said = all_ended(processes)
    assert [one.code for one in said] == [0] * len(said), "\n".join(
        one.err for one in said
    )
    return said


def seen(work):
    """Return the last step of metrics.jsonl, 0 for none."""
    path = work / "metrics.jsonl"
    found = [0]
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line)["step"])
        except ValueError:
            continue
    return max(found)


@pytest.mark.parametrize(
    "text", ["", "localhost:1", "h:1,2", "h:1,2,2", "h,2,0", "h:x,2,0", "h:1,2,-1"]
)
def test_hosts_that_are_none_are_refused(text, capsys, tmp_path):
    said = runs.command(
        capsys,
        "train",
        "--config=quickstart",
        f"--workdir={tmp_path}",
        f"--hosts={text}",
    )
    assert said.code == 2 and "HOST:PORT,COUNT,INDEX" in said.err


def test_hosts_are_read():
    assert supervise.parse("10.0.0.1:12,4,3", 5) == supervise.Hosts(
        "10.0.0.1:12", 4, 3, 5
    )
    assert supervise.parse("auto") == supervise.Hosts()


@pytest.mark.parametrize("axes", [(8, 1, 1, 1), (2, 2, 1, 2), (1, 2, 2, 2)])
def test_rows_go_to_the_devices_that_hold_them(axes):
    mesh = parallel.make_mesh(parallel.Parallel(*axes))
    batch = {"tokens": np.arange(48).reshape(16, 3), "valid": np.arange(16.0)}
    rows = parallel.Rows(mesh).block(16)
    np.testing.assert_array_equal(rows, np.arange(16))
    placed = parallel.put(batch, parallel.batch_sharding(mesh))
    for name, x in batch.items():
        np.testing.assert_array_equal(placed[name], x)
        assert placed[name].dtype == jax.dtypes.canonicalize_dtype(x.dtype)
        for shard in placed[name].addressable_shards:
            np.testing.assert_array_equal(shard.data, x[shard.index])
    with pytest.raises(ValueError, match=r"eval\.batch_size=3 is not divisible by"):
        parallel.Rows(mesh).block(3, "eval.batch_size")


def test_one_process_agrees_with_itself():
    assert hosts.agree({"a": math.inf}) == {"a": math.inf}
    assert hosts.by_chief(lambda: 7) == 7
    hosts.check_same({"a": 1})
    np.testing.assert_array_equal(
        np.arange(8)[pipeline.Host(1, 2).block(8)], [4, 5, 6, 7]
    )


def test_a_process_with_other_devices_is_named(monkeypatch, tmp_path):
    config = types.SimpleNamespace(to_dict=dict)
    tokenizer = types.SimpleNamespace(fingerprint="a")
    run = types.SimpleNamespace(config=config, tokenizer=tokenizer)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(hosts, "check_shared", lambda path: None)
    rows = []  # what each process has said

    def gathered(mine):
        rows.append(mine)
        return np.stack([rows[0], mine])

    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", gathered)
    begin.check_alike(run, tmp_path, "data")
    begin.check_alike(run, tmp_path, "data")
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    with pytest.raises(ValueError, match=r"of process 0: devices \(process 1\); start"):
        begin.check_alike(run, tmp_path, "data")


@pytest.mark.parametrize("index", [0, 1])
def test_a_folder_that_another_process_does_not_see_is_refused(
    index, monkeypatch, tmp_path
):
    """As process 0, which writes the probe, and as process 1, which waits for it."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    monkeypatch.setattr(hosts, "SHOWS", 0)
    monkeypatch.setattr(hosts, "agree", lambda value: value)
    shared = hosts.multihost_utils
    monkeypatch.setattr(shared, "sync_global_devices", lambda name: None)
    other = index == 1
    seen = lambda mine: np.array([other, mine] if index else [mine, other])
    monkeypatch.setattr(shared, "process_allgather", seen)
    with pytest.raises(ValueError, match="process 1 does not see .* all hosts share"):
        hosts.check_shared(tmp_path)
    assert not list(tmp_path.iterdir())
    other = True
    if index == 0:
        hosts.check_shared(tmp_path)  # all see it


def free_job():
    """Return the number of a job: jax makes the port of it."""
    for job in range(os.getpid(), os.getpid() + 100):
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", 2**16 - 2**12 + job % 2**12))
            return job
    raise AssertionError("no port is free")


@pytest.mark.process
def test_the_processes_of_a_slurm_job_find_each_other():
    program = (
        "import jax\nfrom lmtasks.training import hosts, supervise\n"
        "hosts.join(supervise.parse('auto', 30))\n"
        "print(jax.process_index(), jax.process_count())"
    )
    job = {"SLURM_JOB_ID": free_job(), "SLURM_STEP_NODELIST": "localhost"}
    processes = []
    for index in range(2):
        own = job | {"SLURM_NTASKS": 2, "SLURM_PROCID": index, "SLURM_LOCALID": index}
        env = runs.quick_environment(1) | {name: str(n) for name, n in own.items()}
        argv = [sys.executable, "-c", program]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(argv, env=env, text=True, **pipes))
    said = good(processes)
    for index, one in enumerate(said):
        assert f"{index} 2" in one.out.splitlines()


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (-9, [], "process 1 of 2 was killed"),
        (-11, ["thing", ""], "ended with signal 11; it last said: thing"),
    ],
)
def test_an_end_is_explained(code, lines, said):
    where = supervise.Hosts("h:1", 2, 1, 10)
    assert said in supervise.explained(code, lines, where)


# Real processes.


@pytest.fixture(scope="module")
def whole(tmp_path_factory, arguments):
    """The undisturbed run of two processes of one device each."""
    work = tmp_path_factory.mktemp("whole") / "work"
    said = good(runs.start_hosts(2, *arguments(work)))
    assert "step 6/6" in said[0].out and "mesh 1x2x1x1x1" in said[0].out
    # gloo itself says who is connected.
    lines = said[1].out.splitlines()
    assert [line for line in lines if not line.startswith("[Gloo]")] == []
    return work


def losses(work, split="train"):
    return [row["loss"] for row in runs.rows(work) if row["split"] == split]


def alone(argv, devices):
    """Run a command as one process, which must succeed."""
    said = runs.ended(runs.start(*argv, env=runs.quick_environment(devices)))
    assert said.code == 0, said.err


@pytest.mark.process
def test_two_processes_learn_what_one_does(whole, arguments, tmp_path):
    work = tmp_path / "work"
    alone(arguments(work), 2)
    for split in ("train", "validation"):
        np.testing.assert_allclose(losses(whole, split), losses(work, split), rtol=1e-5)
    samples = [runs.rows(w, "samples.jsonl") for w in (whole, work)]
    assert samples[0] == samples[1]


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(1, 4, 1), (2, 1, 2), (1, 2, 2)])
def test_processes_write_the_texts_that_one_writes(axes, tmp_path):
    """Parameters in parts over both processes; heads in parts within each."""
    for split, count in (("train", 40), ("validation", 10)):
        rows = [{"source": f"say {i}", "target": f"so {i}"} for i in range(count)]
        runs.write_jsonl(tmp_path / f"{split}.jsonl", rows)
    sizes = dict(zip(("data", "fsdp", "tensor"), axes, strict=True))
    changes = {f"parallel__{axis}": size for axis, size in sizes.items()}
    changes |= {"data__dir": tmp_path, "tokenizer__kind": "byte"} | LONG
    argv = ["train", "--config=own:seq2seq,decoder", *runs.settings(**changes)]
    many, one = tmp_path / "many", tmp_path / "one"
    good(runs.start_hosts(2, *argv, f"--workdir={many}", devices=2))
    alone([*argv, f"--workdir={one}"], 4)
    for split in ("train", "validation"):
        np.testing.assert_allclose(losses(many, split), losses(one, split), rtol=1e-5)
    assert runs.rows(many, "samples.jsonl") == runs.rows(one, "samples.jsonl")
    said = good(runs.start_hosts(2, "eval", f"--workdir={many}", devices=2))
    assert "exact_match" in said[0].out and "exact_match" not in said[1].out
    alone(["eval", f"--workdir={one}"], 4)
    (found,), (wanted,) = (runs.rows(work, "eval.jsonl") for work in (many, one))
    found.pop("signatures"), wanted.pop("signatures")
    numbers = {name for name, value in wanted.items() if not isinstance(value, str)}
    for row in (found, wanted):
        row["numbers"] = {name: row.pop(name) for name in numbers}
    assert found.pop("numbers") == pytest.approx(wanted.pop("numbers"), rel=1e-5)
    assert numbers and found == wanted  # what is left are words


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_all_resume_exactly(
    victim, whole, arguments, tmp_path
):
    """Process 0 is the one through which the others know of each other."""
    killed_and_resumed(2, arguments, tmp_path / "work", whole, victim)


@pytest.mark.slow
def test_so_do_four_processes(arguments, tmp_path):
    good(runs.start_hosts(4, *arguments(tmp_path / "whole")))
    killed_and_resumed(4, arguments, tmp_path / "work", tmp_path / "whole")


def killed_and_resumed(count, arguments, work, whole, victim=1):
    """Kill one of so many processes; all end, and all started again end as `whole`."""
    processes = runs.start_hosts(count, *arguments(work))
    # Process 0 writes the checkpoints, and its last one ends with it.
    there = lambda: seen(work) >= 3 and runs.steps(work)
    assert runs.until(processes[0], there, 150)
    killed = children(processes[victim])
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    said = all_ended(processes)
    assert time.monotonic() - begun < 30
    assert killed and [one.code for one in said] == [1] * count, said[0].err
    for i, one in enumerate(said):
        word = "was killed" if i == victim else "another process is gone"
        assert word in one.err and "Traceback" not in one.err
    assert runs.steps(work)
    good(runs.start_hosts(count, *arguments(work)))
    assert runs.numbers(work) == runs.numbers(whole)
    assert runs.sha(work) == runs.sha(whole)


def children(process):
    """Return the processes that a process has started."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(path) as found:
        return [int(pid) for pid in found.read().split()]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_one_step(whole, arguments, tmp_path):
    work = tmp_path / "work"
    processes = runs.start_hosts(2, *arguments(work))
    assert runs.until(processes[0], lambda: seen(work) >= 2, 150)
    processes[1].send_signal(signal.SIGTERM)
    said = good(processes)
    assert "preempted: saved step" in said[0].out
    assert runs.steps(work)[-1] == seen(work)
    good(runs.start_hosts(2, *arguments(work)))
    assert runs.sha(work) == runs.sha(whole)
    assert runs.numbers(work) == runs.numbers(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(before, after, arguments, tmp_path):
    work, straight = tmp_path / "work", tmp_path / "straight"
    for count, steps in ((before, 3), (after, 6)):
        argv = arguments(work, train__steps=steps, optim__schedule="constant")
        if count > 1:
            good(runs.start_hosts(count, *argv))
        else:
            alone(argv, 2)
    alone(arguments(straight, optim__schedule="constant"), 2)
    np.testing.assert_allclose(losses(work), losses(straight), rtol=1e-5)


@pytest.mark.process
def test_who_never_comes_is_named(arguments, tmp_path):
    argv = arguments(tmp_path / "work")
    first = runs.start_hosts(3, *argv, timeout=8, indices=[0, 2])
    lost = runs.start_hosts(2, *argv, timeout=8, indices=[1])
    said = all_ended([*first, *lost])
    assert [one.code for one in said] == [1, 1, 2]
    assert "process 1 never joined process 0 of 3" in said[0].err
    assert "process 0 says which" in said[1].err
    assert "process 1 of 2 found no process 0 at 127.0.0.1:" in said[2].err
    for one in said:
        assert len(one.err.strip().splitlines()) == 1, one.err


@pytest.mark.process
def test_processes_of_different_runs_are_refused(arguments, tmp_path):
    port, work = runs.free_port(), tmp_path / "work"
    processes = []
    for index, rate in enumerate(("1e-3", "2e-3")):
        argv = arguments(work, optim__learning_rate=rate)
        processes += runs.start_hosts(2, *argv, port=port, indices=[index])
    said = all_ended(processes)
    assert [one.code for one in said] == [2, 2]
    assert "these differ from those of process 0: config (process 1)" in said[0].err
    assert not runs.steps(work)


@pytest.mark.process
def test_two_runs_in_one_work_directory_are_refused(arguments, tmp_path):
    work = tmp_path / "work"
    first = runs.start(*arguments(work, train__steps=2000))
    assert runs.until(first, lambda: seen(work) >= 1, 150)
    second = runs.ended(runs.start(*arguments(work, train__steps=2000)))
    assert second.code == 2, second
    assert f"is in use by process {first.pid} of " in second.err
    first.send_signal(signal.SIGTERM)
    assert runs.ended(first).code == 0
    assert not (work / ".lock").exists()


@pytest.mark.slow
def test_a_run_that_hangs_ends_with_the_stacks_of_its_threads(arguments, tmp_path):
    work = tmp_path / "work"
    argv = arguments(work, train__steps=2000, train__stuck_after=8)
    processes = runs.start_hosts(2, *argv)
    assert runs.until(processes[0], lambda: seen(work) >= 2, 90)
    stopped = children(processes[1])
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    said = runs.ended(processes[0])
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    runs.ended(processes[1])
    assert said.code == 1 and "nothing was done for" in said.err
    assert "Thread" in (work / "stacks-0.txt").read_text()
