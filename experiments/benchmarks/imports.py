"""How fast a checkpoint directory is read, and how much memory it takes besides.

    python -m experiments.benchmarks.imports --folder=/tmp/one-billion --json=FILE

Writes a checkpoint of random numbers there (unless it is there already) and reads it in
new processes, taking turns with a plain sequential read of the same files. "cold" drops
the files from the page cache first, "warm" has just read them.

speed      bytes of the files a second, over those of the sequential read of its block
memory     peak resident memory of the process, less what it had before, less the bytes
           of the parameters, over the bytes of the largest tensor in our precision
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

BLOCK = 1 << 24


def write(folder: pathlib.Path, preset: str, dtype: str) -> None:
    """Write a checkpoint of a preset, filled with a repeated block of noise."""
    from lmtasks import presets
    from lmtasks.data import directory
    from lmtasks.hf import names
    from lmtasks.hf import reading
    from lmtasks.hf import writing
    from lmtasks.models import model as models

    family = reading.family_of(preset.split("/")[0])
    model = models.Model(
        family.architecture, presets.preset_of(preset, family.architecture)
    )
    noise = np.random.default_rng(0).standard_normal(1 << 22).astype(np.float32)
    arrays = {
        path: np.resize(noise, p.shape) * np.float32(0.02)
        for path, p in names.parameters_of(model).items()
    }
    kind = next(iter(family.types))
    export = writing.Export(family, kind, model, dtype=dtype, shard=2 * 10**9)
    with directory.new_directory(folder) as partial:
        writing.write_weights(partial, export, arrays)


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the weight files."""
    return sorted(folder.glob("*.safetensors"))


def forget(folder: pathlib.Path) -> None:
    """Drop the files from the page cache."""
    for path in files_of(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sequential(folder: pathlib.Path) -> float:
    """Return the seconds of reading all files from the first to the last byte."""
    buffer = bytearray(BLOCK)
    start = time.perf_counter()
    for path in files_of(folder):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def status(key: str) -> int:
    """Return a size of this process in bytes: VmRSS, VmHWM."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def read(folder: pathlib.Path) -> dict:
    """Read the checkpoint in this process; return seconds and sizes."""
    import jax

    from lmtasks.hf import reading
    from lmtasks.training import parallel
    from lmtasks.training import runtime
    from lmtasks.training import workdir

    runtime.keep_memory()
    jax.block_until_ready(jax.numpy.zeros(8))
    mesh = parallel.make_mesh(parallel.Parallel())
    found = reading.open_checkpoint(folder)
    model = found.model()
    like = workdir.like_params(model, mesh)
    before = status("VmRSS")
    start = time.perf_counter()
    arrays, _ = reading.read_params(found, model, like)
    jax.block_until_ready(arrays)
    seconds = time.perf_counter() - start
    sizes = [x.nbytes for x in arrays.values()]
    return {
        "seconds": seconds,
        "extra": status("VmHWM") - before - sum(sizes),
        "largest": max(sizes),
        "parameters": sum(x.size for x in arrays.values()),
    }


def child(folder: pathlib.Path) -> dict:
    """Return what `read` measures in a new process."""
    command = [sys.executable, "-m", "experiments.benchmarks.imports", "--read"]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [*command, f"--folder={folder}"], check=True, capture_output=True, env=env
    )
    return json.loads(found.stdout.splitlines()[-1])


def provide(size: int) -> None:
    """Touch memory in a process that ends.

    A virtual machine fetches memory from its host when it is first touched, on ours at
    .36 GB/s: without this the host would be measured, and by the side that runs first.
    """
    code = f"import numpy; numpy.empty({size}, numpy.uint8).fill(1)"
    subprocess.run([sys.executable, "-c", code], check=True)


def block(folder: pathlib.Path, cold: bool, size: int) -> dict:
    """Return one turn of both: seconds of the disk and of the import, and sizes."""

    def prepare():
        if cold:
            forget(folder)
        provide(2 * size + size // 4)  # the files in the page cache, and the arrays

    prepare()
    disk = sequential(folder)
    prepare()
    return {"disk": disk} | child(folder)


def main() -> None:
    """Measure, print a table and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--preset", default="llama/tinyllama-1.1b")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        print(json.dumps(read(given.folder)))
        return
    if not given.folder.exists():
        write(given.folder, given.preset, given.dtype)
    size = sum(path.stat().st_size for path in files_of(given.folder))
    for cold in (True, False):
        rows = [block(given.folder, cold, size) for _ in range(given.blocks)]
        share = [row["disk"] / row["seconds"] for row in rows]
        row = {
            "case": f"import/{given.preset}/{given.dtype}",
            "cache": "cold" if cold else "warm",
            "bytes": size,
            "parameters": rows[0]["parameters"],
            "GB/s": size / statistics.median(r["seconds"] for r in rows) / 1e9,
            "disk GB/s": size / statistics.median(r["disk"] for r in rows) / 1e9,
            "share": statistics.median(share),
            "shares": [round(x, 3) for x in share],
            "memory": max(r["extra"] for r in rows) / rows[0]["largest"],
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
        print(json.dumps(row), flush=True)
        if given.json:
            with open(given.json, "a") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
