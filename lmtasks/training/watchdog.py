"""A thread that ends a run which no longer moves, after it has said where it stands."""

from __future__ import annotations

import faulthandler
import os
import pathlib
import sys
import threading
import time
import typing

# A program may compile for long before the first sign of life.
FIRST = 3


class Watchdog:
    """Ends the process when nothing was done for so many seconds.

    A device or another process that hangs leaves a run alive and still; nothing is
    raised. The time in which this process is stopped, by the shell or with the whole
    machine, does not count.
    """

    def __init__(self, seconds: float, folder: pathlib.Path, name: str):
        """Begin to watch.

        Args:
            seconds: without a step, a batch of an evaluation or a save that end the
                process; three times as long before the first. 0 = do not watch.
            folder: of the file stacks-NAME.txt.
            name: of the process among those of the run.
        """
        self._seconds, self._file = seconds, folder / f"stacks-{name}.txt"
        self._limit, self._last = seconds * FIRST, time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if seconds:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *error):
        self._over.set()
        if self._thread:
            self._thread.join()

    def beat(self) -> None:
        """Say that something was done."""
        self._last, self._limit = time.monotonic(), self._seconds

    def compiling(self) -> None:
        """Say that what comes next may have to be compiled first."""
        self._last, self._limit = time.monotonic(), self._seconds * FIRST

    def _watch(self):
        pause, seen = min(self._seconds / 10, 10), time.monotonic()
        while not self._over.wait(pause):
            before, seen = seen, time.monotonic()
            if seen - before > 3 * pause + 1:  # this process itself was stopped
                self._last = seen
            if seen - self._last > self._limit:
                self._end()

    def _end(self):
        waited = time.monotonic() - self._last
        with open(self._file, "w") as out:
            faulthandler.dump_traceback(out, all_threads=True)
        print(
            f"nothing was done for {waited:.0f} s (train.stuck_after="
            f"{self._seconds:g}), so the run ends here; the stacks of its threads are in "
            f"{self._file}; start it again: it goes on from its last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
