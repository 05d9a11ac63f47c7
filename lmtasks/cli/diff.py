"""`lmtasks diff`: what differs between two runs."""

from __future__ import annotations

import pathlib

from absl import flags

from lmtasks.cli import common

HELP = "what differs between two runs: config, data order, program"
USAGE = """
lmtasks diff RUN_A RUN_B [--json=FILE]

Builds both runs on this machine and says in what they differ: config (defaults
resolved), parameters, the order of the data (the first batch that differs, with its
examples) and whether it was changed since they read it, the program of a step
(operations, FLOPs, bytes), and the versions and devices they were made with. Exit code
1 where anything differs, 0 where nothing does.

    lmtasks diff runs/pre-0 runs/post-0
"""


def main(argv: list[str]) -> int:
    """Print the differences; return 1 where there are any."""
    fv = common.flag_values()
    flags.DEFINE_string("json", "", "file to write", flag_values=fv)
    folders = common.parse(fv, argv, USAGE)
    if len(folders) != 2:
        raise ValueError("diff needs two runs: lmtasks diff RUN_A RUN_B")
    from lmtasks.studies import diff

    found = diff.diff(*folders)
    print("\n".join(diff.lines(found, *folders)))
    if fv.json:
        pathlib.Path(fv.json).write_text(diff.as_json(found))
    return int(not found.same)
