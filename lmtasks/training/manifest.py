"""A folder that is whole or known not to be: checksums of all its files."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib

NAME = "manifest.json"


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _text(files: dict[str, dict]) -> str:
    """The one way to write a manifest, so that a flip in white space shows too."""
    body = json.dumps(files, indent=1, sort_keys=True)
    own = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"files": files, "sha256": own}, indent=1, sort_keys=True)


def sync(path: pathlib.Path) -> None:
    """Return once the file, or the list of a folder's files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def seal(folder: pathlib.Path) -> None:
    """Write the sizes and checksums of all files of the folder, and sync them."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != NAME:
            files[name] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
        sync(path)
    (folder / NAME).write_text(_text(files), encoding="utf-8")
    sync(folder / NAME)
    sync(folder)


def damage(folder: pathlib.Path, *, contents: bool = True) -> str:
    """Return what is wrong with a sealed folder, in words; "" if it is whole.

    Args:
        folder: what `seal` was called on, or what is left of it.
        contents: compare checksums too; False looks at names and sizes only.
    """
    try:
        text = (folder / NAME).read_text(encoding="utf-8")
        files = json.loads(text)["files"]
        if text != _text(files):
            return f"{NAME} does not match its own checksum"
        for name, known in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            size = path.stat().st_size
            if size != known["bytes"]:
                return f"{name} has {size} bytes, not {known['bytes']}"
            if contents and _digest(path) != known["sha256"]:
                return f"{name} does not match its checksum"
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__}: {error})"
    return ""
