"""What a run needs of its process: signals, the compile cache, and a clock."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
import typing

import jax


def enable_compile_cache() -> str:
    """Turn on the persistent compile cache; return its folder.

    JAX_COMPILATION_CACHE_DIR chooses another place.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.path.join(
        os.path.expanduser("~"), ".cache", "lmtasks", "jax"
    )
    jax.config.update("jax_compilation_cache_dir", folder)
    # Even a small program is read faster than it is compiled.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return folder


def keep_memory() -> None:
    """On a CPU, have the C library keep freed memory instead of giving it back.

    XLA allocates its buffers anew at every step; the kernel then maps and clears the
    same pages again and again, a third of a small model's step. Elsewhere, and where
    the C library has no mallopt, nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or jax.default_backend() != "cpu":
        return
    # malloc.h: M_TRIM_THRESHOLD off, M_TOP_PAD for the heaps of threads, M_MMAP_MAX.
    for option, value in ((-1, -1), (-2, 1 << 26), (-4, 0)):
        mallopt(option, value)


class Interrupts:
    """SIGTERM and SIGINT ask the run to stop after the step it is in."""

    def __init__(self):
        self.asked = False
        self._old: dict = {}

    def __enter__(self) -> typing.Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number, frame):
        self.asked = True

    def __exit__(self, *error):
        for number, handler in self._old.items():
            signal.signal(number, handler)


class Clock:
    """Slots and seconds since the last restart; pauses are left out by restarting."""

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        """Begin a new interval."""
        self._start, self.slots = time.perf_counter(), 0

    def count(self, slots: int) -> None:
        """Add the slots of one step."""
        self.slots += slots

    def seconds(self) -> float:
        """Return the seconds since the last restart."""
        return time.perf_counter() - self._start

    def rate(self) -> float:
        """Return slots a second, padding included."""
        return self.slots / max(self.seconds(), 1e-9)
