"""`lmtasks chat`: a conversation on the terminal."""

from __future__ import annotations

import json
import signal
import sys

from lmtasks.cli import common

HELP = "a conversation with a decoder, its history kept"
USAGE = """
lmtasks chat --workdir=DIR [--step=N|best] [--config.decode.KEY=VALUE]

Type a line, read the reply as it is written; Ctrl-C ends a reply, Ctrl-D the chat. The
whole history is read with each turn, most of it from the cache; where it grows longer
than data.length the oldest turns are left out, which is said. Lines that begin with /:

    /system TEXT   begin anew, with this as the system's turn
    /reset         begin anew
    /retry         another reply to the last line
    /temp NUMBER   temperature of the replies that follow; 0 = greedy
    /save FILE     the conversation as a line {"messages"}, which trains a run
    /quit

    lmtasks chat --workdir=runs/smollm --config.prompt.template=tokenizer \\
        --config.decode.temperature=0.7
"""
COMMANDS = ("/system", "/reset", "/retry", "/temp", "/save", "/quit", "/help")


def main(argv: list[str]) -> int:
    """Talk until the input ends."""
    fv, config, folder = common.used_run(argv, USAGE)
    from lmtasks import api
    from lmtasks.training import talk

    loaded = api.load(folder, common.step_of(folder, fv.step), config)
    one = talk.Talk(loaded)
    here = sys.stdin.isatty()
    # A reply is ended by it, not the process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while True:
        try:
            if here:
                print("> ", end="", flush=True)
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            print()
            continue
        if not line or line.split()[:1] == ["/quit"]:
            return 0
        try:
            _turn(one, line.strip())
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr, flush=True)


def _turn(one, line: str) -> None:
    """Do what a line asks."""
    command, _, rest = line.partition(" ")
    if not line:
        return
    if not command.startswith("/"):
        _print(one, one.say(line))
    elif command == "/retry":
        _print(one, one.retry())
    elif command in ("/system", "/reset"):
        one.reset(rest if command == "/system" else "")
    elif command == "/temp":
        one.temperature = _number(rest)
    elif command == "/save":
        _save(one, rest.strip())
    elif command == "/help":
        print(USAGE.strip())
    else:
        raise ValueError(f"{command} is not one of {', '.join(COMMANDS)}")


def _print(one, reply) -> None:
    """Print a reply as it comes; Ctrl-C ends it and keeps what was written."""
    if one.dropped:
        print(
            f"({one.dropped} of the oldest turns no longer fit and are left out)",
            file=sys.stderr,
            flush=True,
        )
    try:
        for piece in reply:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        reply.close()
    print(flush=True)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"/temp {text}: give a number from 0 on, such as 0.7")
    return value


def _save(one, path: str) -> None:
    if not path:
        raise ValueError("/save needs the name of a file")
    messages = [{"role": turn.role, "content": turn.text} for turn in one.turns]
    if not messages:
        raise ValueError("nothing was said yet")
    with open(path, "a") as out:
        out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    print(f"{len(messages)} turns saved to {path}", file=sys.stderr)
