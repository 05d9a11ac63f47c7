"""Runs the cases, side by side in turn, and makes a row of each."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable

from experiments.benchmarks import cases
from experiments.benchmarks import report
from experiments.benchmarks import sides

# Steps before a block's clock starts, and seconds of one look at the matmul peak.
WARM = 1
LOOK = 0.5


def parse(argv: list[str], about: str) -> argparse.Namespace:
    """Return the flags; `about` is said by --help."""
    parser = argparse.ArgumentParser(
        prog="python experiments/benchmarks/train.py",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cases", default="", help="names, comma-separated; default: the table")
    add("--peer", default="", choices=("", "torch"), help="what to compare with")
    add("--json", default="", help="file for one json object a row")
    add("--blocks", type=int, default=5, help="turns of each side (default 5)")
    add("--steps", type=int, default=3, help="timed steps a turn (default 3)")
    add("--real_steps", type=int, default=8, help="the same on real text (default 8)")
    add("--seconds", type=float, default=120, help="longest turn (default 120)")
    add("--dtype", default="float32", choices=("float32", "bfloat16"))
    add("--data", default="", help="SST-2's folder: train.tsv with sentence TAB label")
    add(
        "--ner_data", default="", help="WNUT-17's folder: train.conll with word TAB tag"
    )
    add("--chat_data", default="", help="Alpaca's folder: train.json")
    add("--vocab", default="", help="BERT's vocab.txt")
    add("--bpe", default="", help="folder of GPT-2's tokenizer")
    add("--attention", default="sdpa", help="the peer's: sdpa (default) or eager")
    add("--compile", action="store_true", help="the peer's model by torch.compile")
    flags = parser.parse_args(argv)
    if min(flags.blocks, flags.steps, flags.real_steps) < 1:
        raise ValueError("--blocks, --steps and --real_steps are at least 1")
    return flags


def check_peer(name: str) -> None:
    """Raise ValueError unless the peer, if any, can be imported."""
    needed = (name, "transformers") if name else ()
    missing = [package for package in needed if not importlib.util.find_spec(package)]
    if missing:
        raise ValueError(
            f"--peer={name} needs {' and '.join(missing)}: pip install -e '.[bench]'"
        )


def chosen(flags: argparse.Namespace) -> list[cases.Case]:
    """Return the cases to run; real text needs its files."""
    chosen = []
    for case in cases.choose(flags.cases):
        (key, folder), (names, vocab) = _data(case, flags), _vocab(case, flags)
        if case.kind != "real" or (folder and vocab):
            chosen.append(case)
            continue
        lacks = f"needs --{key}=FOLDER and --{names}=TOKENIZER"
        if flags.cases:
            raise ValueError(f"{case.name} {lacks}")
        print(f"{case.name} is left out: it {lacks}")
    return chosen


def _data(case: cases.Case, flags: argparse.Namespace) -> tuple[str, str]:
    """Return the flag of a case's real text, and the folder it names."""
    key = {"tag": "ner_data", "lm": "chat_data"}.get(case.head, "data")
    return key, vars(flags)[key]


def _vocab(case: cases.Case, flags: argparse.Namespace) -> tuple[str, str]:
    """Return the flag of a case's tokenizer, and what it names."""
    key = "bpe" if case.family == "gpt2" else "vocab"
    return key, vars(flags)[key]


def measure(case: cases.Case, flags: argparse.Namespace) -> dict:
    """Return the row of a case; prints what it is made of."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plan = _plan(case, flags, folder)
        cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        with sides.Side("ours", cache) as first:
            cold = first.ask("setup", plan=dataclasses.asdict(plan))
            first.ask("export")
        gpu = cold["platform"] == "gpu"
        plan = dataclasses.replace(plan, device="cuda" if gpu else "cpu")
        running, facts = {}, {}
        for name, module, order in _sides(case, flags):
            running[name] = stack.enter_context(sides.Side(module, cache))
            told = dataclasses.asdict(dataclasses.replace(plan, side=order))
            facts[name] = running[name].ask("setup", plan=told)
        warm = facts["ours"]
        report.about(case, cold, facts)
        losses = _losses(case, running)
        # A GPU multiplies float32 in tf32.
        report.losses(losses, exact=plan.dtype == "float32" and not gpu)
        blocks, peak, known = _blocks(case, flags, running)
        memory = {name: side.ask("memory")["peak_mb"] for name, side in running.items()}
    return {
        **report.row(case, blocks, peak),
        "compile_s": cold["compile_s"],
        "peak_mb": memory["ours"],
        "compile_cached_s": warm["compile_s"],
        "peer_peak_mb": memory.get("peer"),
        "peak_is_published": known,
        "dtype": flags.dtype,
        "device": warm["device"],
        "cores": warm["cores"],
        "losses": losses,
    }


def _sides(case, flags) -> list[tuple[str, str, str]]:
    """Return (name, module, Plan.side) of those that take turns."""
    found = [("ours", "ours", "packed")]
    if flags.peer:
        found.append(("peer", "peer", "random"))
    if cases.is_masked(case):
        found.append(("ungathered", "ours", "ungathered"))
    if case.kind == "real":
        found.append(("padded", "ours", "padded"))
        if flags.peer:
            found.append(("grouped", "peer", "grouped"))
    return found


def _plan(case, flags, folder) -> cases.Plan:
    a_turn = WARM + (flags.real_steps if case.kind == "real" else flags.steps)
    return cases.Plan(
        case=case.name,
        dtype=flags.dtype,
        steps=flags.blocks * a_turn,
        data=_data(case, flags)[1],
        vocab=_vocab(case, flags)[1],
        weights=f"{folder}/weights.safetensors",
        ids=f"{folder}/ids.npz",
        attention=flags.attention,
        compiled=flags.compile,
    )


def _losses(case, running) -> dict[str, list[float]]:
    """Return each side's losses: of steps 0 and 1, or of the first real examples."""
    names = [name for name in ("ours", "peer", "ungathered") if name in running]
    if case.kind == "real":
        return {name: running[name].ask("check")["losses"] for name in names}
    first = {"warm": 0, "steps": 2, "seconds": 1e9}
    return {name: running[name].ask("run", **first)["losses"] for name in names}


def _blocks(case, flags, running):
    """Return (blocks of each side, FLOP/s at best, whether published), in turn."""
    steps = flags.real_steps if case.kind == "real" else flags.steps
    blocks = {name: [] for name in running}
    peaks, known = [], False
    for _ in range(flags.blocks):
        for name, side in running.items():
            took = side.ask("run", warm=WARM, steps=steps, seconds=flags.seconds)
            blocks[name].append(took)
        looked = running["ours"].ask("peak", seconds=LOOK)
        peaks.append(looked["peak"])
        known = looked["known"]
    return blocks, max(peaks), known


def rows_of(one: Callable, todo: list, flags: argparse.Namespace) -> list[dict]:
    """Return one(case, flags) of all cases, each written to --json when it is there."""
    rows = []
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(flags.json, "w")) if flags.json else None
        for case in todo:
            rows.append(one(case, flags))
            if out:
                print(json.dumps(rows[-1]), file=out, flush=True)
    return rows


def parser_of(module: str, about: str) -> argparse.ArgumentParser:
    """Return a parser with the flags that every table with a peer has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.benchmarks.{module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--peer", default="", choices=("", "torch"), help="what to compare with")
    add("--json", default="", help="file for one json object a row")
    add("--blocks", type=int, default=5, help="turns of each side (default 5)")
    return parser


def run(flags_of: Callable, todo_of: Callable, one: Callable, said: tuple) -> int:
    """Run cases and print their table; return the exit code.

    Args:
        flags_of: () -> flags. todo_of: flags -> cases. one: (case, flags) -> row.
        said: (what is printed before, rows -> table).
    """
    conventions, table = said
    try:
        flags = flags_of()
        check_peer(flags.peer)
        todo = todo_of(flags)
        print(conventions, flush=True)
        print(table(rows_of(one, todo, flags)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def main(argv: list[str], about: str = "") -> int:
    """Run the cases and print the table; return the exit code."""
    said = report.CONVENTIONS, report.table
    return run(lambda: parse(argv, about), chosen, measure, said)
