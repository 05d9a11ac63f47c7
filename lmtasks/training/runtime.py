"""What a run needs of its process: signals, the compile cache, and a clock."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import threading
import time
import typing

import jax
from jax.experimental import multihost_utils


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


@contextlib.contextmanager
def leaving(mark: typing.Callable[[], None]) -> typing.Iterator[None]:
    """Call `mark` first where SIGTERM ends the command, as nothing is to be saved yet.

    Building may take minutes, longer than a machine that goes away waits: the command
    (`cli.main`) ends at once. Among many processes SIGTERM is that of jax's runtime,
    and all stop behind their first step.
    """
    old = signal.getsignal(signal.SIGTERM)
    alone = threading.current_thread() is threading.main_thread()
    if not callable(old) or not alone or jax.process_count() > 1:
        yield
        return

    def marked(number, frame):
        mark()
        old(number, frame)

    signal.signal(signal.SIGTERM, marked)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


class Interrupts:
    """SIGTERM and SIGINT ask the run to stop after the step it is in.

    Of several processes one that is asked is enough: all stop at the same look.
    """

    def __init__(self):
        self._asked, self._looks = False, 0
        self._many = jax.process_count() > 1
        self._old: dict = {}

    def __enter__(self) -> typing.Self:
        # Among many, SIGTERM stays with jax's runtime, which tells the others.
        numbers = (signal.SIGINT,) if self._many else (signal.SIGTERM, signal.SIGINT)
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number, frame):
        if self._many:
            signal.raise_signal(signal.SIGTERM)
        self._asked = True

    def asked(self) -> bool:
        """Return whether to stop now; every process must look as often."""
        if self._many:
            self._looks += 1
            self._asked = multihost_utils.reached_preemption_sync_point(self._looks)
            self._many = not self._asked  # once is for good
        return self._asked

    def __exit__(self, *error):
        for number, handler in self._old.items():
            signal.signal(number, handler)


def steps_of(text: str) -> range:
    """Return the steps that --profile=A:B names, or raise ValueError."""
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if not found or not 0 < int(found[1]) < int(found[2]):
        raise ValueError(
            f"--profile={text!r} takes A:B, the first step to trace and the first that "
            "is not, such as 10:15"
        )
    return range(int(found[1]), int(found[2]))


class Profile:
    """Traces some steps into WORKDIR/profile, which TensorBoard and Perfetto read."""

    def __init__(self, steps: range | None, work: pathlib.Path):
        self._steps, self._folder, self._on = steps or range(0), work / "profile", False

    def before(self, step: int) -> None:
        """Begin the trace, where this step is the first that was asked for."""
        if not self._on and step in self._steps:
            jax.profiler.start_trace(str(self._folder))
            self._on = True

    def after(self, step: int, result) -> str:
        """End the trace behind its last step; return what to say of it, or ""."""
        if not self._on or step + 1 in self._steps:
            return ""
        jax.block_until_ready(result)
        self.close()
        return f"steps {self._steps.start} to {step} are traced in {self._folder}"

    def close(self) -> None:
        """End the trace if one is on."""
        if self._on:
            jax.profiler.stop_trace()
            self._on = False


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

    def values(self, flops_per_slot: float, peak: float | None) -> dict[str, float]:
        """Return what a row of metrics.jsonl says of the interval; {} of none.

        "tokens": slots, padding included; "tokens_per_s"; "tflops": of them, 1e12
        FLOPs; "mfu" where the devices' peak is known, in FLOPs a second.
        """
        if not self.slots:
            return {}
        rate = self.slots / max(self.seconds(), 1e-9)
        flops = self.slots * flops_per_slot
        out = {"tokens": self.slots, "tokens_per_s": rate, "tflops": flops / 1e12}
        return out | ({"mfu": rate * flops_per_slot / peak} if peak else {})
