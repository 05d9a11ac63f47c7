"""A process that starts the one that trains, and says in a sentence why it ended.

jax's distributed runtime aborts where another process never came or is gone: no
exception, a stack of C++. What it printed is kept and read here.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading

# In the started process: the number of the file that Python's own errors go to.
INSIDE = "LMTASKS_SUPERVISED"
# Lets the runtime's service say which processes have come.
_TALK = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "coordination_service=3"}
_CAME = re.compile(r"Task (\d+) invoked BarrierAsync\(\[Init\]")
_KEPT = 400
# Exit code of a process that ends because another one is gone.
LOST = 1


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where the processes of a run meet.

    Attributes:
        coordinator: "HOST:PORT" of process 0; "" = the cluster says it.
        count: of processes. index: of this one, from 0. timeout: seconds to wait for
            the others.
    """

    coordinator: str = ""
    count: int = 0
    index: int = 0
    timeout: int = 300


def parse(text: str, timeout: int = 300) -> Hosts:
    """Return what --hosts says: "auto", or "HOST:PORT,COUNT,INDEX".

    Raises:
        ValueError: it is neither.
    """
    if text == "auto":
        return Hosts(timeout=timeout)
    found = re.fullmatch(r"(\S+:\d+),(\d+),(\d+)", text)
    if not found or not int(found[3]) < int(found[2]):
        raise ValueError(
            f"--hosts={text!r} takes auto (Cloud TPU, SLURM, Kubernetes), or "
            "HOST:PORT,COUNT,INDEX: where process 0 is, how many there are, and which "
            "of 0 to COUNT - 1 this one is, such as 10.0.0.1:1234,4,0"
        )
    return Hosts(found[1], int(found[2]), int(found[3]), timeout)


def is_inside() -> bool:
    """Return whether this process was started by `run`.

    If so, what Python prints as errors is shown, and what the runtime logs, on the same
    file by default, is not.
    """
    number = os.environ.get(INSIDE)
    if not number:
        return False
    if not os.environ.get("LMTASKS_TRACEBACK"):
        sys.stderr = os.fdopen(int(number), "w", buffering=1)
    return True


def run(argv: list[str], where: Hosts) -> int:
    """Run `lmtasks ARGV` as a process; return its exit code, explained if it broke."""
    shown = os.dup(2)
    child = subprocess.Popen(
        [sys.executable, "-m", "lmtasks", *argv],
        stderr=subprocess.PIPE,
        env=os.environ | _TALK | {INSIDE: str(shown)},
        pass_fds=(shown,),
        text=True,
        errors="replace",
    )
    os.close(shown)
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, lambda n, _: child.send_signal(n))
    lines: collections.deque[str] = collections.deque(maxlen=_KEPT)
    reader = threading.Thread(target=_keep, args=(child.stderr, lines))
    reader.start()
    code = child.wait()
    reader.join()
    for number, handler in before.items():
        signal.signal(number, handler)
    if code >= 0 and code != 128 + signal.SIGABRT:
        return code
    print(f"lmtasks: {explained(code, list(lines), where)}", file=sys.stderr)
    return LOST


def _keep(stream, lines) -> None:
    """Keep what a process says last; show it where tracebacks are asked for."""
    for line in stream:
        lines.append(line.rstrip("\n"))
        if os.environ.get("LMTASKS_TRACEBACK"):
            sys.stderr.write(line)
            sys.stderr.flush()


def explained(code: int, lines: list[str], where: Hosts) -> str:
    """Return why a process ended, from its exit code and what it printed."""
    text = "\n".join(lines)
    of = f"process {where.index} of {where.count}" if where.count else "this process"
    at = f" at {where.coordinator}" if where.coordinator else ""
    if "CoordinationService/RegisterTask" in text and "DEADLINE_EXCEEDED" in text:
        came = set(map(int, _CAME.findall(text)))
        missing = ", ".join(map(str, sorted(set(range(where.count)) - came)))
        who = (
            f"process {missing} never joined {of}"
            if came and missing
            else (f"another process than {of} never came, process 0 says which,")
        )
        return (
            f"{who}{at} within {where.timeout} s; start all processes, each with its own "
            "index, and read in the output of the missing one why it ended"
        )
    if code == -signal.SIGKILL:
        return f"{of} was killed; start all processes again: the run resumes"
    if re.search(r"heartbeat|unhealthy|UNAVAILABLE|terminat|task.*died", text):
        return (
            f"{of} ended because another process is gone; start all of them again: the "
            "run goes on from its last checkpoint"
        )
    said = next((line for line in reversed(lines) if line.strip()), "nothing")
    return f"{of} ended with signal {-code}; it last said: {said[:300]}"
