"""What differs between the machines two runs were made on."""

from __future__ import annotations

import json
import pathlib


def read(folder: str) -> dict:
    """Return {what: value} of a run's env.json; {} where there is none."""
    try:
        env = json.loads((pathlib.Path(folder) / "env.json").read_text())
    except (OSError, ValueError):
        return {}
    flat = {k: v for k, v in env.items() if k != "versions"}
    return flat | env.get("versions", {})


def differences(a: str, b: str) -> dict[str, tuple]:
    """Return {what: (of a, of b)} of versions, devices and cores that differ."""
    one, other = read(a), read(b)
    return {
        name: (one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    }
