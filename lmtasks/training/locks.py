"""One run at a time in a work directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import platform
import sys
import typing


@contextlib.contextmanager
def locked(path: pathlib.Path) -> typing.Iterator[None]:
    """Hold the work directory for one run; a killed one lets it go by itself.

    Of several processes the first holds it for all. A disk that knows no locks is used
    without one, and that is said.

    Raises:
        ValueError: another run holds it.
    """
    from lmtasks.training import hosts  # late: looking needs no jax

    file = path / ".lock"
    handle = hosts.by_chief(lambda: _lock(file))
    try:
        yield
    finally:
        if handle is not None:
            file.unlink(missing_ok=True)
            os.close(handle)


def _lock(file: pathlib.Path) -> int | None:
    """Return the handle of the locked file; None where the disk knows no locks."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that just ended may have taken the name away from under this lock.
            if os.path.samestat(os.fstat(handle), file.stat()):
                break
        except BlockingIOError:
            holder = os.read(handle, 200).decode() or "another process"
            os.close(handle)
            raise ValueError(
                f"the work directory {file.parent} is in use by {holder}; wait until it "
                "ends, stop it, or choose another with --workdir"
            ) from None
        except FileNotFoundError:  # it did: take the lock of the new file
            os.close(handle)
            continue
        except OSError as error:
            os.close(handle)
            file.unlink(missing_ok=True)
            print(
                f"{file.parent} is on a disk without locks ({error.strerror}): nothing "
                "keeps a second run out of it",
                file=sys.stderr,
            )
            return None
        os.close(handle)
    os.truncate(handle, 0)
    os.write(handle, f"process {os.getpid()} of {platform.node()}".encode())
    return handle


def is_locked(path: pathlib.Path) -> bool:
    """Return whether a run holds the work directory."""
    try:
        handle = os.open(path / ".lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
