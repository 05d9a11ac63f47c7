"""The verb `tasks` prints the table of support and single tasks."""

import pytest

from lmtasks.cli import tasks as verb


def test_the_verb_prints_every_task_and_what_is_planned(capsys):
    assert verb.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert set(verb.task_names()) <= set(rows)
    assert rows["sst2"][1:5] == ["Labelled", "classify", "classify", "classify"]
    assert rows["text"][2:5] == ["mlm", "clm", "denoise"]
    assert rows["seq2seq"][2:5] == ["-", "generate", "generate"]
    assert rows["(multimodal)"][1:4] == ["-", "planned", "-"]
    assert {"(retrieval)", "(preference)"} <= set(rows)


def test_the_verb_prints_one_task_with_a_sample(capsys):
    assert verb.main(["sst2"]) == 0
    said = capsys.readouterr().out
    for part in ("glue/sst2", "Review: {text}", "negative, positive", "Labelled(text="):
        assert part in said


@pytest.mark.parametrize("name", verb.task_names())
def test_the_verb_can_show_every_task(name, capsys):
    verb.main([name])
    said = capsys.readouterr().out
    assert "\nkind        " in said
    assert max(map(len, said.splitlines())) <= 88


def test_the_verb_names_the_nearest_task(capsys):
    with pytest.raises(ValueError, match="no task 'sst'; near it are sst2"):
        verb.main(["sst"])
