"""Programs in a jail: what came of each, and whether this machine has such a jail."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent import futures

_JAIL = pathlib.Path(__file__).with_name("jail.py")
# Of the system: what Python and its libraries need to start.
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin")


class Unavailable(ValueError):
    """This machine does not offer the isolation; nothing was run."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: of time and of each process's computing.
        memory: bytes of a process. files: bytes in its /tmp, which is memory too.
        output: bytes it may print. processes: with threads, at a time.
    """

    seconds: float = 5.0
    memory: int = 512 << 20
    files: int = 8 << 20
    output: int = 64 << 10
    processes: int = 8

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(
                    f"{field.name}={getattr(self, field.name)} must be > 0"
                )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a program.

    Attributes:
        passed: it ran to its end, and so did its tests.
        reason: "passed", "failed", "time" or "output" (more than it may use).
        said: the last line it printed, such as the error it ended with.
    """

    passed: bool
    reason: str
    said: str = ""


DEFAULT = Limits()


def run(program: str, tests: str = "", limits: Limits = DEFAULT) -> Outcome:
    """Run Python and then its tests in the same names, in a jail.

    It has no network, no file of this machine but Python's own, which it cannot change,
    no other process and no environment; all it leaves is gone with it. A program that
    wants to can pretend to its own tests: this keeps the machine safe, not the score.

    Raises:
        Unavailable: the jail cannot be built here.
    """
    spec = dataclasses.asdict(limits) | _python()
    spec |= {"program": program, "tests": tests}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(_JAIL)],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        env={},
        check=False,
    )
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    if not found or found["reason"] == "unavailable":
        said = found.get("said") or done.stderr.strip().rpartition("\n")[2]
        raise Unavailable(
            "written code is run only where Linux offers user, mount, process and network "
            f"namespaces, and this machine does not ({said}); run the evaluation where "
            "they are, or leave --allow_code_exec out"
        )
    return Outcome(**found)


def run_all(
    programs: Sequence[tuple[str, str]], limits: Limits = DEFAULT
) -> list[Outcome]:
    """Return the outcome of each (program, tests), as many at a time as there are cores."""
    check()
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda pair: run(*pair, limits), programs))


@functools.cache
def check() -> None:
    """Raise Unavailable unless a program runs here and cannot get out."""
    tests = """
import os, socket
assert os.listdir("/tmp") == [] and not os.path.exists("/etc")
assert set(os.environ) <= {"LC_CTYPE"}  # Python's own
for path in ("/", "/usr", os.path.dirname(os.__file__)):
    try:
        open(os.path.join(path, "written"), "w")
    except OSError:
        continue
    raise AssertionError(path)
try:
    socket.create_connection(("192.0.2.1", 9), timeout=1)
except OSError:
    pass
else:
    raise AssertionError("network")
"""
    found = run("", tests)
    if not found.passed:
        raise Unavailable(f"a trial of the jail failed: {found.reason} {found.said}")


@functools.cache
def _python() -> dict:
    """Return the interpreter without its virtual environment, and what it needs."""
    python = os.path.realpath(sys.executable)
    links = {path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)}
    folders = [p for p in _SYSTEM if os.path.isdir(p) and p not in links]
    for prefix in (sys.base_prefix, os.path.dirname(python)):
        prefix = os.path.realpath(prefix)
        if not any(prefix == f or prefix.startswith(f"{f}/") for f in folders):
            folders.append(prefix)
    return {"python": python, "folders": folders, "links": links}
