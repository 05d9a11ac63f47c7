"""`lmtasks config`: every key with its value and meaning."""

from __future__ import annotations

from ml_collections import ConfigDict

from lmtasks import schema
from lmtasks.cli import common

HELP = "every key of a config, resolved, with its meaning"
USAGE = """
lmtasks config [FILE.py[:ARG] | NAME] [--config.KEY=VALUE ...]

Prints all keys with their values and comments; without a file, the defaults.

    lmtasks config quickstart --config.train.steps=10
"""


def main(argv: list[str]) -> int:
    """Print one line per key; `*` marks what differs from the default."""
    spec, overrides, rest = common.split_config(argv)
    files = common.parse(common.flag_values(), rest, USAGE)
    common.no_more(files[1:])
    default = schema.defaults()
    spec = files[0] if files else spec
    config = schema.load(spec) if spec else default.copy_and_resolve_references()
    for key, text in overrides:
        schema.override(config, key, text)
    comments, standard = schema.comments(), schema.keys_of(default)
    for key, value in schema.keys_of(config).items():
        changed = "*" if _plain(value) != _plain(standard[key]) else " "
        line = f"{changed} {key} = {_plain(value)!r}"
        print(f"{line:48}  # {comments.get(key, 'a file of this split')}")
    return 0


def _plain(value):
    if isinstance(value, ConfigDict):
        return value.to_dict()
    return tuple(value) if isinstance(value, list) else value
