"""Write README.md and scaling.png from rehearsals.jsonl.

python experiments/rehearsals/table.py
"""

from __future__ import annotations

import collections
import pathlib
import re
import sys
import textwrap

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import run as rehearsals

HEAD = """\
# Rehearsals: the published shapes on pods that are not here

Each row is one `lmtasks rehearse` (configs/scale.py: bfloat16 products, a float32 state with AdamW, layers
recomputed): the step is compiled for the topology by libtpu, nothing is run. `python experiments/rehearsals/run.py`
makes what is missing, `--list` prints the commands, `table.py` writes this file. Written from {jax}.

GiB are those a device needs at most, of what it has; "does not fit": the compiler says so, or counts more than the chip
has. The bound is the least time of a step that products, memory and exchanges allow, each alone at the published
speed of the chip; the share is that of the peak it leaves. FSDP over the chips of a slice (`*2`: two slices, each a
replica), but for the parts of heads in `tensor`. Compile times are of two cores that had other work too;
alone they compile llama3_8b's step for v5e:16x16 in 58.8 s.

Exchanges are how often a step does each, loops counted as they run: all-gather (AG), reduce-scatter (RS), all-reduce
(AR), all-to-all (A2A), collective-permute (CP). Where parts are passed around a ring, CP are many and small; a program
that did not fit may have none to count. BERT has no rows of decoding: an encoder writes no text.

{missing}

| model | topology | step | rows | tensor | GiB a device | bound ms | of the peak | sent GiB | exchanges | compiled in s | what to turn |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
# Kind of an exchange -> its column's short name, in the order they are shown.
KINDS = {
    "all-gather": "AG", "reduce-scatter": "RS", "all-reduce": "AR", "all-to-all": "A2A",
    "collective-permute": "CP",
}  # fmt: skip
SCALE = """
## Llama-3-8B from 16 to 4,096 chips

![least time of a step, and bytes sent, by chips](scaling.png)

A row of 8,192 tokens for each chip of a v5p slice, FSDP over all of them: what a chip computes stays, what it
sends hardly grows from 64 chips on, and the batch grows with the chips. Weights and gradients are sent in bfloat16. For
16 chips the compiler passes parts of them around a ring while it multiplies; for more it writes gathers and scatters as
all-reduces, which is counted as it stands, at twice the bytes.

| chips | rows | products ms | exchanges ms | sent GiB | GiB a device |
| --- | --- | --- | --- | --- | --- |
"""


def gib(size: float | None) -> str:
    """Return bytes in GiB; "?" where the compiler does not say."""
    return "?" if size is None else f"{size / 2**30:.2f}"


def exchanges(row: dict) -> str:
    """Return how often a step does each kind of exchange."""
    times = collections.Counter()
    for one in row["exchanges"]:
        times[one["kind"]] += one["count"]
    return ", ".join(f"{times[kind]:,} {KINDS[kind]}" for kind in KINDS if times[kind])


def missing(rows: dict[str, dict]) -> str:
    """Return what the largest model lacks on v5e-256, from its row and that of v6e."""
    short, fits = (
        rows[rehearsals.shlex.join(rehearsals.command("llama3_70b", where, "train", 8))]
        for where in ("v5e:16x16", "v6e:16x16")
    )
    (row,), (other,) = short["rows"], fits["rows"]
    moments = 2 * 4 * short["parameters"] / short["devices"]
    said = (
        f"Llama-3-70B lacks {gib(row['used'] - row['limit'])} GiB a chip to train on "
        f"v5e-256 in 8 parts: AdamW's moments are {gib(moments)} of its "
        f"{gib(row['used'])}, so `optim.name=adafactor` would make room by that count "
        "(not compiled), and chips with the memory of v6e do, where the same layout "
        f"takes {gib(other['used'])} of {gib(other['limit'])}."
    )
    return textwrap.fill(said, 118)


def line(found: dict) -> str:
    """Return a row of the table."""
    row = found["rows"][0]
    model = re.search(r"scale:(\w+)", found["command"])[1]
    head = (model, found["topology"], row["program"], f"{row['rows']:,}")
    used = f"{gib(row['used'])} of {gib(row['limit'])}"
    fits = row["fits"] and row["bound"]
    advice = row["advice"]
    if "splash" in found["attention"]:  # which cannot run over parts of the length
        advice = advice.replace(", parallel.sequence", "")
    cells = (
        *head,
        str(found["mesh"]["tensor"]),
        used if row["fits"] else f"**does not fit**: {used}",
        f"{1000 * row['bound']:,.1f}" if fits else "",
        f"{row['mfu']:.0%}" if fits else "",
        gib(sum(row["sent"].values())) if fits else "",
        exchanges(row),
        f"{row['compile_seconds']:.0f}",
        advice,
    )
    return "| " + " | ".join(cells) + " |"


def scaling(rows: dict[str, dict]) -> list[tuple[int, dict]]:
    """Return [(chips, row)] of the line of topologies, as far as recorded."""
    out = []
    for topology in rehearsals.SCALING:
        argv = rehearsals.command(rehearsals.SCALED, topology, "train", 1)
        found = rows.get(rehearsals.shlex.join(argv))
        if found and found["rows"][0]["fits"]:
            out.append((rehearsals.chips(topology), found["rows"][0]))
    return out


def text(rows: dict[str, dict]) -> str:
    """Return README.md."""
    versions = sorted({row["versions"] for row in rows.values()})
    head = HEAD.format(jax=", ".join(versions), missing=missing(rows))
    lines = [head + "\n".join(map(line, rows.values()))]
    points = scaling(rows)
    if len(points) > 1:
        lines.append(SCALE + "\n".join(
            f"| {chips:,} | {row['rows']:,} | {1000 * row['compute']:,.0f} | "
            f"{1000 * row['links']:,.0f} | {gib(sum(row['sent'].values()))} | "
            f"{gib(row['used'])} |"
            for chips, row in points
        ))  # fmt: skip
    return "\n".join(lines) + "\n"


def plot(points: list[tuple[int, dict]], file: pathlib.Path) -> None:
    """Draw the least time of a step and the bytes sent over chips."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chips = [n for n, _ in points]
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(9, 3.4), layout="constrained"
    )
    for name, label in (("compute", "products"), ("links", "exchanges")):
        left.plot(chips, [row[name] for _, row in points], "o-", label=label)
    left.set(ylabel="least seconds of a step", ylim=0)
    left.legend()
    sent = [sum(row["sent"].values()) / 2**30 for _, row in points]
    right.plot(chips, sent, "o-", color="C2")
    right.set(ylabel="GiB each chip sends in a step", ylim=0)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(chips, [f"{n:,}" for n in chips])
        axes.set_xlabel("chips (v5p), one row of 8,192 tokens each")
        axes.grid(alpha=0.3)
    figure.suptitle("Llama-3-8B, one training step, fully sharded")
    figure.savefig(file, dpi=130)


def main():
    """Write the table and the picture."""
    rows = rehearsals.recorded()
    (FOLDER / "README.md").write_text(text(rows))
    points = scaling(rows)
    if len(points) > 1:
        plot(points, FOLDER / "scaling.png")


if __name__ == "__main__":
    main()
