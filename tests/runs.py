"""Tiny runs of the command, in this process or in one of its own, for the tests."""

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import tiny

from configs import base
from lmtasks import builder
from lmtasks import schema
from lmtasks.cli import main
from lmtasks.training import begin
from lmtasks.training import checkpoint
from lmtasks.training import parallel
from lmtasks.training import runtime
from lmtasks.training import workdir
from lmtasks.training import writing

# Every evaluation and save has a step of its own, and some share one.
TINY = {
    "model.width": 16, "model.layers": 1, "model.mlp": 32,
    "model.attention.heads": 2, "model.attention.head_dim": 0,
    "data.length": 48, "data.source_length": 48,
    "train.steps": 4, "train.batch_size": 8, "optim.warmup_steps": 1,
    "eval.every": 2, "eval.batch_size": 8, "log.every": 1,
    "checkpoint.every": 2, "decode.max_tokens": 4, "decode.samples": 1,
}  # fmt: skip
GOOD = ("a fine film", "what a joy", "warm and bright", "well made and kind")
BAD = ("a dull film", "what a bore", "cold and grey", "badly made and mean")


@dataclasses.dataclass(frozen=True)
class Said:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


def benchmark(name):
    """Return a module of experiments/benchmarks, loaded when a test asks for it."""
    return importlib.import_module(f"experiments.benchmarks.{name}")


def reviews(count, seed=0):
    """Return `count` distinct (text, label) pairs, both labels alike often."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        texts, label = ((GOOD, "good"), (BAD, "bad"))[i % 2]
        rows.append((f"{texts[rng.integers(4)]} number {rng.integers(10**6)}", label))
    return rows


def write_csv(path, rows):
    """Write (text, label) rows under the header text,label."""
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_jsonl(path, rows):
    """Write dicts as json lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def data(folder, train=24, validation=10):
    """Write train.csv and validation.csv into a new folder and return it."""
    folder.mkdir()
    write_csv(folder / "train.csv", reviews(train))
    write_csv(folder / "validation.csv", reviews(validation, seed=1))
    return folder


def settings(**changes):
    """Return --config.KEY=VALUE flags: TINY, with changes; `__` stands for a dot."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return [f"--config.{key}={value}" for key, value in (TINY | changes).items()]


def classify(folder, work=None, *, architecture="encoder", **changes):
    """Return the arguments of a tiny classification run over `data(folder)`."""
    where = [f"--workdir={work}"] if work else []
    spec = f"--config=own:classification,{architecture}"
    changes = {"data__dir": folder, "tokenizer__kind": "byte"} | changes
    return ["train", spec, *where, *settings(**changes)]


def command(capsys, *argv):
    """Run `lmtasks ARGV` in this process."""
    capsys.readouterr()
    try:
        code = main.main([str(arg) for arg in argv])
    except SystemExit as stop:
        code = stop.code or 0
    said = capsys.readouterr()
    return Said(code, said.out, said.err)


def good(capsys, *argv):
    """Run a command that must succeed; return what it printed."""
    said = command(capsys, *argv)
    assert said.code == 0, said.err
    return said.out


def environment():
    """Return the variables of a process: CPU devices and the tests' compile cache."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(jax.device_count()),
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }


def start(*argv, cwd=None, stdin=None, env=None):
    """Start `lmtasks ARGV` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "lmtasks", *map(str, argv)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env or environment(),
        cwd=cwd,
    )


def free_port():
    """Return a port of this machine that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def quick_environment(devices):
    """Return the variables of a process that compiles fast: among several, all but the
    first compile anew, as on CPUs their programs are not shared.
    """
    flags = (
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    return environment() | {"JAX_NUM_CPU_DEVICES": str(devices), "XLA_FLAGS": flags}


def start_hosts(count, *argv, devices=1, timeout=60, port=None, indices=None):
    """Start `lmtasks ARGV` as `count` processes of one run, `devices` each."""
    port = port or free_port()
    env = quick_environment(devices)
    return [
        start(*argv, f"--hosts=127.0.0.1:{port},{count},{i}",
              f"--hosts_timeout={timeout}", env=env)
        for i in (range(count) if indices is None else indices)
    ]  # fmt: skip


def ended(process, seconds=120):
    """Return how a started process ended."""
    out, err = process.communicate(timeout=seconds)
    return Said(process.returncode, out, err)


def until(process, there, seconds=60):
    """Wait until `there()` is true; False when the process ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if there():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    raise AssertionError("it took too long")


def files(folder):
    """Return {name: bytes} of all files below a folder; {} where there is none."""
    folder = pathlib.Path(folder)
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def rows(work, name="metrics.jsonl"):
    """Return the rows of a json lines file of a work directory, strictly parsed."""
    lines = (pathlib.Path(work) / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def numbers(work):
    """Return the rows of metrics.jsonl with floats in hex, without speeds, and
    without what an interval between two starts adds up."""
    return [
        {
            key: value.hex() if isinstance(value, float) else value
            for key, value in row.items()
            if key not in ("tokens_per_s", "mfu", "tokens", "tflops")
        }
        for row in rows(work)
    ]


def steps(work):
    """Return the saved steps of a work directory."""
    folder = pathlib.Path(work) / "checkpoints"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit())


def state_of(work):
    """Return (the newest saved state, its step) of a work directory."""
    run = workdir.load_run(str(work))
    mesh = parallel.make_mesh(run.parallel)
    like = begin.like_state(run, begin.recipe_of(run, mesh), mesh)
    with checkpoint.Checkpoints(pathlib.Path(work) / "checkpoints") as saved:
        state, _, step = saved.restore(like)
    return state, step


def sha(work):
    """Return (sha256 of all leaves of the newest state, its step)."""
    state, step = state_of(work)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest(), step


def keep_cache(monkeypatch):
    """Let the tests' compile cache stand: a run would choose its own."""
    monkeypatch.setattr(runtime, "enable_compile_cache", lambda: "")


@contextlib.contextmanager
def signal_at(owner, name, call=1, number=signal.SIGTERM):
    """Send this process a signal when `owner.name` is called for the `call`th time.

    Where the run does not listen the test fails, instead of ending the test runner.
    """

    def missed(*_):
        raise AssertionError("nobody listened to the signal")

    original, calls = getattr(owner, name), [0]

    def counted(*args, **kwargs):
        calls[0] += 1
        if calls[0] == call:
            signal.raise_signal(number)
        return original(*args, **kwargs)

    before = signal.signal(number, missed)
    setattr(owner, name, counted)
    try:
        yield
    finally:
        setattr(owner, name, original)
        signal.signal(number, before)
    assert calls[0] >= call, f"{name} was called {calls[0]} times only"


def untrained(task, architecture, **changes):
    """Return an untrained run of a task, in memory."""
    c = base.finetune()
    c.task, c.architecture = task, architecture
    values = TINY | {"tokenizer.kind": "byte", "model.layers": 2}
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    for key, value in values.items():
        schema.override(c, key, str(value))
    run = builder.build(c)
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    return writing.Loaded(run, tiny.draw(run.model), 0, mesh)
