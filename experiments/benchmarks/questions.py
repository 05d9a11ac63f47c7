"""Speed of answering questions about texts, beside transformers if asked.

    python -m experiments.benchmarks.questions --peer=torch --json=questions.jsonl \\
        --data=DIR_OF_SQUAD_FILES --vocab=bert-base-uncased/vocab.txt

From the repository, with nothing else running.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import statistics
import sys
import tempfile

from experiments.benchmarks import cases
from experiments.benchmarks import measure
from experiments.benchmarks import questions_cases
from experiments.benchmarks import report
from experiments.benchmarks import sides

CONVENTIONS = """\
windows/s  windows over the seconds from texts to answers: cutting, windows, the model,
           the search for the best span, the text of it; medians over blocks that take
           turns
model      windows over the seconds of the model alone, batches being ready
pad        slots of all batches over tokens
first s    the first call: ours with all its programs compiled, without any cache
same       answers that are the peer's, with the same characters; ties apart
a side     one process each, asleep on its pipe while the other runs; all cores; float32;
           random weights; the model is loaded before the clock. Ours: a work directory
           as api.load reads it, api.predict's own parts. The peer: the same model by
           AutoModelForQuestionAnswering and its fast tokenizer, windows sorted by
           length, padded to the longest of a batch, sdpa, inference mode, the same
           rules for spans in numpy. On a GPU float32 products are not in tf32
"""
# What ours is compiled for is told by the first call.
COLD = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
PARTS = ("all", "model")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = measure.parser_of("questions", __doc__)
    add = parser.add_argument
    add("--data", required=True, help="folder; all SQuAD files (*.json) below it")
    add("--vocab", required=True, help="BERT's vocab.txt")
    add("--cases", default="", help="names, comma-separated; default: the table")
    add("--seconds", type=float, default=1, help="least seconds a turn (default 1)")
    add(
        "--bucket",
        type=int,
        default=16,
        help="ours pads batches to multiples of it, by config.data.buckets; 0 = to the "
        "product's own lengths (default 16)",
    )
    add("--attention", default="sdpa", help="the peer's: sdpa (default) or eager")
    flags = parser.parse_args(argv)
    if flags.blocks < 1 or flags.bucket < 0:
        raise ValueError("--blocks is at least 1 and --bucket at least 0")
    return flags


def check(ours: list[dict], peer: list[dict]) -> list[str]:
    """Return a sentence a tie: another answer, which our own scores say is as good.

    Raises:
        ValueError: an answer differs that is none.
    """
    ties = []
    for i, (mine, theirs) in enumerate(zip(ours, peer, strict=True)):
        if all(mine[key] == theirs[key] for key in ("text", "start", "end")):
            continue
        shares = {(start, end): share for start, end, share in mine["n_best"]}
        one = shares[mine["start"], mine["end"]]
        other = shares.get((theirs["start"], theirs["end"]), 0.0)
        gap = abs(math.log(one / other)) if other else math.inf
        said = f"question {i}: {mine['text']!r} and the peer's {theirs['text']!r}"
        if not gap <= questions_cases.TIE:
            raise ValueError(
                f"{said} differ by {gap:.1e} in their scores, more than "
                f"{questions_cases.TIE}: the sides do not do the same"
            )
        ties.append(f"{said} have scores {gap:.1e} apart")
    return ties


def measure_case(case: questions_cases.Case, flags: argparse.Namespace) -> dict:
    """Return the row of a case; prints what it is made of."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plan = questions_cases.Plan(
            case=case.name,
            data=flags.data,
            vocab=flags.vocab,
            work=f"{folder}/work",
            checkpoint=f"{folder}/checkpoint",
            bucket=flags.bucket,
            attention=flags.attention,
        )
        running, facts = {}, {}
        running["ours"] = stack.enter_context(sides.Side("questions_ours", COLD))
        facts["ours"] = running["ours"].ask("setup", plan=dataclasses.asdict(plan))
        if flags.peer:
            running["ours"].ask("export")
            plan = dataclasses.replace(
                plan,
                questions=facts["ours"]["questions"],
                device="cuda" if facts["ours"]["platform"] == "gpu" else "cpu",
            )
            running["peer"] = stack.enter_context(sides.Side("questions_peer"))
            facts["peer"] = running["peer"].ask("setup", plan=dataclasses.asdict(plan))
        about(case, facts)
        first = {name: side.ask("answers") for name, side in running.items()}
        compared = compare(first)
        found = turns(flags, running)
    return {
        **row(case, facts, found),
        **compared,
        "first_s": first["ours"]["seconds"],
        "peer_first_s": first["peer"]["seconds"] if flags.peer else None,
        "bucket": flags.bucket,
        **{key: facts["ours"][key] for key in ("device", "cores", "jax")},
        **{
            name: facts["peer"][name] if flags.peer else None
            for name in ("torch", "transformers")
        },
    }


def about(case: questions_cases.Case, facts: dict[str, dict]) -> None:
    """Print what runs, where, with which libraries; both sides must read the same."""
    ours = facts["ours"]
    print(f"\n{case.name}: {ours['parameters']} parameters")
    print(f"  ours: jax {ours['jax']} on {ours['device']}, {ours['cores']} cores")
    print(
        f"  {ours['questions']} questions ({ours['of']} in the files) in "
        f"{ours['windows']} windows of at most {case.length} tokens, {ours['tokens']} "
        f"tokens, {ours['shapes']} shapes"
    )
    if "peer" not in facts:
        return
    peer = facts["peer"]
    print(
        f"  peer: torch {peer['torch']}, transformers {peer['transformers']}, "
        f"{peer['threads']} threads, {peer['attention']} attention",
        flush=True,
    )
    assert peer["parameters"] == ours["parameters"], "the models differ in size"
    if peer["digest"] != ours["digest"]:
        raise ValueError(
            f"{ours['windows']} windows of ours and {peer['windows']} of the peer's "
            "hold other ids: the sides do not do the same"
        )


def compare(first: dict[str, dict]) -> dict:
    """Return how many answers are the same, empty and ties; print the ties."""
    ours = first["ours"]["answers"]
    found = {"none": sum(not one["text"] for one in ours), "same": None, "ties": None}
    distinct = len({one["text"] for one in ours})
    print(f"  answers: {len(ours)}, {distinct} different, {found['none']} empty")
    if "peer" in first:
        ties = check(ours, first["peer"]["answers"])
        found |= {"same": len(ours) - len(ties), "ties": len(ties)}
        for said in ties:
            print(f"  tie: {said}")
    return found


def turns(flags: argparse.Namespace, running: dict) -> dict[tuple, list[float]]:
    """Return the seconds of a call of each (side, part), block after block, in turn."""
    found = {(name, part): [] for part in PARTS for name in running}
    for side in running.values():
        side.ask("run", part="model", seconds=0)
    for _ in range(flags.blocks):
        for (name, part), seconds in found.items():
            took = running[name].ask("run", part=part, seconds=flags.seconds)
            seconds.append(took["seconds"])
    return found


def row(case, facts: dict[str, dict], found: dict[tuple, list[float]]) -> dict:
    """Return the row's speeds; prints the blocks' range of each side and part."""
    windows = facts["ours"]["windows"]
    rates = {key: [windows / x for x in seconds] for key, seconds in found.items()}
    for (name, part), values in rates.items():
        low, high, mid = min(values), max(values), statistics.median(values)
        print(
            f"  {name}, {part}: {mid:.1f} windows/s ({low:.1f} to {high:.1f} in "
            f"{len(values)} blocks)",
            flush=True,
        )
    out = {"case": case.name, "questions": facts["ours"]["questions"]}
    out |= {"windows": windows, "tokens": facts["ours"]["tokens"]}
    for part, prefix in zip(PARTS, ("", "model_"), strict=True):
        speeds = {k: statistics.median(v) for (k, p), v in rates.items() if p == part}
        ours, peer = speeds["ours"], speeds.get("peer")
        out |= {
            f"{prefix}windows_per_s": ours,
            f"peer_{prefix}windows_per_s": peer,
            f"{prefix}ratio": ours / peer if peer else None,
        }
    for name, prefix in (("ours", ""), ("peer", "peer_")):
        slots = facts[name]["slots"] if name in facts else None
        out[f"{prefix}pad"] = slots / facts["ours"]["tokens"] if slots else None
    out["blocks"] = {f"{name} {part}": rates[name, part] for name, part in rates}
    return out


def table(rows: list[dict]) -> str:
    """Return the rows as text."""
    shown = report.shown
    columns = {
        "case": lambda r: r["case"],
        "windows": lambda r: str(r["windows"]),
        "windows/s": lambda r: f"{r['windows_per_s']:.1f}",
        "peer": lambda r: shown(r["peer_windows_per_s"], ".1f"),
        "ratio": lambda r: shown(r["ratio"], ".2f"),
        "model": lambda r: f"{r['model_windows_per_s']:.1f}",
        "peer model": lambda r: shown(r["peer_model_windows_per_s"], ".1f"),
        "model ratio": lambda r: shown(r["model_ratio"], ".2f"),
        "pad": lambda r: f"{r['pad']:.2f}",
        "peer pad": lambda r: shown(r["peer_pad"], ".2f"),
        "first s": lambda r: f"{r['first_s']:.1f}",
        "peer first s": lambda r: shown(r["peer_first_s"], ".1f"),
        "same": lambda r: f"{shown(r['same'], 'd')} of {r['questions']}",
        "ties": lambda r: shown(r["ties"], "d"),
    }
    return "\n" + "\n".join(report.grid(columns, rows))


def main(argv: list[str]) -> int:
    """Run the cases and print the table; return the exit code."""
    todo = lambda flags: cases.choose(flags.cases, questions_cases.CASES)
    said = CONVENTIONS, table
    return measure.run(lambda: parse(argv), todo, measure_case, said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
