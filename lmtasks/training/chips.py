"""Speeds and memory of chips, and the peak of this machine's processor, for the MFU."""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp

# Part of jax's `device_kind`, in lower case -> dense TFLOP/s (16-bit, float32) as the
# makers publish them, without sparsity. float32 is what jax runs by default: one
# bfloat16 pass on TPU, tf32 from Ampere on, and plain float32 on older GPUs. The
# first match counts, so longer names stand before their parts.
PEAKS = (
    ("tpu v2", (45, 45)),
    ("tpu v3", (123, 123)),
    ("tpu v4 lite", (138, 138)),
    ("tpu v4", (275, 275)),
    ("tpu v5 lite", (197, 197)),
    ("tpu v5e", (197, 197)),
    ("tpu v5", (459, 459)),
    ("tpu v6", (918, 918)),
    ("b200", (2250, 1100)),
    ("gh200", (989, 494)),
    ("h200", (989, 494)),
    ("h100 pcie", (756, 378)),
    ("h100 nvl", (835, 417)),
    ("h100", (989, 494)),
    ("a100", (312, 156)),
    ("l40s", (362, 183)),
    ("l4", (121, 60)),
    ("a10g", (70, 35)),
    ("a10", (125, 62)),
    ("v100", (125, 15.7)),
    ("t4", (65, 8.1)),
)

# The same for products of 8-bit integers, of chips that a rehearsal knows; they are no
# faster than those of 16 bits where none stands here (v4 has one peak for both).
INTEGERS = (
    ("tpu v5 lite", 394),
    ("tpu v5e", 394),
    ("tpu v5", 918),
    ("tpu v6", 1836),
)


@dataclasses.dataclass(frozen=True)
class Links:
    """What bounds a chip besides its products, as the maker publishes it.

    Attributes:
        memory: bytes of its HBM that XLA gives to a program.
        bandwidth: bytes/s between HBM and chip.
        out: bytes/s it sends over all its links to other chips of a slice together.
        between: bytes/s it sends to other slices: its share of the network of the data
            center; 0 = not known.
    """

    memory: float
    bandwidth: float
    out: float
    between: float = 0.0


# Name in a topology -> of a chip. `out` is half of the published bidirectional
# bandwidth: that of one direction.
LINKS = {
    "v4": Links(30.75 * 2**30, 1228e9, 300e9),
    "v5e": Links(15.75 * 2**30, 819e9, 200e9, 3.125e9),
    "v5p": Links(95.74 * 2**30, 2765e9, 600e9, 6.25e9),
    "v6e": Links(31.25 * 2**30, 1640e9, 400e9, 12.5e9),
}


def peak_flops(device: jax.Device, dtype) -> float | None:
    """Return the FLOP/s a chip reaches at best in products of a type.

    The convention of the MFU: a product of [m, k] by [k, n] counts 2 m k n, and the
    peak is the published dense one of the type the model computes in. A "TPU v2" or
    "TPU v3" device of jax is one core, half a chip; both peaks are of a core there.

    Args:
        device: one of `jax.devices()`.
        dtype: what the model computes in: bfloat16, float16 or float32; int8 of the
            products that model.matmul=int8 makes.

    Returns:
        None for an unknown chip and for a processor: see `measured_matmul_peak`.
    """
    kind = device.device_kind.lower()
    wide = jnp.dtype(dtype).itemsize > 2
    if jnp.dtype(dtype) == jnp.int8:
        found = next((tera for name, tera in INTEGERS if name in kind), None)
        return found * 1e12 if found else peak_flops(device, jnp.bfloat16)
    for name, peaks in PEAKS:
        if name in kind:
            tera = peaks[1] if wide else peaks[0]
            return (tera / 2 if name in ("tpu v2", "tpu v3") else tera) * 1e12
    return None


def peak_of_all(dtype) -> float:
    """Return FLOP/s of all devices: by table, or measured on a CPU; 0 = unknown."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        # The "devices" of one CPU share its cores.
        return measured_matmul_peak(0.2)
    return (peak_flops(device, dtype) or 0.0) * jax.device_count()


def convention(peak: float, dtype) -> str:
    """Return a line about what the MFU of a run is relative to; "" without a peak."""
    if not peak:
        return ""
    device = jax.devices()[0]
    of = f"the published peak of {jax.device_count()} {device.device_kind} in {dtype}"
    if device.platform == "cpu":
        of = "the fastest float32 product found on this machine"
    return (
        f"mfu: FLOPs of the products, 2 a multiply-add, attention in full, nothing "
        f"counted twice, over {peak / 1e12:.3g} TFLOP/s, {of}"
    )


def measured_matmul_peak(seconds: float = 1.0, sizes: tuple[int, ...] = (1024, 2048)):
    """Return FLOP/s of the fastest float32 product of square matrices here.

    Stands in for a published peak where there is none: the MFU is then relative to
    what XLA reaches on this machine, alone and with caches warm.

    Args:
        seconds: how long to look, all sizes together.
        sizes: sides of the matrices.
    """
    best = 0.0
    multiply = jax.jit(jnp.matmul)
    for size in sizes:
        x = jnp.ones((size, size), jnp.float32)
        multiply(x, x).block_until_ready()
        end = time.perf_counter() + seconds / len(sizes)
        while time.perf_counter() < end:
            start = time.perf_counter()
            multiply(x, x).block_until_ready()
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best
