"""Tests run on the CPU with 8 fake devices, and warnings are errors (.pytest.ini)."""

import gc
import os
import pathlib
import tempfile

# Before the first device is touched.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

DEVICES = 8
# Memory maps of a process that are not many yet.
MAPS = 10_000


def pytest_configure(config):
    """Set jax up; compiled programs are kept between runs and shared by workers."""
    jax.config.update("jax_num_cpu_devices", DEVICES)
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if folder is None:
        cache = getattr(config, "cache", None)
        kept = pathlib.Path(tempfile.gettempdir(), "lmtasks-tests")
        folder = str(cache.mkdir("jax") if cache else kept)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drop compiled programs behind a file where they are many.

    Each keeps pages of its own, of which Linux gives a process 65,530: behind that
    many the compiler crashes.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()
        gc.collect()
