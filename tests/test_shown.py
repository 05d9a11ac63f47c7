"""The page of what runs write: real runs, known ways of decoding, nothing chosen."""

import json
import pathlib

import pytest
from test_results import FOLDER
from test_results import LISTED
from test_results import load

from lmtasks.decode import plan

shown = load("shown")
PAGE = FOLDER / "written.md"


def test_conversations_are_with_listed_runs_and_methods_are_known():
    assert len(shown.TALKS) >= 5 and shown.TALKS.keys() <= LISTED.keys()
    found = [plan.named(name, plan.Decode()) for name in shown.METHODS.split(",")]
    assert len(set(found)) == len(found)


def test_a_conversation_is_what_chat_saved(monkeypatch):
    def run(command, places, said):
        assert command[0] == "chat" and places == {"$RUNS": "r"}
        *lines, save = said.splitlines()
        turns = [{"role": "user", "content": line} for line in lines]
        turns.append({"role": "assistant", "content": "a\nb"})
        pathlib.Path(save.split()[1]).write_text(json.dumps({"messages": turns}))
        return ""

    monkeypatch.setattr(shown, "run", run)
    out = shown.conversation("sgd-ours-0", ("Hello.",), {"$RUNS": "r"})
    assert out[0] == "### sgd-ours-0" and "--workdir=$RUNS/sgd-ours-0" in out[2]
    assert out[4:6] == ["- **user**: Hello.", "- **assistant**: a / b"]


def test_a_command_that_fails_stops_the_page():
    where = ["generate", "--workdir=$RUNS/nowhere", "--prompt=a"]
    with pytest.raises(SystemExit, match="none/nowhere"):
        shown.run(where, {"$RUNS": "none"})


def test_the_page_shows_every_conversation_and_method():
    page = PAGE.read_text()
    for name, lines in shown.TALKS.items():
        part = page.split(f"### {name}\n")[1].split("\n#")[0]
        assert [f"- **user**: {line}" in part for line in lines] == [True] * len(lines)
        assert part.count("- **assistant**: ") == len(lines)
    for name in shown.METHODS.split(","):
        assert page.count(f"\n{name} ") == len(shown.PROMPTS)
