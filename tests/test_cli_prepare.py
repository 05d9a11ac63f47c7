"""`lmtasks prepare`: files in, a TFDS directory out, equal record for record."""

import gzip
import json
import pathlib
import signal
import subprocess
import sys

import pytest
import runs

from lmtasks import tokenizers
from lmtasks.cli import prepare
from lmtasks.data import sources

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "data"


def run(*flags):
    """Run the verb with --name=value flags."""
    return prepare.main([f"--{flag}" for flag in flags])


def records_of(folder, split="train"):
    options = sources.DataOptions(dir=str(folder))
    return list(sources.open_split(sources.Source(), split, options))


def records_in(path, **more):
    options = sources.DataOptions(files={"train": str(path)}, **more)
    return list(sources.open_split(sources.Source(), "train", options))


def test_a_prepared_file_reads_back_equal_and_in_order(tmp_path, capsys):
    rows = [
        {"text": f"h\u00e9 {i * 7 % 50}", "n": i, "tags": ["a"] * i} for i in range(50)
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert not run(f"input={path}", f"to={tmp_path / 'out'}")
    assert records_of(tmp_path / "out") == rows == records_in(path)
    said = capsys.readouterr()
    assert f"train: 50 records of {path}\n" in said.out
    assert said.out.endswith(f"use it by config.data.dir={tmp_path / 'out'}\n")
    assert len(said.out.splitlines()) == 2 and said.err == ""


def test_several_splits_become_one_data_set(tmp_path):
    (tmp_path / "a.tsv").write_text("good\t1\nbad\t0\n")
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b"fine\t1\n"))
    run(
        f"input=train={tmp_path}/a.tsv,test={tmp_path}/b.tsv",
        "fields=text:0,label:1",
        f"to={tmp_path}/out",
        "name=tiny",
    )
    assert records_of(tmp_path / "out") == [
        {"text": "good", "label": "1"},
        {"text": "bad", "label": "0"},
    ]
    assert records_of(tmp_path / "out", "test") == [{"text": "fine", "label": "1"}]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert info["name"] == "tiny" and info["fileFormat"] == "array_record"


def test_tfds_itself_reads_what_was_written(tmp_path):
    import tensorflow_datasets as tfds

    (tmp_path / "a.csv").write_text("x,y\none,1\ntwo,2\n")
    run(f"input={tmp_path}/a.csv", "split=validation", f"to={tmp_path}/out")
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    source = builder.as_data_source("validation")
    assert [row["x"] for row in source] == [b"one", b"two"]


def test_malformed_records_are_named_or_skipped_and_counted(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n' * 20 + "{\n" + '{"n": 2}\n')
    with pytest.raises(ValueError, match=r"a.jsonl:21: .*--on_error=skip"):
        run(f"input={path}", f"to={tmp_path}/out")
    assert not (tmp_path / "out").exists()
    run(f"input={path}", f"to={tmp_path}/out", "on_error=skip")
    assert len(records_of(tmp_path / "out")) == 21
    said = capsys.readouterr().out
    assert "train: 21 records" in said and "1 malformed skipped" in said
    assert f"skipped {path}:21: not valid JSON" in said


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    out = tmp_path / "out"
    out.mkdir()
    run(f"input={tmp_path}/a.jsonl", f"to={out}")
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ValueError, match="out is there already"):
        run(f"input={tmp_path}/a.jsonl", f"to={out}")
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(ValueError, match="a.jsonl is there already"):
        run(f"input={tmp_path}/a.jsonl", f"to={tmp_path}/a.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "out"}


@pytest.mark.parametrize(
    "flags, said",
    [
        ([], "needs --input"),
        (["input=a.jsonl"], "needs --to"),
        (["input=a.jsonl", "to=out", "format=arrow"], "--format=arrow is not one of"),
        (["input=none.jsonl", "to=out"], "none.jsonl is not there"),
        (["input=a.jsonl,b.jsonl", "to=out"], "names the split train twice"),
        (["input=a.jsonl", "to=out", "split=my split"], "cannot name a split"),
        (["input=a.jsonl", "to=out", "fields=text"], "is not KEY:COLUMN"),
        (["input=a.jsonl", "to=out", "fields=text:x"], "no column 'x' among n"),
        (["input=a.jsonl", "to=out", "on_error=ignore"], "on_error='ignore'"),
        (["input=a.jsonl", "to=out", "input_format=xml"], "'xml' is no format"),
        (["input=a.jsonl", "to=out", "name=My Data"], "cannot name a data set"),
        (["inptu=a.jsonl", "to=out"], "--input"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_writes_nothing(
    tmp_path, monkeypatch, flags, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        run(*flags)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_positional_arguments_are_sent_to_the_input_flag():
    with pytest.raises(ValueError, match="takes flags only, but was given 'a.jsonl'"):
        prepare.main(["a.jsonl", "--to=out"])


def test_help_shows_the_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        prepare.main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for flag in ("input", "to", "split", "fields", "input_format", "on_error", "name"):
        assert f"--{flag}" in said


def test_the_data_set_is_named_after_its_folder(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    for folder, name in (("My Data-2", "my_data_2"), ("2024", "data_2024")):
        run(f"input={tmp_path}/a.jsonl", f"to={tmp_path / folder}")
        info = json.loads((tmp_path / folder / "dataset_info.json").read_text())
        assert info["name"] == name


@pytest.mark.process
def test_the_command_prints_nothing_but_its_own_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    command = [
        sys.executable,
        "-m",
        "lmtasks",
        "prepare",
        "--input=a.jsonl",
        "--to=out",
    ]
    root = pathlib.Path(prepare.__file__).parents[2]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        "train: 1 records of a.jsonl",
        "Wrote data set out to out; use it by config.data.dir=out",
    ]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize(
    "name",
    [
        "extractive_qa/xquad_en/test.json",
        "text_classification/banking77/validation.csv",
        "ner/wnut17/test.conll",
        "pos/ud_english_ewt/test.conllu",
        "summarization/scitldr_a/test.jsonl.gz",
        "generative_qa/nq_open/test.jsonl",
    ],
)
def test_real_files_read_back_equal(tmp_path, name):
    run(f"input={SHARED / name}", f"to={tmp_path}/out")
    assert records_of(tmp_path / "out") == records_in(SHARED / name)


@pytest.mark.process
@pytest.mark.parametrize("form", ("records", "tokens"))
def test_an_interrupted_preparation_leaves_nothing(tmp_path, form):
    rows = [{"text": "some words here and there " * 40}] * 30_000
    path = runs.write_jsonl(tmp_path / "many.jsonl", rows)
    more = []
    if form == "tokens":
        tokenizers.train("word", [rows[0]["text"]]).save(tmp_path / "tokenizer")
        more = [f"--tokenizer={tmp_path / 'tokenizer'}"]
    process = runs.start(
        "prepare",
        f"--input={path}",
        f"--to={tmp_path / 'out'}",
        f"--format={form}",
        *more,
    )
    partial = tmp_path / "out.partial"
    assert runs.until(process, lambda: any(partial.rglob("*")))
    process.send_signal(signal.SIGINT)
    said = runs.ended(process)
    assert said.code == 130 and said.err == "lmtasks prepare: interrupted\n"
    left = {item.name for item in tmp_path.iterdir()}
    assert left <= {"many.jsonl", "tokenizer"}
