"""Write written.md: what trained runs say, with the commands that said it.

    python experiments/results/shown.py --runs=runs/results

Conversations with runs of the family `instructions`, and one set of prompts written by
every way of decoding by the run `stories-as-it-is`. RUNS is that of run.py.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import texts

HERE = pathlib.Path(__file__).parent
PROMPTS = (
    "Once upon a time, there was a little girl named Lily.",
    "Tom had a big red ball.",
    "One day, a dog and a cat met in the park.",
    "The sun was hot and the birds were",
    "Ben was sad because he could not find",
    "Mom said, \"Let's go to the",
    "There was a small boat on the lake.",
    "The old man gave the boy a",
)
METHODS = "greedy,beam4,topk50,topp0.9,minp0.1,typical0.9,temp0.7,contrastive4,lookup4"
# run of `instructions` -> what is said to it, one turn a line.
TALKS = {
    "alpaca-stories-0": (
        "Give three tips for staying healthy.",
        "Which of them is the most important?",
    ),
    "alpaca-ours-0": (
        "Give three tips for staying healthy.",
        "Which of them is the most important?",
    ),
    "lima-ours-0": (
        "How do I learn to play the guitar?",
        "How long does that take?",
    ),
    "sgd-stories-0": (
        "I am looking for a restaurant in San Jose.",
        "Something with Italian food.",
        "Please book a table for two at 7 pm.",
    ),
    "sgd-ours-0": (
        "I am looking for a restaurant in San Jose.",
        "Something with Italian food.",
        "Please book a table for two at 7 pm.",
        "Thank you, that is all.",
    ),
}
HEAD = """# What runs write

Made by `python experiments/results/shown.py --runs=$RUNS` of the work directories that
the commands in README.md make. No conversation is left out; greedy replies, tried first,
repeated themselves, so these are drawn, once. The models are small (README.md has their
figures): the texts show that all parts work and how far so little training goes.
"""


def main() -> None:
    """Run the commands and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    places = {"$RUNS": str(parser.parse_args().runs.absolute())}
    parts = [HEAD, "## Conversations", ""]
    for name, lines in TALKS.items():
        parts += conversation(name, lines, places)
    parts += ["## One set of prompts by every way of decoding", "", *methods(places)]
    (HERE / "written.md").write_text("\n".join(parts))


def conversation(name: str, lines: tuple[str, ...], places: dict) -> list[str]:
    """Return the lines of a page about a talk with a run."""
    command = [
        "chat",
        f"--workdir=$RUNS/{name}",
        "--step=best",
        "--config.decode.temperature=0.7",
        "--config.decode.top_p=0.9",
        "--config.decode.repetition_penalty=1.2",
        "--config.decode.max_tokens=64",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "saved.jsonl")
        said = "".join(f"{line}\n" for line in (*lines, f"/save {path}"))
        run(command, places, said)
        turns = json.loads(path.read_text())["messages"]
    out = [f"### {name}", "", f"`lmtasks {' '.join(command)}`", ""]
    for turn in turns:
        out += [f"- **{turn['role']}**: " + " / ".join(turn["content"].splitlines())]
    return [*out, ""]


def methods(places: dict) -> list[str]:
    """Return the lines of a page about the prompts written in several ways."""
    command = [
        "generate",
        "--workdir=$RUNS/stories-as-it-is",
        "--input=PROMPTS",
        f"--methods={METHODS}",
        "--config.decode.max_tokens=48",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "prompts.txt")
        path.write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
        found = run(command, {"PROMPTS": str(path), **places})
    return [
        "The stories' model as it came; PROMPTS is a file of the prompts below, one a line.",
        "",
        f"`lmtasks {' '.join(command)}`",
        "",
        "```text",
        *(line.rstrip() for line in found.splitlines()),
        "```",
        "",
    ]


def run(command: list[str], places: dict, said: str = "") -> str:
    """Return what a command prints."""
    real = [texts.filled(part, places) for part in command]
    found = subprocess.run(
        [sys.executable, "-m", "lmtasks", *real],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "100"},
    )
    if found.returncode:
        raise SystemExit(f"lmtasks {' '.join(command)}:\n{found.stderr}")
    return found.stdout


if __name__ == "__main__":
    main()
