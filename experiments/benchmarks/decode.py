"""Speed of decoding GPT-2 and T5 in two tables, beside transformers if asked.

    python -m experiments.benchmarks.decode --peer=torch --json=decode.jsonl

From the repository, with nothing else running. The first table has a peer; the second
has bfloat16 and int8 weights beside our own float32, prompts of several lengths, and
several samples a prompt.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile

from experiments.benchmarks import cases
from experiments.benchmarks import decode_cases
from experiments.benchmarks import measure
from experiments.benchmarks import report
from experiments.benchmarks import sides

CONVENTIONS = """\
tokens/s   tokens of all texts handed out (beams: the best alone) over the seconds of
           the whole call, prompt included; medians over blocks that take turns
bound      tokens/s over what reading a step's bytes at this machine's bandwidth would
           give: the decoder's weights once, without tables of which only rows are
           taken, and the filled cache, mean over the steps
of steps   the same of the steps alone, without the call's reading of the prompt
bandwidth  fastest reading of a float32 matrix of 1 GiB in our process, looked for
           between the blocks
same       share of our tokens that are the peer's, both in float32 (second table:
           that are our own float32's); the first 8 of each row must be the peer's
compile    tracing, lowering and XLA of the whole text, without any cache
temp       temporaries of the program by XLA's own account, the cache among them
a side     one process each, asleep on its pipe while the others run; all cores; random
           weights, no stop id, no padding; the peer: generate, sdpa, its dynamic cache,
           inference mode. On a GPU float32 products are not in tf32
"""
# Bytes that the bandwidth is measured with, and seconds of a look and of a prompt.
MATRIX, SMALL_MATRIX = 2**30, 2**24
LOOK = 0.5
# The compile time is of a cold cache.
COLD = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = measure.parser_of("decode", __doc__)
    add = parser.add_argument
    add("--cases", default="", help="names, comma-separated; default: both tables")
    add("--seconds", type=float, default=1, help="least seconds a turn (default 1)")
    add(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16"),
        help="weights, products and cache of both sides; rows with weights of their "
        "own do not follow it",
    )
    flags = parser.parse_args(argv)
    if flags.blocks < 1:
        raise ValueError(f"--blocks={flags.blocks} must be at least 1")
    return flags


def same_tokens(ours: list[list[int]], other: list[list[int]]) -> float:
    """Return the share of tokens that are equal, place by place."""
    pairs = [
        pair
        for rows in zip(ours, other, strict=True)
        for pair in zip(*rows, strict=True)
    ]
    return sum(a == b for a, b in pairs) / len(pairs)


def check(ours: list[list[int]], peer: list[list[int]]) -> float:
    """Return the share of equal tokens.

    Raises:
        ValueError: the first tokens differ, so that the sides do not do the same.
    """
    for i, (mine, theirs) in enumerate(zip(ours, peer, strict=True)):
        first = mine[: decode_cases.CHECKED], theirs[: decode_cases.CHECKED]
        if first[0] != first[1]:
            raise ValueError(
                f"the first tokens of row {i} differ, ours {first[0]} and the peer's "
                f"{first[1]}: the sides do not do the same"
            )
    return same_tokens(ours, peer)


def measure_case(case: decode_cases.Case, flags: argparse.Namespace) -> dict:
    """Return the row of a case; prints what it is made of."""
    kind = case.weights or flags.dtype
    # A row of other weights stands beside our float32; the peer is checked in it.
    peered = bool(flags.peer) and case.peer
    checked = peered and case.certain
    kinds = {kind} | ({"float32"} if case.weights or checked else set())
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plan = cases.Plan(case=case.name, weights=f"{folder}/weights.safetensors")
        ours = stack.enter_context(sides.Side("decode_ours", COLD))
        facts = ours.ask("setup", plan=dataclasses.asdict(plan))
        programs = {one: ours.ask("compile", kind=one) for one in sorted(kinds)}
        running = {"ours": (ours, {"kind": kind})}
        if case.weights:
            running["float32"] = (ours, {"kind": "float32"})
        said, same = None, None
        if peered:
            ours.ask("export")
            device = "cuda" if facts["platform"] == "gpu" else "cpu"
            plan = dataclasses.replace(plan, device=device)
            peer = stack.enter_context(sides.Side("decode_peer"))
            said = peer.ask("setup", plan=dataclasses.asdict(plan))
            running["peer"] = (peer, {})
        about(case, kind, facts, said)
        if checked:
            mine = ours.ask("tokens", kind="float32")["tokens"]
            same = check(mine, peer.ask("tokens")["tokens"])
        elif case.weights and case.certain:
            texts = [ours.ask("tokens", kind=one)["tokens"] for one in sorted(kinds)]
            same = same_tokens(*texts)
        if peered and flags.dtype != "float32":
            peer.ask("cast", dtype=flags.dtype)
        found = turns(case, flags, running)
    return {
        **row(case, programs[kind], found),
        "same_tokens": same,
        "dtype": kind,
        "device": facts["device"],
        "cores": facts["cores"],
        "jax": facts["jax"],
        **{name: said[name] if said else None for name in ("torch", "transformers")},
    }


def about(case, kind: str, facts: dict, peer: dict | None) -> None:
    """Print what runs, where, with which libraries."""
    print(f"\n{case.name}: {facts['parameters']} parameters, {kind}")
    print(f"  ours: jax {facts['jax']} on {facts['device']}, {facts['cores']} cores")
    if peer:
        print(
            f"  peer: torch {peer['torch']}, transformers {peer['transformers']}, "
            f"{peer['threads']} threads, {peer['attention']} attention"
        )
        assert peer["parameters"] == facts["parameters"], "the models differ in size"


def turns(case, flags, running) -> dict[str, list[float]]:
    """Return the seconds of a call of each side, block after block, in turn.

    "read" has those of our prompts alone, "bandwidth" bytes a second.
    """
    ours, given = running["ours"]
    size = MATRIX if case.standard else SMALL_MATRIX
    look = min(LOOK, flags.seconds)
    for side, more in running.values():
        side.ask("run", seconds=0, **more)
    ours.ask("run", seconds=0, part="read", **given)
    found = {name: [] for name in (*running, "read", "bandwidth")}
    for _ in range(flags.blocks):
        for name, (side, more) in running.items():
            took = side.ask("run", seconds=flags.seconds, **more)
            found[name].append(took["seconds"])
        took = ours.ask("run", seconds=look, part="read", **given)
        found["read"].append(took["seconds"])
        seen = ours.ask("bandwidth", size=size, seconds=look)
        found["bandwidth"].append(seen["bytes_per_s"])
    return found


def row(case, program: dict, found: dict[str, list[float]]) -> dict:
    """Return the row's speeds; prints the blocks' range of each side."""
    sides_of = [name for name in ("ours", "float32", "peer") if name in found]
    blocks = {name: [case.handed_out / x for x in found[name]] for name in sides_of}
    for name, values in blocks.items():
        low, high, mid = min(values), max(values), statistics.median(values)
        print(
            f"  {name}: {mid:.1f} tokens/s ({low:.1f} to {high:.1f} in {len(values)} "
            "blocks)",
            flush=True,
        )
    rates = {name: statistics.median(values) for name, values in blocks.items()}
    bandwidth = max(found["bandwidth"])
    size = program["weight_bytes"] + program["cache_bytes"]
    read = statistics.median(found["read"])
    step = (statistics.median(found["ours"]) - read) / (case.new - 1)
    most = case.batch * case.decode.texts / (size / bandwidth)
    return {
        "case": case.name,
        "tokens_per_s": rates["ours"],
        "peer_tokens_per_s": rates.get("peer"),
        "ratio": _over(rates, "peer"),
        "bound_share": rates["ours"] / most,
        "float32_tokens_per_s": rates.get("float32"),
        "float32_ratio": _over(rates, "float32"),
        "step_bound_share": size / bandwidth / step,
        "step_s": step,
        "prompt_s": read,
        "bandwidth": bandwidth,
        "bytes_per_step": size,
        "blocks": blocks,
        **program,
    }


def _over(rates, name):
    return rates["ours"] / rates[name] if name in rates else None


def tables(rows: list[dict]) -> str:
    """Return the rows as text: those that may have a peer, then our own."""
    shown = report.shown
    own = [case.name for case in decode_cases.CASES if not case.peer]
    ends = {
        "bound": lambda r: f"{100 * r['bound_share']:.0f}%",
        "of steps": lambda r: f"{100 * r['step_bound_share']:.0f}%",
        "ms/step": lambda r: f"{1e3 * r['step_s']:.2f}",
        "prompt ms": lambda r: f"{1e3 * r['prompt_s']:.1f}",
        "MB/step": lambda r: f"{r['bytes_per_step'] / 1e6:.1f}",
        "GB/s": lambda r: f"{r['bandwidth'] / 1e9:.1f}",
        "same": lambda r: shown(r["same_tokens"], ".0%"),
        "compile s": lambda r: f"{r['compile_s']:.1f}",
        "temp MiB": lambda r: f"{r['temp_bytes'] / 2**20:.0f}",
    }
    text = []
    for mine, name, before in ((False, "peer", ""), (True, "float32", "float32_")):
        ratio = "float32_ratio" if mine else "ratio"
        other = "float32_tokens_per_s" if mine else "peer_tokens_per_s"
        columns = {
            "case": lambda r: r["case"],
            "tokens/s": lambda r: f"{r['tokens_per_s']:.1f}",
            name: lambda r, key=other: shown(r[key], ".1f"),
            "ratio": lambda r, key=ratio: shown(r[key], ".2f"),
        }
        part = [r for r in rows if (r["case"] in own) == mine]
        text += ["", *report.grid(columns | ends, part)] if part else []
    return "\n".join(text)


def main(argv: list[str]) -> int:
    """Run the cases and print the tables; return the exit code."""
    todo = lambda flags: cases.choose(flags.cases, decode_cases.CASES)
    said = CONVENTIONS, tables
    return measure.run(lambda: parse(argv), todo, measure_case, said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
