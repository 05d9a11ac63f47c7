"""The commands that make the runs of a sweep by themselves."""

from __future__ import annotations

import shlex

from lmtasks.studies import variants


def command(run: variants.Run, folder: str) -> list[str]:
    """Return the command that makes the same run by itself."""
    return _words(run, folder, run.overrides)


def shell(run: variants.Run, folder: str) -> str:
    """Return that command as a shell reads it, $NAME for what is the environment's."""
    words = _words(run, folder, run.written)
    return " ".join(f'"{word}"' if "$" in word else shlex.quote(word) for word in words)


def _words(run, folder, keys) -> list[str]:
    given, verb = dict(keys), ["train"]
    if not run.trained:
        source = given.pop("init") if "init" in given else run.config.init
        verb = ["import", f"--from={source}"]
    flags = [f"--config.{key}={text}" for key, text in given.items()]
    return ["lmtasks", *verb, f"--config={run.spec}", f"--workdir={folder}", *flags]
