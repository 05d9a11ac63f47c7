"""Run one program in namespaces of its own; started by `run.py`, never imported.

Reads a specification as JSON from standard input and writes what came of it as JSON to
standard output. Needs nothing but the standard library, so that it starts in an isolated
interpreter with one thread. From the outside in:

    launcher   waits, counts the output, kills at the deadline
      setup    user, mount, process, network and other namespaces
        init   sees a file system of its own, then reaps what the program leaves
          program   no capability, no new privilege, limits, an empty environment

The file system holds what Python needs, read-only, and an empty /tmp in memory. There is
no network device, no /proc, and no process but its own.
"""

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_USER = 0x10000000
# Mounts, host name, IPC, processes, network, control groups.
NEW_OTHERS = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000 | 0x02000000
BIND, RECURSIVE, PRIVATE, NO_SUID, NO_DEVICES = 0x1000, 0x4000, 0x40000, 0x2, 0x4
DETACH = 0x2
# What `Setattr` sets: read-only, no set-user-id programs, no devices.
READ_ONLY = 0x1 | 0x2 | 0x4
ALL_BELOW = 0x8000
MOUNT_SETATTR = 442
DROP_BOUND, NO_NEW_PRIVILEGES, DIE_WITH_PARENT = 24, 38, 1
NOBODY = 65534
ROOT = "/tmp"

# What the program's own interpreter runs. Only a program whose tests have all run says so.
HARNESS = """
import json, os, sys
given = json.loads(sys.stdin.buffer.read())
names = {"__name__": "__main__"}
exec(compile(given["program"], "<program>", "exec"), names)
exec(compile(given["tests"], "<tests>", "exec"), names)
os.write(3, b"passed")
"""


class Attributes(ctypes.Structure):
    """The argument of mount_setattr."""

    _fields_ = [
        (name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")
    ]


def call(name, *args):
    """Call a function of the C library; raise OSError where it fails."""
    args = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    if getattr(LIBC, name)(*args) < 0:
        number = ctypes.get_errno()
        shown = [a for a in args if isinstance(a, bytes)]
        raise OSError(number, f"{name} {shown}: {os.strerror(number)}")


def mount(source, target, kind, flags, options=None):
    """Mount a file system."""
    texts = [t and t.encode() for t in (source, target, kind)]
    call("mount", *texts, flags, options and options.encode())


def read_only(path, below=True):
    """Make a mount read-only, and all that is mounted below it."""
    attributes = Attributes(READ_ONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    flags = ALL_BELOW if below else 0
    given = (path.encode(), flags, ctypes.byref(attributes), size)
    call("syscall", MOUNT_SETATTR, -100, *given)


def main():
    """Run what standard input describes."""
    spec = json.load(sys.stdin)
    json.dump(launch(spec), sys.stdout)


def launch(spec):
    """Return {"passed", "reason", "said"} of a program."""
    given, report, said, done = (os.pipe() for _ in range(4))
    ready, mapped = socket.socketpair()
    if os.geteuid() == 0:
        os.setgroups([])
    setup = os.fork()
    if setup == 0:
        ready.close()
        ends = {
            "stdin": given[0],
            "report": report[1],
            "said": said[1],
            "done": done[1],
        }
        for end in (given[1], report[0], said[0], done[0]):
            os.close(end)
        _guarded(report[1], enter, spec, mapped, ends)
    mapped.close()
    for end in (given[0], report[1], said[1], done[1]):
        os.close(end)
    init = None
    try:
        if ready.recv(1):
            map_ids(setup)
            ready.sendall(b"g")
            init = int.from_bytes(ready.recv(4), "little") or None
        return watch(spec, given[1], report[0], said[0], done[0])
    except OSError as error:
        return {"passed": False, "reason": "unavailable", "said": str(error)}
    finally:
        # Its parent keeps init's number until this end is closed, so that no other
        # process is hit; it ends when all below init are gone.
        os.kill(init or setup, signal.SIGKILL)
        ready.close()
        os.waitpid(setup, 0)


def _guarded(report, function, *args):
    """Call a function in a child that ends with it; write what went wrong."""
    try:
        function(*args)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - the child must end here
        os.write(report, f"{type(error).__name__}: {error}".encode())
        os._exit(1)


def map_ids(pid):
    """Make the child root of its own namespace, and nobody outside of it."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        user = group = NOBODY
    else:
        write(f"/proc/{pid}/setgroups", "deny")
    write(f"/proc/{pid}/gid_map", f"0 {group} 1")
    write(f"/proc/{pid}/uid_map", f"0 {user} 1")


def write(path, text):
    """Write a file of the kernel in one call."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def watch(spec, given, report, said, done):
    """Hand the program over; return what came of it."""
    deadline = time.monotonic() + spec["seconds"]
    texts = {report: b"", said: b"", done: b""}
    program = json.dumps({k: spec[k] for k in ("program", "tests")}).encode()
    os.set_blocking(given, False)
    reason, readers, writers = "failed", list(texts), [given]
    while readers:
        left = deadline - time.monotonic()
        if left <= 0:
            reason = "time"
            break
        can_read, can_write, _ = select.select(readers, writers, [], left)
        if can_write:
            program = program[_write_some(given, program) :]
            if not program:
                os.close(given)
                writers = []
        for end in can_read:
            part = os.read(end, 65536)
            texts[end] += part
            if not part:
                readers.remove(end)
        if len(texts[said]) > spec["output"]:
            reason = "output"
            break
        if texts[report] or texts[done]:
            break
    if texts[report]:
        said = texts[report].decode()
        return {"passed": False, "reason": "unavailable", "said": said}
    passed = texts[done] == b"passed" and reason == "failed"
    last = texts[said].decode(errors="replace").strip().splitlines()[-1:]
    reason = "passed" if passed else reason
    return {"passed": passed, "reason": reason, "said": "".join(last)[:300]}


def _write_some(end, text):
    """Return how much of a text a pipe took; all of it where nobody reads any more."""
    try:
        return os.write(end, text)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(text)


def enter(spec, mapped, ends):
    """Leave the namespaces of the machine; become the parent of `init`."""
    call("prctl", DIE_WITH_PARENT, signal.SIGKILL)
    call("unshare", NEW_USER)
    mapped.sendall(b"r")
    if mapped.recv(1) != b"g":
        raise OSError("no user was mapped")
    call("unshare", NEW_OTHERS)
    # Opened while this is still the user whose files they are.
    folders = [(p, os.open(p, os.O_PATH | os.O_DIRECTORY)) for p in spec["folders"]]
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    init = os.fork()
    if init == 0:
        mapped.close()
        _guarded(ends["report"], initialize, spec, folders, ends)
    mapped.sendall(init.to_bytes(4, "little"))
    for end in ends.values():
        os.close(end)
    os.waitid(os.P_PID, init, os.WEXITED | os.WNOWAIT)
    mapped.recv(1)


def initialize(spec, folders, ends):
    """Build the file system, start the program, and reap what it leaves."""
    call("prctl", DIE_WITH_PARENT, signal.SIGKILL)
    write("/proc/sys/user/max_user_namespaces", "0")
    build(spec, folders)
    program = os.fork()
    if program == 0:
        _guarded(ends["report"], start, spec, ends)
    for end in ends.values():
        os.close(end)
    while os.wait()[0] != program:
        pass


def build(spec, folders):
    """Make a file system of the folders, read-only, and an empty /tmp."""
    mount("none", "/", None, RECURSIVE | PRIVATE)
    mount("tmpfs", ROOT, "tmpfs", NO_SUID | NO_DEVICES, "size=1m,mode=755")
    for path, descriptor in folders:
        target = ROOT + path
        os.makedirs(target, exist_ok=True)
        source = f"/proc/self/fd/{descriptor}"
        mount(source, target, None, BIND | RECURSIVE)
        read_only(target)
        os.close(descriptor)
    for path, goal in spec["links"].items():
        os.symlink(goal, ROOT + path)
    os.makedirs(f"{ROOT}/dev")
    for name in ("null", "zero", "urandom"):
        target = f"{ROOT}/dev/{name}"
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        mount(f"/dev/{name}", target, None, BIND)
    os.makedirs(f"{ROOT}/tmp")
    size = f"size={spec['files']},nr_inodes=256,mode=777"
    mount("tmpfs", f"{ROOT}/tmp", "tmpfs", NO_SUID | NO_DEVICES, size)
    read_only(ROOT, below=False)
    os.chdir(ROOT)
    call("pivot_root", b".", b".")
    call("umount2", b".", DETACH)
    os.chdir("/tmp")


def start(spec, ends):
    """Become the program, without any power over what is around it."""
    limits = {
        "RLIMIT_AS": spec["memory"],
        "RLIMIT_CPU": int(spec["seconds"]) + 1,
        "RLIMIT_FSIZE": spec["files"],
        "RLIMIT_NPROC": spec["processes"],
        "RLIMIT_NOFILE": 32,
        "RLIMIT_CORE": 0,
    }
    os.setsid()
    for place, name in enumerate(("stdin", "said", "said", "done")):
        os.dup2(ends[name], 100 + place)
    for place in range(4):
        os.dup2(100 + place, place)
    os.closerange(4, ends["report"])
    os.closerange(ends["report"] + 1, 256)
    for capability in range(64):
        if LIBC.prctl(DROP_BOUND, capability, 0, 0, 0) < 0:
            break  # the last one there is
    call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.set_inheritable(ends["report"], False)
    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    python = spec["python"]
    os.execve(python, [python, "-I", "-S", "-B", "-c", HARNESS], {})


if __name__ == "__main__":
    main()
