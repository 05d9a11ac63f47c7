"""One process for each side, which sleeps on its pipe while the other one runs."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import traceback
import typing
from collections.abc import Callable
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).parents[2]


class Side:
    """A child process that answers one json line for each it is sent.

    Neither side's threads run while it waits for a line, and the peak memory of each
    is its own.
    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None):
        self.module = module
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        # On a GPU both sides live beside each other: take memory as it is needed.
        more = {"PYTHONPATH": path, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.benchmarks.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **more, **(environment or {})},
            text=True,
        )

    def ask(self, command: str, **values: typing.Any) -> dict:
        """Return the answer to a command."""
        # A side that has ended is found by its missing answer, with its exit code.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps([command, values]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ValueError(f"the process of {self.module} ended with code {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{self.module}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *error):
        self.close()


def serve(commands: Mapping[str, Callable[..., dict]]) -> None:
    """Answer the lines of standard input until it is closed.

    What a library prints goes to standard error: standard output is the pipe.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        command, values = json.loads(line)
        try:
            answer = commands[command](**values)
        except (ValueError, OSError) as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - the parent must hear of it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out, flush=True)


def timed(call: Callable[[], object], seconds: float) -> dict[str, float]:
    """Return the seconds of a call, mean over as many as fill `seconds`; at least one.

    `call` waits for what it computes.
    """
    calls, start, elapsed = 0, time.perf_counter(), 0.0
    while not calls or elapsed < seconds:
        call()
        calls += 1
        elapsed = time.perf_counter() - start
    return {"seconds": elapsed / calls, "calls": calls}


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def cores() -> int:
    """Return how many cores this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1)
    )
