"""Write the tables of experiments/results/README.md from the recorded lines.

python experiments/results/table.py
"""

from __future__ import annotations

import collections
import json
import pathlib
import statistics

HERE = pathlib.Path(__file__).parent
SHOWN = (
    "accuracy",
    "f1_macro",
    "loss",
    "perplexity",
    "bits_per_byte",
    "word_perplexity",
)
HEAD = """# Results on real data

One json line per run in the files beside this one; this page is made of them by
`python experiments/results/table.py`. `$DATA` is the folder of the data sets, `$RUNS` the
folder of work directories. Settings were chosen on validation, the test split was read
once, seeds 0, 1 and 2 were fixed beforehand. `python experiments/results/run.py FAMILY
--data=$DATA` runs what is missing (the stories: one setting each, not searched for;
`$WEIGHTS` is a folder with stories260K, given by --weights), and `--again=RUN` repeats a row and compares it bit for
bit.
"""


def rows_of(path: pathlib.Path) -> list[dict]:
    """Return the recorded rows of a family."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(rows: list[dict]) -> list[str]:
    """Return a Markdown table: a line per run, and mean and deviation over seeds."""
    names = [n for n in SHOWN if any(n in row["metrics"] for row in rows)]
    lines = [f"| run | {' | '.join(names)} | wall s |", "|---" * (len(names) + 2) + "|"]
    groups = collections.defaultdict(list)
    for row in rows:
        cells = [_cell(row["metrics"].get(name)) for name in names]
        lines.append(f"| {row['run']} | {' | '.join(cells)} | {row['wall_seconds']} |")
        groups[row["run"].rstrip("0123456789").rstrip("-")].append(row)
    for group, members in groups.items():
        if len(members) < 2:
            continue
        cells = [_spread([m["metrics"].get(name) for m in members]) for name in names]
        seconds = statistics.mean(m["wall_seconds"] for m in members)
        lines.append(f"| **{group}, mean** | {' | '.join(cells)} | {seconds:.1f} |")
    return lines


def _cell(value) -> str:
    return "" if value is None else f"{value:.4f}"


def _spread(values) -> str:
    if any(v is None for v in values):
        return ""
    return f"{statistics.mean(values):.4f} +- {statistics.stdev(values):.4f}"


def main() -> None:
    """Write README.md."""
    parts = [HEAD]
    for path in sorted(HERE.glob("*.jsonl")):
        rows = rows_of(path)
        parts += [f"## {path.stem}", "", *table(rows), ""]
        parts += ["Commands, of the first run of each config:", ""]
        first = {row["config"]: row["command"] for row in reversed(rows)}
        parts += [f"- `{first[config]}`" for config in reversed(first)]
        parts += [""]
    (HERE / "README.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
