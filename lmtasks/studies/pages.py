"""A report as Markdown, LaTeX, or one HTML page that needs nothing else."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import pathlib

from matplotlib import figure

from lmtasks.metrics import forms
from lmtasks.rendering import curves
from lmtasks.studies import compare
from lmtasks.studies import report

# Examples of each side that a page shows.
_EXAMPLES = 20
_STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 76em; color: #222;
  padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: 4px 10px; text-align: left; border-bottom: 1px solid #ddd;
  font-size: 14px; white-space: nowrap; vertical-align: top }
table.sorted th { cursor: pointer; background: #f4f4f4 }
table.sorted th:hover { background: #e6e6e6 }
td.better { color: #187a2f; font-weight: bold } td.worse { color: #b00020 }
table.examples td { white-space: normal; min-width: 8em }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 12px }
svg { max-width: 100%; height: auto }
p { max-width: 60em }
"""
# Nothing about who made a picture, and when.
_PLAIN = dict.fromkeys(("Creator", "Date", "Format", "Type"))
# Numbers sort by size, a cell's first one; texts by letters.
_SCRIPT = """
document.querySelectorAll("table.sorted").forEach(table => {
  table.querySelectorAll("th").forEach((th, column) => th.onclick = () => {
    const up = th.dataset.up = th.dataset.up === "1" ? "0" : "1";
    const key = row => row.cells[column].textContent;
    const number = text => parseFloat(text.replace(/,/g, ""));
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [number(x), number(y)];
      return isNaN(m) || isNaN(n) ? x.localeCompare(y) : m - n;
    });
    (up === "1" ? rows : rows.reverse()).forEach(r => table.tBodies[0].append(r));
  });
});
"""


def pictures(study: report.Study) -> dict[str, figure.Figure]:
    """Return {"curves", "cost"}: learning curves with the range of seeds, quality over
    cost.
    """
    systems = {
        one.name: [study.curves[folder] for folder in one.folders]
        for one in study.systems
    }
    metric = study.metrics[0]
    drawn = [
        m for m in dict.fromkeys(["loss", *study.metrics]) if _is_drawn(systems, m)
    ]
    points = {
        one.name: (
            [study.costs[f].tflops for f in one.folders],
            list(one.values(metric)),
        )
        for one in study.systems
    }
    return {
        "curves": curves.draw_bands(systems, drawn[:3] or ["loss"]),
        "cost": curves.draw_cost(points, "TFLOPs of training", metric),
    }


def _is_drawn(systems: dict, metric: str) -> bool:
    """Return whether all runs measured it while training."""
    return all(
        any(metric in row for row in rows)
        for seeds in systems.values()
        for rows in seeds
    )


def markdown(study: report.Study, folder: pathlib.Path) -> str:
    """Return README text; its pictures are written into the folder."""
    for name, picture in pictures(study).items():
        picture.savefig(folder / f"{name}.png", dpi=110)
    head = report.header(study)
    rows = [head, ["---"] * len(head), *report.lines(study)]
    table = "\n".join(f"| {' | '.join(_escaped(c) for c in row)} |" for row in rows)
    commands = "\n".join(_commands(study))
    said = "\n\n".join(report.facts(study))
    return (
        f"# {_title(study)}\n\n{table}\n\n{said}\n\n"
        "![learning curves](curves.png)\n![quality over cost](cost.png)\n\n"
        f"## Commands\n\n```sh\n{commands}\n```\n"
    )


def _commands(study: report.Study) -> list[str]:
    """Return the commands that train each run and score it as the table has it."""
    pairs = zip(study.commands, study.evaluations, strict=True)
    return [line for pair in pairs for line in pair]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _title(study: report.Study) -> str:
    return f"{pathlib.Path(study.root).resolve().name}: {study.split}"


def latex(study: report.Study) -> str:
    """Return the table for a paper, with \\usepackage{booktabs}."""
    head, *rows = [report.header(study), *report.lines(study)]
    body = "\n".join(f"{' & '.join(map(_tex, row))} \\\\" for row in rows)
    notes = "\n".join(f"% {line}" for line in report.facts(study))
    return (
        f"{notes}\n\\begin{{tabular}}{{{'l' * len(head)}}}\n\\toprule\n"
        f"{' & '.join(map(_tex, head))} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
        "\\end{tabular}\n"
    )


def _tex(cell: str) -> str:
    for letter in "&%$#_{}":
        cell = cell.replace(letter, "\\" + letter)
    return cell.replace("\N{PLUS-MINUS SIGN}", "$\\pm$")


def rows(study: report.Study) -> str:
    """Return a json line a run."""
    out, commands = [], zip(study.commands, study.evaluations, strict=True)
    for system in study.systems:
        config = {key: report.value_of(system.config, key) for key in study.keys}
        for i, folder in enumerate(system.folders):
            row = {"variant": system.name, "seed": system.seeds[i], "config": config}
            values = {
                name: float(forms.score(part.form, forms.arrays([part])[0].sum(0)))
                for name, part in system.scores[i].parts.items()
            }
            row |= {"split": study.split, "scores": values}
            cost = dataclasses.asdict(study.costs[folder])
            command, evaluation = next(commands)
            row |= {"cost": cost, "command": command, "evaluation": evaluation}
            out.append(json.dumps(row))
    return "\n".join(out) + "\n"


def page(study: report.Study) -> str:
    """Return one HTML file: sortable table, curves, examples that changed sides."""
    drawn = "".join(_svg(picture) for picture in pictures(study).values())
    said = "".join(f"<p>{html.escape(line)}</p>" for line in report.facts(study))
    commands = html.escape("\n".join(_commands(study)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(_title(study))}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(_title(study))}</h1>{_table(study)}{said}"
        f"<h2>Learning curves, and quality over cost</h2>{drawn}{_examples(study)}"
        f"<h2>Commands</h2><pre>{commands}</pre><script>{_SCRIPT}</script></body></html>\n"
    )


def _table(study: report.Study) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in report.header(study))
    rows = []
    for row in report.lines(study):
        cells = (
            f'<td class="{c if c in ("better", "worse") else ""}">{html.escape(c)}</td>'
            for c in row
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<table class="sorted"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _svg(picture: figure.Figure) -> str:
    """Return a picture as part of the page; the same for the same numbers."""
    out = io.StringIO()
    picture.savefig(out, format="svg", metadata=_PLAIN)
    return out.getvalue()[out.getvalue().index("<svg") :]


def _examples(study: report.Study) -> str:
    """Return the examples that changed sides between the first and each other."""
    first, metric, parts = study.systems[0], study.metrics[0], []
    if first.scores[0].parts[metric].form not in ("ratio", "perplexity"):
        return ""
    for other in study.systems[1:]:
        changed = compare.changes(first, other, metric)
        better = [one for one in changed if one.gain > 0]
        worse = [one for one in changed if one.gain < 0][::-1]
        title = (
            f"{metric} with {other.name}: higher for {len(better)} examples than with "
            f"{first.name}, lower for {len(worse)}"
        )
        rows = "".join(map(_example, [*better[:_EXAMPLES], *worse[:_EXAMPLES]]))
        names = ("change", "example", "target", first.name, other.name)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        parts.append(
            f"<h2>{html.escape(title)}</h2><details><summary>the first of each"
            f'</summary><table class="examples sorted"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></details>"
        )
    return "".join(parts)


def _example(one: compare.Change) -> str:
    cells = (f"{one.gain:+.3g}", one.example["text"], one.example["target"], *one.said)
    return f"<tr>{''.join(f'<td>{html.escape(str(c))}</td>' for c in cells)}</tr>"
