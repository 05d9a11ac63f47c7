"""Small files of a work directory: written whole or not at all, and read back."""

from __future__ import annotations

import json
import os
import pathlib


def write_json(path: pathlib.Path, value) -> None:
    """Write a json file whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a file by a rename, so that a kill leaves the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def read_config(folder: str) -> dict | None:
    """Return the config stored in a work directory, or None where there is none."""
    path = pathlib.Path(folder) / "config.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path}: not valid json ({error}); restore the file"
        ) from None


def differences(old: dict, new: dict, prefix: str = "") -> dict[str, tuple]:
    """Return {key: (old value, new value)} of two configs."""
    out = {}
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out |= differences(a, b, f"{prefix}{key}.")
        elif plain(a) != plain(b):
            out[prefix + key] = (a, b)
    return out


def plain(value):
    """Return a tuple as the list that json makes of it."""
    return list(value) if isinstance(value, tuple) else value
