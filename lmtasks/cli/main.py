"""The `lmtasks` command: one verb a module of this package."""

from __future__ import annotations

import difflib
import importlib
import keyword
import os
import pkgutil
import signal
import sys

from lmtasks import cli

HELPERS = ("main", "common", "rows")


def verbs() -> list[str]:
    """Return the names of all verbs."""
    # `import` is a keyword of Python: its module is import_.
    found = (m.name.removesuffix("_") for m in pkgutil.iter_modules(cli.__path__))
    return sorted(name for name in found if name not in HELPERS)


def _module(verb: str):
    """Return the module of a verb."""
    ending = "_" if keyword.iskeyword(verb) else ""
    return importlib.import_module(f"lmtasks.cli.{verb}{ending}")


def usage() -> str:
    """Return the help of the command."""
    lines = [
        "lmtasks VERB [FLAGS]: train, evaluate and use language models.",
        "",
        "Verbs:",
    ]
    for name in verbs():
        module = _module(name)
        lines.append(f"  {name:10} {module.HELP}")
    lines += ["", "lmtasks VERB --help explains one. Start: lmtasks train", ""]
    lines[-2] += " --config=quickstart --workdir=runs/quickstart"
    return "\n".join(lines)


def _leave(*_) -> None:
    """End the process at once, in one line.

    An exception would be swallowed, with a traceback, where a library's callback runs
    just then. Training listens itself and saves what it has.
    """
    verb = " ".join(sys.argv[1:2])
    print(f"lmtasks {verb}: interrupted", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130)


def _stop(*_) -> None:
    """End a training that has not begun: to be preempted is no failure."""
    print("preempted: nothing was to save yet; run again to go on", flush=True)
    os._exit(0)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; a user's error is one line and exit code 2."""
    if argv is None:  # a process of its own
        signal.signal(signal.SIGINT, _leave)
        if sys.argv[1:2] == ["train"]:
            signal.signal(signal.SIGTERM, _stop)
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(usage())
        return 0 if argv else 2
    verb = argv[0]
    if verb not in verbs():
        near = difflib.get_close_matches(verb, verbs(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(
            f"lmtasks: {verb!r} is not a verb{hint}; see lmtasks --help",
            file=sys.stderr,
        )
        return 2
    try:
        return _module(verb).main(argv[1:]) or 0
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe: nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"lmtasks {verb}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if os.environ.get("LMTASKS_TRACEBACK"):
            raise
        print(f"lmtasks {verb}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
