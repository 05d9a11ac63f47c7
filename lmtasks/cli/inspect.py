"""`lmtasks inspect`: real training rows, token by token."""

from __future__ import annotations

import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "real training rows token by token, as text and HTML"
USAGE = """
lmtasks inspect --config=FILE.py | --workdir=DIR [--rows=3] [--html=FILE]

Shows the first rows of training exactly as the model reads them: segment, position,
piece, target and weight of every slot.

    lmtasks inspect --config=quickstart --rows=1 --html=rows.html
"""


def main(argv: list[str]) -> int:
    """Print the rows; write the page where asked."""
    spec, overrides, rest = common.split_config(argv)
    fv = common.flag_values()
    flags.DEFINE_string("workdir", None, "work directory", flag_values=fv)
    flags.DEFINE_integer("rows", 3, "rows to show", flag_values=fv)
    flags.DEFINE_string("html", None, "page to write", flag_values=fv)
    common.no_more(common.parse(fv, rest, USAGE))
    config = common.config_of(spec, overrides, fv.workdir)
    from lmtasks import builder
    from lmtasks.data import view
    from lmtasks.training import feed
    from lmtasks.training import rehearsal

    run = builder.build(config, fv.workdir)
    read = feed.read(run)
    views = rehearsal.first_rows(run, read, max(fv.rows, 1))
    print(read.summary)
    for heading, rows in views:
        print(f"\n{heading}\n{view.as_text(rows)}")
    if fv.html or fv.workdir:
        target = pathlib.Path(fv.html or pathlib.Path(fv.workdir) / "inspect.html")
        title = f"{config.task}: {run.config.objective} on {config.architecture}"
        target.write_text(view.as_html(views, title), encoding="utf-8")
        print(f"\nwrote {target}")
    return 0
