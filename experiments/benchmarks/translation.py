"""Speed of evaluating a translation run by beam search, beside transformers if asked.

    python -m experiments.benchmarks.translation --workdir=RUN --data=MULTI30K --peer=torch

From the repository, with nothing else running. RUN is a work directory of
`--config=translate`; its best parameters are used.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile

from experiments.benchmarks import measure
from experiments.benchmarks import report
from experiments.benchmarks import sides
from experiments.benchmarks import translation_plan

CONVENTIONS = """\
sentences/s  of the whole test split over the seconds of a call, medians over blocks that
             take turns; rows sorted by length, batches padded to their longest
beams        4, length penalty by the mean, early stopping by the bound, up to 64 tokens
ours         from texts to texts; the peer from ids to ids: its tokenizing is not counted
same         sentences with the very same translation
a side       one process, asleep on its pipe while the other runs; the same weights; the
             peer: generate, sdpa, its dynamic cache, inference mode, float32
"""


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = measure.parser_of("translation", __doc__)
    add = parser.add_argument
    add("--workdir", required=True, help="a trained run of --config=translate")
    add("--data", required=True, help="folder of its parallel text")
    add("--split", default="test", help="what is translated (default: test)")
    add("--limit", type=int, default=0, help="sentences of it; 0 = all")
    add("--batch", type=int, default=32, help="sentences a batch (default 32)")
    flags = parser.parse_args(argv)
    if min(flags.blocks, flags.batch) < 1:
        raise ValueError("--blocks and --batch are at least 1")
    return flags


def measure_case(_: str, flags: argparse.Namespace) -> dict:
    """Return the row; prints what it is made of."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plan = translation_plan.Plan(
            work=flags.workdir,
            data=flags.data,
            split=flags.split,
            limit=flags.limit,
            batch=flags.batch,
            checkpoint=f"{folder}/checkpoint",
            ids=f"{folder}/ids.npz",
        )
        running = {"ours": stack.enter_context(sides.Side("translation_ours"))}
        facts = {"ours": running["ours"].ask("setup", plan=dataclasses.asdict(plan))}
        print(
            f"\n{facts['ours']['sentences']} sentences, jax {facts['ours']['jax']} on "
            f"{facts['ours']['device']}, {facts['ours']['cores']} cores"
        )
        if flags.peer:
            running["ours"].ask("export")
            gpu = facts["ours"]["platform"] == "gpu"
            plan = dataclasses.replace(plan, device="cuda" if gpu else "cpu")
            running["peer"] = stack.enter_context(sides.Side("translation_peer"))
            facts["peer"] = running["peer"].ask("setup", plan=dataclasses.asdict(plan))
            assert facts["peer"]["parameters"] == facts["ours"]["parameters"]
        first = {"ours": running["ours"].ask("texts")}
        if flags.peer:
            first["peer"] = running["peer"].ask("tokens")
            tokens = first["peer"].pop("tokens")
            first["peer"] |= running["ours"].ask("decode", tokens=tokens)
        found = {name: [] for name in running}
        for _block in range(flags.blocks):
            for name, side in running.items():
                found[name].append(side.ask("run", seconds=0)["seconds"])
    return row(flags, facts, first, found)


def row(
    flags: argparse.Namespace, facts: dict, first: dict, found: dict[str, list[float]]
) -> dict:
    """Return the speeds and how many translations are the same."""
    count = facts["ours"]["sentences"]
    rates = {name: [count / x for x in seconds] for name, seconds in found.items()}
    speeds = {name: statistics.median(values) for name, values in rates.items()}
    same = None
    if "peer" in first:
        pairs = zip(first["ours"]["texts"], first["peer"]["texts"], strict=True)
        same = sum(a == b for a, b in pairs)
    peer = speeds.get("peer")
    return {
        "case": f"translate/{count}/b{flags.batch}/beam4",
        "sentences_per_s": speeds["ours"],
        "peer_sentences_per_s": peer,
        "ratio": speeds["ours"] / peer if peer else None,
        "same": same,
        "sentences": count,
        "first_s": first["ours"]["seconds"],
        "peer_first_s": first["peer"]["seconds"] if peer else None,
        "blocks": rates,
        **{key: facts["ours"][key] for key in ("device", "cores", "jax")},
        **{
            key: facts["peer"][key] if peer else None
            for key in ("torch", "transformers")
        },
    }


def table(rows: list[dict]) -> str:
    """Return the rows as text."""
    shown = report.shown
    columns = {
        "case": lambda r: r["case"],
        "sentences/s": lambda r: f"{r['sentences_per_s']:.1f}",
        "peer": lambda r: shown(r["peer_sentences_per_s"], ".1f"),
        "ratio": lambda r: shown(r["ratio"], ".2f"),
        "same": lambda r: f"{shown(r['same'], 'd')} of {r['sentences']}",
        "first s": lambda r: f"{r['first_s']:.1f}",
        "peer first s": lambda r: shown(r["peer_first_s"], ".1f"),
    }
    return "\n" + "\n".join(report.grid(columns, rows))


def main(argv: list[str]) -> int:
    """Measure and print the table; return the exit code."""
    todo = lambda flags: ["translate"]
    said = CONVENTIONS, table
    return measure.run(lambda: parse(argv), todo, measure_case, said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
