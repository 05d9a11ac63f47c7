"""`lmtasks doctor`: what is installed, what it runs on, what would stop a run."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
import tempfile
from importlib import metadata

from absl import flags

from lmtasks.cli import common

HELP = "check versions, devices, memory, disk and a work directory"
USAGE = """Check this machine: versions, devices, memory, disk, caches.

  lmtasks doctor [--workdir=DIR]

  --workdir=DIR   also check that runs can be written there

Marks: ok; -- is worth knowing; !! would stop a run. The exit code is 2 if there is
any !!, else 0.
"""

OK, NOTE, STOP = "ok", "--", "!!"
# Package -> the oldest version that works; "" for any.
NEEDED = {
    "jax": "0.10",
    "jaxlib": "0.10",
    "flax": "0.12",
    "optax": "0.2.8",
    "orbax-checkpoint": "0.12",
    "grain": "0.2.17",
    "tensorflow-datasets": "4.9.10",
    # tensorflow-datasets and its metadata need these two without saying so.
    "importlib_resources": "6",
    "protobuf": "6.31.1",
    "tokenizers": "",
    "sentencepiece": "",
    "safetensors": "",
    "ml-collections": "1.1",
    "numpy": "",
}
LEAST_DISK = 1e9
Check = tuple[str, str, str]


def main(argv: list[str]) -> int:
    """Print the table; return 2 if something would stop a run."""
    fv = common.flag_values()
    flags.DEFINE_string("workdir", "", "where runs are to be written", flag_values=fv)
    if rest := common.parse(fv, argv, USAGE):
        raise ValueError(f"doctor takes no arguments but flags, and got {rest[0]!r}.")
    checks = [_python(), *_packages(), *_unneeded(), *_devices(), _memory()]
    checks += [*_workdir(fv.workdir), _cache()]
    width = max(len(name) for _, name, _ in checks)
    for mark, name, said in checks:
        print(f"{mark}  {name:{width}}  {said}")
    wrong = sum(mark == STOP for mark, _, _ in checks)
    print(
        f"\n{wrong} of {len(checks)} checks would stop a run." if wrong else "\nReady."
    )
    return 2 if wrong else 0


def _python() -> Check:
    system = f"{platform.system()} {platform.machine()}"
    return OK, "python", f"{platform.python_version()}, {system}"


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])


def _packages() -> list[Check]:
    checks = []
    for name, oldest in NEEDED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            install = (
                f"pip install '{name}>={oldest}'" if oldest else f"pip install {name}"
            )
            checks.append((STOP, name, f"is not installed: {install}"))
            continue
        if oldest and _parts(version) < _parts(oldest):
            said = f"{version} is too old: pip install -U '{name}>={oldest}'"
            checks.append((STOP, name, said))
        else:
            checks.append((OK, name, version))
    return checks


def _unneeded() -> list[Check]:
    checks = []
    for name in ("tensorflow", "torch"):
        try:
            said = f"{metadata.version(name)}, never imported by lmtasks"
        except metadata.PackageNotFoundError:
            said = "absent, which is fine: lmtasks does not use it"
        checks.append((OK, name, said))
    return checks


def _devices() -> list[Check]:
    # Here and not above: a broken jax is to be reported, not to stop the doctor.
    try:
        import jax

        devices = jax.devices()
        total = float(jax.jit(lambda x: x + 1)(1.0))
        assert total == 2.0, total
    except Exception as error:  # noqa: BLE001
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [(STOP, "devices", f"jax cannot compute: {reason}")]
    first = devices[0]
    said = f"{len(devices)} x {first.device_kind} ({first.platform})"
    stats = first.memory_stats() or {}
    if limit := stats.get("bytes_limit"):
        used = stats.get("bytes_in_use", 0)
        said += f", {_size(limit)} each, {_size(limit - used)} free on the first"
    checks = [(OK, "devices", said)]
    if first.platform == "cpu" and pathlib.Path("/proc/driver/nvidia").exists():
        said = "a GPU is here but jax does not use it: pip install 'lmtasks[cuda12]'"
        checks.append((NOTE, "gpu", said))
    return checks


def _size(n: float) -> str:
    return f"{n / 1e9:,.1f} GB"


def _memory() -> Check:
    names = os.sysconf_names if hasattr(os, "sysconf") else {}
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return NOTE, "memory", "this system does not say"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return OK, "memory", f"{_size(total)}, {os.cpu_count()} processors"


def _workdir(name: str) -> list[Check]:
    if "://" in name:
        said = f"{name} is no folder; runs need a local or shared disk"
        return [(STOP, "workdir", said)]
    folder = pathlib.Path(name or ".").absolute()
    # A new work directory is made by the run: look at what it will be made in.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    mark = OK if free > LEAST_DISK else STOP
    said = f"{_size(free)} free at {there}"
    less = f"; a run needs {_size(LEAST_DISK)} or more" if mark == STOP else ""
    checks = [(mark, "disk", said + less)]
    if not name:
        return checks
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return [*checks, (STOP, "workdir", f"{folder} cannot be written: {error}")]
    state = "can be written" if there == folder else "is new and can be made"
    return [*checks, (OK, "workdir", f"{folder} {state}")]


def _cache() -> Check:
    try:
        from lmtasks.training import runtime

        folder = runtime.enable_compile_cache()
    except ImportError:
        return NOTE, "compile cache", "unknown, as jax is missing"
    path = pathlib.Path(folder).expanduser()
    if not path.is_dir():
        return OK, "compile cache", f"{path}, not there yet"
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return OK, "compile cache", f"{path}, {_size(size)}"
