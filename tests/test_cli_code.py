"""`lmtasks eval --allow_code_exec`: written code is run, and only when asked."""

import json

import pytest
import runs

from lmtasks import sandbox
from lmtasks.tasks import mbpp


@pytest.fixture
def work(tmp_path, capsys):
    """Return a run that has seen two steps of MBPP's form."""
    for split in ("train", "validation"):
        runs.write_jsonl(tmp_path / f"{split}.jsonl", mbpp.TASK.samples)
    where = {"data__dir": tmp_path, "tokenizer__kind": "byte", "task": "mbpp"}
    flags = runs.settings(**where, data__length=256)
    work = tmp_path / "work"
    runs.good(capsys, "train", "--config=own:seq2seq", f"--workdir={work}", *flags)
    return work


@pytest.mark.process
def test_written_code_is_run_only_when_it_is_allowed(work, capsys):
    try:
        sandbox.check()
    except sandbox.Unavailable as error:
        pytest.skip(str(error))
    runs.good(capsys, "eval", f"--workdir={work}")
    runs.good(capsys, "eval", f"--workdir={work}", "--allow_code_exec")
    plain, executed = map(json.loads, (work / "eval.jsonl").read_text().splitlines())
    assert "pass@1" not in plain and executed["pass@1"] == 0.0
    assert {"exact_match", "valid_syntax"} <= plain.keys() <= executed.keys()


def test_without_a_jail_or_tests_evaluation_stops_before_it_begins(
    work, capsys, monkeypatch
):
    def no_jail():
        raise sandbox.Unavailable("no namespaces here")

    monkeypatch.setattr(sandbox, "check", no_jail)
    before = (work / "eval.jsonl").exists() and (work / "eval.jsonl").read_text()
    found = runs.command(capsys, "eval", f"--workdir={work}", "--allow_code_exec")
    assert found.code == 2 and "no namespaces here" in found.err
    other = ("--allow_code_exec", "--config.task=seq2seq")
    found = runs.command(capsys, "eval", f"--workdir={work}", *other)
    assert found.code == 2 and "task='seq2seq' has no tests" in found.err
    after = (work / "eval.jsonl").exists() and (work / "eval.jsonl").read_text()
    assert before == after
