"""Programs that try to do harm, and that the machine is as it was afterwards."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from lmtasks import sandbox

pytestmark = pytest.mark.process
SHORT = sandbox.Limits(seconds=3)


@pytest.fixture(autouse=True, scope="module")
def _jail():
    try:
        sandbox.check()
    except sandbox.Unavailable as error:
        pytest.skip(str(error))


def outcome(program, tests="", limits=SHORT):
    """Return what came of a program."""
    return sandbox.run(program, tests, limits)


def fails_with(program, *errors, limits=SHORT):
    """Assert that a program is stopped by an error of one of these names."""
    found = outcome(program, limits=limits)
    assert not found.passed and found.reason == "failed", found
    assert found.said.startswith(errors), found


# What is right and what is not.


def test_a_right_program_passes_and_a_wrong_one_says_why():
    program = "def add(a, b):\n    return a + b"
    assert outcome(program, "assert add(1, 2) == 3") == sandbox.Outcome(True, "passed")
    wrong = outcome(program, "assert add(1, 2) == 4, 'no'")
    assert wrong == sandbox.Outcome(False, "failed", "AssertionError: no")
    assert outcome("def f(:").said.startswith("SyntaxError")


def test_the_standard_library_is_there():
    tests = "import collections, json, math, random, re, heapq, itertools, decimal, ssl"
    assert outcome("", tests).passed


def test_a_temporary_file_can_be_written_and_is_gone():
    program = "open('x', 'w').write('a')\nassert open('/tmp/x').read() == 'a'"
    assert outcome(program).passed
    fails_with("open('x')", "FileNotFoundError")


@pytest.mark.parametrize(
    "program",
    [
        "print('passed')\nimport os; os._exit(0)",
        "raise SystemExit(0)",
        "import sys; sys.exit()",
        "print('passed', flush=True)\nimport os, signal; os.kill(os.getpid(), 9)",
        "import atexit, os\natexit.register(os._exit, 0)\n1 / 0",
    ],
)
def test_only_a_program_whose_tests_have_run_passes(program):
    assert not outcome(program, "assert True").passed


# What would do harm.


def test_there_is_no_network():
    for where in ("('192.0.2.1', 80)", "('127.0.0.1', 22)", "('localhost', 80)"):
        fails_with(
            f"import socket; socket.create_connection({where}, timeout=1)",
            "OSError", "ConnectionRefused", "socket.gaierror",
        )  # fmt: skip
    names = "import socket; assert [n for _, n in socket.if_nameindex()] == ['lo']"
    assert outcome(names).passed


def test_no_file_outside_can_be_read():
    here = pathlib.Path(__file__).resolve()
    for path in ("/etc/passwd", "/proc/1/environ", os.path.expanduser("~/.ssh"), here):
        fails_with(f"import os; os.stat({str(path)!r})", "FileNotFoundError")
    listing = outcome("import os; print(sorted(os.listdir('/'))); 1 / 0")
    assert listing.reason == "failed"


def test_no_file_outside_can_be_written(tmp_path):
    library = pathlib.Path(os.__file__).parent / "written_by_a_test.py"
    for path in ("/written", "/etc/written", "/usr/written", str(tmp_path / "written"),
                 str(library), "/dev/written"):  # fmt: skip
        fails_with(f"open({path!r}, 'w')", "OSError", "FileNotFoundError")
        assert not os.path.exists(path)
    fails_with(f"import os; os.remove({os.__file__!r})", "OSError", "PermissionError")
    assert os.path.exists(os.__file__)


def test_a_mount_cannot_be_made_writable_again():
    again = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for path in (b"/", b"/usr"):
    for flags in (0x20, 0x1020, 0x5020):  # remount, bind, recursive
        if libc.mount(None, path, None, ctypes.c_ulong(flags), None) == 0:
            raise SystemExit("remounted")
    if libc.umount2(path, 2) == 0:
        raise SystemExit("unmounted")
if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0:
    raise SystemExit("mounted")
for kind in (0x10000000, 0x00020000, 0x40000000):  # user, mount, network
    if libc.unshare(kind) == 0:
        raise SystemExit(f"unshared {kind:x}")
"""
    assert outcome(again).passed, outcome(again)


def test_it_has_no_capability_and_can_gain_none():
    program = """
import ctypes
libc = ctypes.CDLL(None)
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(header, data) == 0
assert not any(data), list(data)
assert libc.prctl(39, 0, 0, 0, 0) == 1  # no new privileges
"""
    assert outcome(program).passed, outcome(program)


def test_a_loop_ends_at_the_deadline():
    deaf = (
        "import signal, time\nfor n in (2, 15):\n    signal.signal(n, signal.SIG_IGN)\n"
    )
    asleep = "import time\ntime.sleep(60)"
    for program in ("while True: pass", asleep, deaf + asleep):
        begun = time.monotonic()
        found = outcome(program, limits=sandbox.Limits(seconds=1))
        assert found == sandbox.Outcome(False, "time")
        assert time.monotonic() - begun < 10


def test_memory_files_and_output_are_limited():
    fails_with("x = bytearray(1 << 30)", "MemoryError")
    fails_with("x = [0]\nwhile True: x += x", "MemoryError")
    found = outcome("open('x', 'wb').write(b'a' * (20 << 20))")
    assert not found.passed and found.reason == "failed"
    many = "for n in range(100):\n    open(str(n), 'wb').write(b'a' * (1 << 20))"
    assert outcome(many).reason == "failed"
    files = "for n in range(1000):\n    open(f'{n}', 'w').close()"
    assert outcome(files).reason == "failed"
    found = outcome("while True: print('x' * 1000)")
    assert (found.passed, found.reason) == (False, "output")


def processes_of(mark):
    """Return the processes of this machine whose command line has a mark."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path] if mark in path.read_bytes() else []
        except OSError:
            continue
    return found


def test_a_fork_bomb_is_limited_and_leaves_nothing():
    bomb = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    pass
assert made < 20, made
raise SystemExit("full")
"""
    found = outcome(bomb)
    assert not found.passed and found.said == "full", found
    wild = (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError: pass"
    )
    assert outcome(wild, limits=sandbox.Limits(seconds=1)).reason == "time"
    assert not processes_of(b"json.loads(sys.stdin.buffer.read())")


def test_a_child_that_outlives_its_parent_is_gone():
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
"""
    assert outcome(program).passed
    time.sleep(0.2)
    assert not processes_of(b"json.loads(sys.stdin.buffer.read())")


def test_no_process_outside_is_seen_or_hit():
    assert outcome("import os; assert os.getpid() < 5 and os.getppid() <= 1").passed
    fails_with(f"import os; os.kill({os.getpid()}, 0)", "ProcessLookupError")
    assert outcome("import os\ntry:\n    os.kill(-1, 9)\nexcept OSError: pass",
                   "").reason in ("passed", "failed")  # fmt: skip
    assert outcome("import os, signal; os.kill(1, signal.SIGKILL)").passed
    attach = """
import ctypes
assert ctypes.CDLL(None).ptrace(16, 1, 0, 0) < 0
"""
    assert outcome(attach).passed


def test_the_environment_and_open_files_are_not_handed_on(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    program = """
import os
assert set(os.environ) <= {"LC_CTYPE"}
for number in range(4, 64):
    try:
        os.fstat(number)
    except OSError:
        continue
    raise SystemExit(f"open: {number}")
"""
    assert outcome(program).passed, outcome(program)


def test_a_launcher_that_is_killed_takes_its_program_along():
    source = (
        "from lmtasks import sandbox\nsandbox.run('import time; time.sleep(50)', '', "
    )
    source += "sandbox.Limits(seconds=60))"
    child = subprocess.Popen([sys.executable, "-c", source])
    for _ in range(100):
        if processes_of(b"json.loads(sys.stdin.buffer.read())"):
            break
        time.sleep(0.1)
    for path in processes_of(b"jail.py"):
        os.kill(int(path.parent.name), 9)
    child.wait(timeout=20)
    time.sleep(0.3)
    assert not processes_of(b"json.loads(sys.stdin.buffer.read())")


# Where it cannot be had.


def test_without_namespaces_nothing_runs(monkeypatch, tmp_path):
    jail = tmp_path / "jail.py"
    text = pathlib.Path(sandbox.run.__globals__["_JAIL"]).read_text()
    # As where unprivileged user namespaces are switched off.
    wrong = (
        'raise OSError(1, "unshare: Operation not permitted")\n    call("unshare", N'
    )
    assert text.count('call("unshare", NEW_USER)') == 1
    jail.write_text(text.replace('call("unshare", NEW_USER)', wrong + "EW_USER)"))
    monkeypatch.setitem(sandbox.run.__globals__, "_JAIL", jail)
    mark = tmp_path / "ran"
    with pytest.raises(
        sandbox.Unavailable, match="unshare.*leave --allow_code_exec out"
    ):
        sandbox.run(f"open({str(mark)!r}, 'w')", "")
    assert not mark.exists()


@pytest.mark.parametrize("name", ("seconds", "memory", "files", "output", "processes"))
def test_a_limit_is_above_nothing(name):
    with pytest.raises(ValueError, match=f"{name}=0 must be > 0"):
        sandbox.Limits(**{name: 0})


def test_many_programs_run_side_by_side_in_order():
    pairs = [(f"x = {i}", f"assert x % 2 == {i % 3 % 2}") for i in range(12)]
    found = [one.passed for one in sandbox.run_all(pairs)]
    assert found == [i % 2 == i % 3 % 2 for i in range(12)]
