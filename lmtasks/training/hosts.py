"""Several processes as one run: they join, agree before they begin, and fail together."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import platform
import re
import socket
import sys
import time
import typing

import jax
import numpy as np
from jax.experimental import multihost_utils

from lmtasks.training import supervise

# Seconds without a sign of life after which a process counts as dead.
HEARTBEAT = 20
# Seconds after which a file of one host is seen on the others.
SHOWS = 5
# What the runtime says where a connection broke; jax raises some of it as ValueError.
_BROKEN = re.compile(r"\b(UNAVAILABLE|UNKNOWN|DEADLINE_EXCEEDED|INTERNAL): ")


def join(where: supervise.Hosts) -> None:
    """Meet the other processes, before the first use of a device.

    A process that never joins ends this one by a signal of the runtime, which
    `supervise` explains.

    Raises:
        ValueError: nothing listens where process 0 should be, or no cluster is found.
    """
    given = {}
    if where.coordinator:
        _reach(where)
        given = {
            "coordinator_address": where.coordinator,
            "num_processes": where.count,
            "process_id": where.index,
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=where.timeout,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except ValueError as error:
        raise ValueError(
            f"--hosts=auto: no cluster of Cloud TPU, SLURM, Kubernetes or MPI is found "
            f"here ({error}); give --hosts=HOST:PORT,COUNT,INDEX"
        ) from None


def _reach(where: supervise.Hosts) -> None:
    """Wait until process 0 listens; raise ValueError where it never does."""
    host, port = where.coordinator.rsplit(":", 1)
    end = time.monotonic() + where.timeout
    while where.index:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            if time.monotonic() < end:
                time.sleep(0.2)
                continue
            raise ValueError(
                f"process {where.index} of {where.count} found no process 0 at "
                f"{where.coordinator} within {where.timeout} s ({error}); check that it "
                "runs, that address and port are its, and that no firewall is between"
            ) from None
        return


@contextlib.contextmanager
def joined(where: supervise.Hosts) -> typing.Iterator[None]:
    """Run with the others; an error here ends this process at once, so that they
    learn of it instead of waiting.
    """
    # Orbax logs, with its stack, the error of a save that it raises here anyway.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        join(where)
        yield
    except (ValueError, OSError, jax.errors.JaxRuntimeError) as error:
        lost = _cause(error)
        said, code = str(error), 2
        if lost:
            first = str(lost).strip().splitlines()[0][:200]
            said, code = (
                (
                    f"another process is gone ({first}); start all of them again: the run "
                    "goes on from its last checkpoint"
                ),
                supervise.LOST,
            )
        print(f"lmtasks, process {where.index}: {said}", file=sys.stderr)
        _end(code)


def _cause(error: BaseException | None) -> BaseException | None:
    """Return the error of the connection that an error came from; None without one."""
    found = None
    while error:
        if isinstance(error, jax.errors.JaxRuntimeError) or _BROKEN.search(str(error)):
            found = error
        error = error.__cause__ or error.__context__
    return found


def _end(code: int) -> None:
    """End the process without the runtime's farewell, which waits for all others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_chief() -> bool:
    """Return whether this process writes what all would write."""
    return jax.process_index() == 0


def agree(value: typing.Any) -> typing.Any:
    """Return process 0's value, which json must hold, on all processes."""
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode() if is_chief() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    row = np.zeros(size, np.uint8)
    if is_chief():
        row[:] = np.frombuffer(text, np.uint8)
    return json.loads(bytes(multihost_utils.broadcast_one_to_all(row)))


def by_chief(work: typing.Callable[[], typing.Any]) -> typing.Any:
    """Return what `work` returns on process 0; its ValueError is raised on all."""
    if jax.process_count() == 1:
        return work()
    found, problem = None, ""
    if is_chief():
        try:
            found = work()
        except (ValueError, OSError) as error:
            problem = str(error) or type(error).__name__
    if problem := agree(problem):
        raise ValueError(problem)
    return found


def check_same(facts: dict[str, typing.Any]) -> None:
    """Raise ValueError, on all processes, naming facts in which they differ."""
    if jax.process_count() == 1:
        return
    mine = [_digest(value) for value in facts.values()]
    rows = multihost_utils.process_allgather(np.array(mine, np.uint32))
    wrong = [
        f"{name} (process {', '.join(map(str, others))})"
        for name, column in zip(facts, rows.T, strict=True)
        if (others := np.flatnonzero(column != column[0]).tolist())
    ]
    if wrong:
        raise ValueError(
            f"these differ from those of process 0: {'; '.join(wrong)}; start every "
            "process with the same command, files and versions"
        )


def _digest(value) -> int:
    text = json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def check_shared(path: pathlib.Path) -> None:
    """Raise ValueError, on all processes, where they do not see the same folder."""
    if jax.process_count() == 1:
        return
    # A name that no disk remembers as missing.
    probe = path / agree(f".shared-{platform.node()}-{os.getpid()}")
    if is_chief():
        probe.write_text("")
    multihost_utils.sync_global_devices("lmtasks: the probe is written")
    end = time.monotonic() + SHOWS
    while not probe.exists() and time.monotonic() < end:
        time.sleep(0.1)
    sees = multihost_utils.process_allgather(np.array(probe.exists()))
    if is_chief():
        probe.unlink()
    if not sees.all():
        blind = ", ".join(map(str, np.flatnonzero(~sees)))
        raise ValueError(
            f"process {blind} does not see what process 0 writes into {path}; choose a "
            "--workdir on a disk that all hosts share"
        )
