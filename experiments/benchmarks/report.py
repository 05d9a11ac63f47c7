"""What the numbers are called, how they are made of blocks, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from collections.abc import Mapping

from experiments.benchmarks import cases

CONVENTIONS = """\
tokens/s   slots of the batch, padding included (real text: tokens without padding)
FLOPs      lmtasks.models.flops, three forward passes: 2 a multiply-add of every matrix
           product, full attention, nothing for embeddings, norms, softmax, AdamW
MFU        median FLOP/s over the fastest float32 product of square matrices (1024,
           2048) in our own process, looked for between the blocks; on a known GPU or
           TPU over the published peak
compile    tracing, lowering and XLA: with an empty cache, then in a new process with
           what that left on disk
memory     peak resident memory of the side's process: interpreter, libraries, weights,
           optimizer, temporaries; ours with the compile cache warm; a GPU's own
           allocator where there is one
a side     one process each, asleep on its pipe while the others run; all cores; dropout
           0; AdamW with clipping; medians over blocks
"""
# Relative difference of the losses before a step, and after one; float32 on a CPU.
EXACT = (1e-4, 1e-3)
# tf32 and bfloat16 round each product to 3 digits.
ROUGH = (2e-2, 5e-2)


def about(case: cases.Case, cold: dict, facts: dict[str, dict]) -> None:
    """Print what runs, where, with which libraries."""
    ours = facts["ours"]
    print(f"\n{case.name}: {ours['parameters']} parameters")
    print(f"  ours: jax {ours['jax']} on {ours['device']}, {ours['cores']} cores")
    shapes = f"{ours['shapes']} shape{'s' if ours['shapes'] > 1 else ''}"
    cached = ours["compile_s"]
    print(f"  compile: {cold['compile_s']:.1f} s cold, {cached:.1f} s cached, {shapes}")
    if "peer" in facts:
        peer = facts["peer"]
        print(
            f"  peer: torch {peer['torch']}, transformers {peer['transformers']}, "
            f"{peer['threads']} threads, {peer['attention']} attention, "
            f"torch.compile {'on' if peer['compiled'] else 'off'}, fused AdamW"
        )
        assert peer["parameters"] == ours["parameters"], "the models differ in size"
    for name in ("ours", "padded"):
        if facts.get(name, {}).get("data"):
            print(f"  {name}: {facts[name]['data']}, {facts[name]['shapes']} shapes")
    if case.kind == "real":
        print(
            f"  a step: ours {case.batch} packed rows of {case.length}; padded "
            f"{case.examples} examples of like length to a bucket; peer "
            f"{case.examples} examples in random order, padded to the longest; grouped "
            "the same by LengthGroupedSampler",
            flush=True,
        )


def losses(found: dict[str, list[float]], *, exact: bool) -> None:
    """Print all sides' losses.

    Raises:
        ValueError: they differ, so that the sides do not do the same work.
    """
    for name, values in found.items():
        print(f"  loss {name}: {', '.join(f'{x:.7f}' for x in values)}", flush=True)
    limits = EXACT if exact else ROUGH
    for name, values in found.items():
        for ours, other, limit in zip(found["ours"], values, limits, strict=False):
            if not abs(ours - other) <= limit * abs(other):
                raise ValueError(
                    f"the losses differ by {abs(ours - other) / abs(other):.1e} of "
                    f"that of {name} ({ours} and {other}), more than {limit}: the "
                    "sides do not do the same"
                )


def row(case: cases.Case, blocks: dict[str, list[dict]], peak: float) -> dict:
    """Return the row's speeds; prints the blocks' range of each side.

    The ratio is of medians: of slots/s, or of examples/s where the text is real.
    """
    unit = "examples" if case.kind == "real" else "slots"
    rates = {name: _rates(one, unit) for name, one in blocks.items()}
    for name, values in rates.items():
        low, high, mid = min(values), max(values), statistics.median(values)
        steps = sum(len(b["losses"]) for b in blocks[name])
        size = sum(b[unit] for b in blocks[name]) / steps
        print(
            f"  {name}: {mid:.1f} {unit}/s ({low:.1f} to {high:.1f} in {len(values)} "
            f"blocks, {steps} steps of {size:.1f} {unit})"
        )
    tokens = "tokens" if case.kind == "real" else "slots"
    found = {
        "case": case.name,
        "kind": case.kind,
        "tokens_per_s": _median(blocks, "ours", tokens),
        "peer_tokens_per_s": _median(blocks, "peer", tokens),
        "ratio": _ratio(rates, "peer"),
        "mfu": _median(blocks, "ours", "flops") / peak,
        "peak_gflops": peak / 1e9,
        "blocks": {name: values for name, values in rates.items()},
        "unit": f"{unit}/s",
    }
    if case.kind == "real":
        for name in ("ours", "peer", "padded", "grouped"):
            prefix = "" if name == "ours" else f"{name}_"
            found[f"{prefix}examples_per_s"] = _median(blocks, name, "examples")
        found["padded_ratio"] = _ratio(rates, "padded")
        found["grouped_ratio"] = _ratio(rates, "grouped")
    if cases.is_masked(case):
        found["ungathered_tokens_per_s"] = _median(blocks, "ungathered", "slots")
        found["ungathered_ratio"] = _ratio(rates, "ungathered")
    return found


def _rates(blocks: list[dict], unit: str) -> list[float]:
    return [b[unit] / b["seconds"] for b in blocks]


def _median(blocks, name, unit) -> float | None:
    if name not in blocks:
        return None
    return statistics.median(_rates(blocks[name], unit))


def _ratio(rates, name) -> float | None:
    if name not in rates:
        return None
    return statistics.median(rates["ours"]) / statistics.median(rates[name])


def table(rows: list[dict]) -> str:
    """Return the rows as text."""
    columns = {
        "case": lambda r: r["case"],
        "tokens/s": lambda r: f"{r['tokens_per_s']:.0f}",
        "peer": lambda r: shown(r["peer_tokens_per_s"], ".0f"),
        "ratio": lambda r: shown(r["ratio"], ".2f"),
        "MFU": lambda r: f"{100 * r['mfu']:.0f}%",
        "peak GFLOP/s": lambda r: f"{r['peak_gflops']:.0f}",
        "compile s": lambda r: f"{r['compile_s']:.1f}",
        "cached s": lambda r: f"{r['compile_cached_s']:.1f}",
        "MiB": lambda r: f"{r['peak_mb']:.0f}",
        "peer MiB": lambda r: shown(r["peer_peak_mb"], ".0f"),
    }
    text = grid(columns, rows)
    for r in rows:
        if "ungathered_ratio" in r:
            text.append(
                f"{r['case']}: {r['ungathered_ratio']:.2f}x ungathered "
                f"({r['ungathered_tokens_per_s']:.0f})"
            )
        if r["kind"] != "real":
            continue
        text.append(f"{r['case']}: {r['examples_per_s']:.1f} examples/s")
        for name in ("peer", "grouped", "padded"):
            rate = r[f"{name}_examples_per_s"]
            if rate:
                ratio = r["ratio" if name == "peer" else f"{name}_ratio"]
                text[-1] += f", {ratio:.2f}x {name} ({rate:.1f})"
    return "\n" + "\n".join(text)


def grid(columns: Mapping[str, Callable[[dict], str]], rows: list[dict]) -> list[str]:
    """Return lines of text: the names of the columns, then what they show of rows."""
    lines = [list(columns)] + [[show(r) for show in columns.values()] for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def shown(value: float | None, form: str) -> str:
    """Return a number as text, or "-" for None."""
    return "-" if value is None else format(value, form)
