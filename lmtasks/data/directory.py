"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import signal
import threading


@contextlib.contextmanager
def new_directory(to: pathlib.Path):
    """Yield a folder that takes the name `to` when all is written.

    Raises:
        ValueError: `to` is there and not empty.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ValueError(f"{to} is there already and not empty; choose another folder")
    partial = to.with_name(to.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)

    def leave(number, frame):  # an exception may be lost in a library's callback
        shutil.rmtree(partial, ignore_errors=True)
        if callable(before):
            before(number, frame)

    if main:
        signal.signal(signal.SIGINT, leave)
    try:
        yield partial
        if to.exists():
            to.rmdir()
        partial.rename(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if main:
            signal.signal(signal.SIGINT, before)
