"""`lmtasks report`: a study's table, curves and costs."""

from __future__ import annotations

import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "a study's table with intervals, curves, costs and commands"
USAGE = """
lmtasks report DIR [--to=FILE] [--split=validation] [--metrics=...] [--baseline=NAME]

Reads the work directories below DIR that are scored (lmtasks sweep, or train and eval),
takes those that differ in the seed alone together, compares each with the first, and
prints the table. --to writes it with learning curves (mean and range of seeds), quality
over cost and the exact commands; its ending says as what:

  .md     Markdown with pictures beside it
  .html   one page that needs nothing else: sortable table, curves, examples
  .tex    the table, for a paper
  .jsonl  a line a run: variant, seed, what differs, scores, costs, command

  --html  short for --to=DIR/report.html
  --resamples=10000  of the bootstrap and of the randomization

    lmtasks report runs/norm --to=experiments/ablations/norm/README.md
"""
ENDINGS = (".md", ".html", ".tex", ".jsonl")


def main(argv: list[str]) -> int:
    """Print the table, and write what --to names."""
    fv = common.flag_values()
    flags.DEFINE_string("to", "", "file to write", flag_values=fv)
    flags.DEFINE_bool("html", False, "write DIR/report.html", flag_values=fv)
    flags.DEFINE_string("split", "validation", "what was scored", flag_values=fv)
    flags.DEFINE_list("metrics", [], "scores to show", flag_values=fv)
    flags.DEFINE_string("baseline", "", "what others are compared with", flag_values=fv)
    flags.DEFINE_integer("resamples", 10_000, "how many", flag_values=fv)
    folders = common.parse(fv, argv, USAGE)
    if len(folders) != 1:
        raise ValueError("report needs one folder: lmtasks report DIR")
    if fv.to and pathlib.Path(fv.to).suffix not in ENDINGS:
        raise ValueError(f"--to={fv.to} ends in none of {', '.join(ENDINGS)}")
    if fv.resamples < 100:
        raise ValueError(f"--resamples={fv.resamples} must be at least 100")
    from lmtasks.rendering import text
    from lmtasks.studies import report

    study = report.read(
        folders[0],
        fv.split,
        metrics=fv.metrics,
        baseline=fv.baseline,
        count=fv.resamples,
    )
    print("\n".join(text.columns([report.header(study), *report.lines(study)])))
    print("\n" + "\n".join(report.facts(study)))
    to = fv.to or (str(pathlib.Path(folders[0]) / "report.html") if fv.html else "")
    if to:
        _write(study, pathlib.Path(to))
        print(to)
    return 0


def _write(study, to: pathlib.Path) -> None:
    """Write the report as the ending of its name says."""
    from lmtasks.studies import pages
    from lmtasks.training import files

    to.parent.mkdir(parents=True, exist_ok=True)
    if to.suffix == ".md":
        content = pages.markdown(study, to.parent)
    else:
        kinds = {".html": pages.page, ".tex": pages.latex, ".jsonl": pages.rows}
        content = kinds[to.suffix](study)
    files.write_text(to, content)
