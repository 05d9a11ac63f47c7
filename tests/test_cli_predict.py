"""`lmtasks predict` for a person: --format=text and --html beside the json lines."""

import json

import pytest
import runs

ROWS = "a fine film\n\nwhat a <bore>\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A tiny trained classifier and a file of texts."""
    folder = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        argv = runs.classify(runs.data(folder / "data"), folder / "work", eval__every=0)
        assert runs.main.main([str(arg) for arg in argv]) == 0
    (folder / "rows.txt").write_text(ROWS)
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    runs.keep_cache(monkeypatch)


def predict(capsys, folder, *argv):
    """Return how the command ended on the rows."""
    where = (f"--workdir={folder / 'work'}", f"--input={folder / 'rows.txt'}")
    return runs.command(capsys, "predict", *where, *argv)


def test_text_shows_every_input_with_its_classes_and_errors(work, capsys):
    said = predict(capsys, work, "--format=text")
    assert said.code == 0 and "\x1b" not in said.out
    first, second, third = said.out.split("--- ")[1:]
    assert "text  a fine film" in first and "what a <bore>" in third
    assert second.split() == ["2", "error", "no", "text"]
    for part in (first, third):
        assert part.count("> 0.") == 1 and "good" in part and "bad" in part
    assert "1 of 3 inputs have no text" in said.err


def test_text_and_a_page_say_what_the_json_lines_say(work, tmp_path, capsys):
    page = tmp_path / "page.html"
    said = predict(capsys, work, f"--html={page}")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert len(rows) == 3 and rows[1] == {"error": "no text"}
    assert f"wrote {page}" in said.err
    html = page.read_text()
    text = predict(capsys, work, "--format=text").out
    for row in (rows[0], rows[2]):
        assert f"> {row['score']:.3f}" in text and f"{row['score']:.3f}" in html
    assert "what a &lt;bore&gt;" in html and "classification" in html


def test_json_lines_are_the_same_with_and_without_the_flag(work, capsys):
    plain = predict(capsys, work)
    assert plain.code == 0
    assert predict(capsys, work, "--format=jsonl").out == plain.out


def test_text_goes_into_a_file_without_codes(work, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm-256color")
    out = tmp_path / "out.txt"
    said = predict(capsys, work, "--format=text", f"--output={out}")
    assert said.code == 0 and said.out == ""
    assert out.read_text() == predict(capsys, work, "--format=text").out


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--format=txt", ("txt", "jsonl, text", "did you mean 'text'")),
        ("--format=", ("jsonl, text",)),
        ("--html={folder}/no/page.html", ("no such folder", "page.html")),
    ],
)
def test_wrong_flags_are_refused_before_any_work(
    flag, words, work, tmp_path, capsys, monkeypatch
):
    from lmtasks import api

    monkeypatch.setattr(api, "load", None)  # calling it would be a TypeError
    said = predict(capsys, work, flag.format(folder=tmp_path))
    assert said.code == 2 and said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert all(word in said.err for word in words)
