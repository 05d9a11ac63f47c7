"""The verbs of the `lmtasks` command, run in this process."""

import io
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest
import runs

from lmtasks import schema
from lmtasks.cli import main


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    runs.keep_cache(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.data(tmp_path_factory.mktemp("cli") / "data")


def _trained(tmp_path_factory, name, argv):
    work = tmp_path_factory.mktemp(name) / "work"
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        assert main.main([*argv, f"--workdir={work}"]) == 0
    return work


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, data):
    """A finished classification run on an encoder."""
    return _trained(tmp_path_factory, "encoder", runs.classify(data))


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A finished seq2seq run on a decoder."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [{"source": f"say {i}", "target": f"so {i}"} for i in range(20)]
    runs.write_jsonl(folder / "train.jsonl", rows[:16])
    runs.write_jsonl(folder / "validation.jsonl", rows[16:])
    argv = ["train", "--config=own:seq2seq,decoder", f"--config.data.dir={folder}"]
    argv += runs.settings(tokenizer__kind="byte", optim__warmup_steps=1)
    return _trained(tmp_path_factory, "writer", argv)


# Help.


@pytest.mark.parametrize("verb", main.verbs())
def test_the_help_of_a_verb_is_its_own_and_shows_an_example(verb, capsys):
    for flag in ("--help", "-h"):
        said = runs.command(capsys, verb, flag)
        assert said.code == 0 and said.err == ""
        assert f"lmtasks {verb}" in said.out
        assert len(said.out.splitlines()) < 40
        assert max(map(len, said.out.splitlines())) <= 88


def test_the_help_of_the_command_lists_every_verb_with_its_line(capsys):
    for flag in ("--help", "-h", "help"):
        out = runs.good(capsys, flag)
        assert all(f"  {verb} " in out for verb in main.verbs())
        assert "--config=quickstart" in out
    assert {"train", "eval", "predict", "inspect", "config", "tasks", "plot", "doctor",
            "prepare", "tokenizer", "generate", "score", "import", "export",
            "convert", "embed", "verify", "chat", "summarize", "rehearse", "launch",
            "compare", "sweep", "report", "diff",
            "reproduce", "audit", "check"} == set(main.verbs())  # fmt: skip


def test_the_readme_names_every_verb():
    readme = pathlib.Path(main.__file__).parents[2] / "README.md"
    if not readme.exists():
        pytest.skip("installed without the sources")
    assert all(f"| `{verb}` |" in readme.read_text() for verb in main.verbs())


# train.


def test_train_leaves_the_files_the_readme_lists(encoder):
    names = {path.name for path in encoder.iterdir()}
    wanted = {"config.json", "command.txt", "env.json", "params.txt", "metrics.jsonl",
              "samples.jsonl", "tokenizer", "checkpoints", "README.md"}  # fmt: skip
    assert wanted <= names
    assert not [name for name in names if name.endswith(".tmp")]
    config = json.loads((encoder / "config.json").read_text())
    assert config["data"]["labels"] == ["bad", "good"]
    assert config["objective"] == "classify"
    assert "head" in (encoder / "params.txt").read_text()
    env = json.loads((encoder / "env.json").read_text())
    assert env["versions"]["jax"] == jax.__version__


def test_a_train_row_holds_the_numbers_of_that_very_step(encoder):
    rows = [row for row in runs.rows(encoder) if row["split"] == "train"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["weight"] == 8 for row in rows)
    keys = {"step", "split", "loss", "accuracy", "grad_norm", "learning_rate", "weight"}
    assert all(keys <= row.keys() for row in rows)
    rates = [row["learning_rate"] for row in rows]
    assert rates == pytest.approx([5e-4, 5e-4, 5e-4 * 2 / 3, 5e-4 / 3])


def test_the_same_command_twice_trains_once(encoder, data, tmp_path, capsys):
    work = shutil.copytree(encoder, tmp_path / "work")
    before = runs.numbers(work)
    out = runs.good(capsys, *runs.classify(data, work))
    assert "resumed at step 4" in out
    assert runs.numbers(work) == before
    assert len((work / "command.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize("architecture", ["encoder", "decoder", "encoder_decoder"])
def test_a_dry_run_shows_all_and_writes_nothing(
    architecture, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    work = tmp_path / "work"
    argv = runs.classify(data, work, architecture=architecture, data__length=72)
    argv = [*argv, "--config.data.source_length=72"]
    out = runs.good(capsys, *argv, "--dry_run")
    config, _, rest = out.partition("# examples")
    examples, _, rest = rest.partition("# data")
    summary, _, rest = rest.partition("# parameters")
    parameters, _, memory = rest.partition("# memory")
    assert '"width": 16' in config and f'"architecture": "{architecture}"' in config
    assert "[[" in examples and "row" in examples
    for sign in ("[[", "]]", " ", "<0x20>"):
        examples = examples.replace(sign, "")
    assert any(text.replace(" ", "") in examples for text in runs.GOOD + runs.BAD)
    assert "24 examples" in summary
    assert parameters.splitlines()[1].startswith("parameter")
    assert parameters.strip().splitlines()[-1].startswith("total")
    assert "MiB" in memory
    assert runs.files(tmp_path) == {}


def test_a_dry_run_marks_exactly_the_answer(tmp_path, capsys):
    runs.write_jsonl(tmp_path / "train.jsonl", [{"source": "ab", "target": "cd"}] * 8)
    argv = ["train", "--config=own:seq2seq,decoder", f"--config.data.dir={tmp_path}"]
    argv += runs.settings(tokenizer__kind="byte", data__packing=False)
    out = runs.good(capsys, *argv, "--dry_run")
    line = next(line for line in out.splitlines() if line.startswith("  <bos>"))
    marked = [part.partition("]]")[0] for part in line.split("[[")[1:]]
    assert [piece.strip() for piece in marked][-3:-1] == ["c", "d"]
    assert not {"a", "b"} & {piece.strip() for piece in marked}


def test_a_dry_run_needs_no_work_directory(data, capsys):
    assert "# memory" in runs.good(capsys, *runs.classify(data), "--dry_run")


# eval.


def _last(work, split):
    row = [row for row in runs.rows(work) if row["split"] == split][-1]
    return {k: v for k, v in row.items() if k not in ("step", "split")}


@pytest.mark.parametrize("name", ["encoder", "writer"])
def test_eval_prints_and_keeps_the_numbers_of_the_last_evaluation(
    name, request, tmp_path, capsys
):
    work = shutil.copytree(request.getfixturevalue(name), tmp_path / "work")
    out = runs.good(capsys, "eval", f"--workdir={work}")
    trained = _last(work, "validation")
    (row,) = runs.rows(work, "eval.jsonl")
    signatures = row.pop("signatures", {})
    assert set(signatures) == {"bleu", "chrf"} & trained.keys()
    assert all(f"{name}: {text}" in out for name, text in signatures.items())
    assert row == {"step": 4, "split": "validation", **trained}
    assert f"{work}, step 4, validation:" in out
    for key, value in trained.items():
        assert f"{key:20} {value:.6g}" in out
    said = runs.rows(work, "predictions-validation.jsonl")
    assert len(said) == (10 if name == "encoder" else 4)
    runs.good(capsys, "eval", f"--workdir={work}", "--split=train", "--step=2")
    rows = runs.rows(work, "eval.jsonl")
    assert [(r["step"], r["split"]) for r in rows] == [(4, "validation"), (2, "train")]


def test_eval_takes_overrides_without_changing_the_run(encoder, tmp_path, capsys):
    work = shutil.copytree(encoder, tmp_path / "work")
    stored = (work / "config.json").read_bytes()
    more = ["--config.eval.limit=4", "--config.eval.batch_size=16"]
    runs.good(capsys, "eval", f"--workdir={work}", *more)
    assert len(runs.rows(work, "predictions-validation.jsonl")) == 4
    assert (work / "config.json").read_bytes() == stored


def test_the_size_of_the_evaluation_batch_changes_no_number(encoder, tmp_path, capsys):
    work = shutil.copytree(encoder, tmp_path / "work")
    for size in (8, 24):
        flag = f"--config.eval.batch_size={size}"
        runs.good(capsys, "eval", f"--workdir={work}", flag)
    one, other = runs.rows(work, "eval.jsonl")
    assert one.pop("split") == other.pop("split")
    assert one == pytest.approx(other, rel=1e-5)


# predict.


def _predict(capsys, work, *argv):
    said = runs.command(capsys, "predict", f"--workdir={work}", *argv)
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()], said.err


def test_predict_answers_in_order_and_reports_empty_lines(encoder, tmp_path, capsys):
    texts = ["a fine film", "", "what a bore", "  ", "warm"]
    path = tmp_path / "in.txt"
    path.write_text("\n".join(texts) + "\n")
    said, err = _predict(capsys, encoder, f"--input={path}")
    assert [("error" in row) for row in said] == [False, True, False, True, False]
    assert "2 of 5 inputs have no text" in err
    for row in (said[0], said[2], said[4]):
        assert row["label"] in ("good", "bad")
        assert (
            row["scores"][row["label"]] == row["score"] == max(row["scores"].values())
        )
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
    alone = [_one(capsys, encoder, tmp_path, text) for text in texts if text.strip()]
    together = [row for row in said if "error" not in row]
    for one, other in zip(alone, together, strict=True):
        assert one["label"] == other["label"]
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


def _one(capsys, work, folder, text):
    path = folder / "one.txt"
    path.write_text(text + "\n")
    (row,), _ = _predict(capsys, work, f"--input={path}")
    return row


def test_predict_reads_json_lines_records_and_standard_input(
    encoder, tmp_path, monkeypatch, capsys
):
    rows = [{"text": "a fine film"}, {"text": "what a bore", "label": "bad"}]
    path = runs.write_jsonl(tmp_path / "in.jsonl", rows)
    from_file, _ = _predict(capsys, encoder, f"--input={path}")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a fine film\nwhat a bore\n"))
    from_stdin, _ = _predict(capsys, encoder, "--input=-")
    assert from_file == from_stdin and len(from_file) == 2
    out = tmp_path / "out.jsonl"
    assert _predict(capsys, encoder, f"--input={path}", f"--output={out}")[0] == []
    assert [json.loads(line) for line in out.read_text().splitlines()] == from_file


def test_predict_keeps_one_answer_for_every_line_of_json(encoder, tmp_path, capsys):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "fine"}\n\n{"text": ""}\n{"text": "dull"}\n')
    said, err = _predict(capsys, encoder, f"--input={path}")
    assert [("error" in row) for row in said] == [False, True, True, False]
    assert "2 of 4" in err


def test_predict_writes_text_as_eval_does(writer, tmp_path, capsys):
    work = shutil.copytree(writer, tmp_path / "work")
    runs.good(capsys, "eval", f"--workdir={work}")
    known = runs.rows(work, "predictions-validation.jsonl")
    path = tmp_path / "in.jsonl"
    runs.write_jsonl(path, [{"prompt": f"say {i}"} for i in range(16, 20)])
    said, _ = _predict(capsys, work, f"--input={path}")
    assert [row["text"] for row in said] == [row["text"] for row in known]
    plain = tmp_path / "in.txt"
    plain.write_text("".join(f"say {i}\n" for i in range(16, 20)))
    assert _predict(capsys, work, f"--input={plain}")[0] == said


def test_predict_takes_decoding_overrides(writer, tmp_path, capsys):
    path = tmp_path / "in.txt"
    path.write_text("say 1\nsay 2\n")
    more = ["--config.decode.max_tokens=1", "--step=2"]
    said, _ = _predict(capsys, writer, f"--input={path}", *more)
    assert all(len(row["text"].encode()) <= 2 for row in said)


# inspect.


def test_inspect_shows_the_rows_of_training(data, tmp_path, capsys):
    argv = runs.classify(data)[1:]
    page = tmp_path / "rows.html"
    out = runs.good(capsys, "inspect", *argv, "--rows=2", f"--html={page}")
    assert "24 examples" in out.splitlines()[0]
    assert len([line for line in out.splitlines() if line.startswith("row ")]) == 2
    header = next(line for line in out.splitlines() if line.startswith("slot"))
    assert header.split()[:4] == ["slot", "segment", "position", "piece"]
    learned = [line for line in out.splitlines() if line.endswith(" 1")]
    assert any("good" in line or "bad" in line for line in learned)
    html = page.read_text()
    assert html.startswith("<!doctype html>") and "<table>" in html
    assert "http" not in html.replace("http-equiv", "")
    assert f"wrote {page}" in out


def test_inspect_escapes_what_the_data_holds(tmp_path, capsys):
    rows = [{"text": "<script>alert(1)</script>"}] * 20
    runs.write_jsonl(tmp_path / "train.jsonl", rows)
    argv = ["--config=own:text,decoder", f"--config.data.dir={tmp_path}"]
    argv += runs.settings(tokenizer__kind="word", tokenizer__size=50)
    page = tmp_path / "rows.html"
    runs.good(capsys, "inspect", *argv, f"--html={page}")
    assert "<script" not in page.read_text()


def test_inspect_of_a_run_writes_its_page_there(encoder, tmp_path, capsys):
    work = shutil.copytree(encoder, tmp_path / "work")
    out = runs.good(capsys, "inspect", f"--workdir={work}", "--rows=1")
    assert (work / "inspect.html").exists() and "inspect.html" in out


# config, tasks, doctor, plot.


def test_config_lists_every_key_with_its_comment_and_marks_changes(capsys):
    out = runs.good(capsys, "config", "quickstart", "--config.train.steps=10")
    lines = {}
    for line in out.splitlines():
        mark, key, equals, *_ = line.split() if line[0] == "*" else ("", *line.split())
        assert equals == "=" and "  # " in line
        assert len(line.partition("  # ")[2]) > 0, line
        lines[key] = mark
    known = schema.keys_of(schema.defaults())
    assert lines.keys() == known.keys() and len(known) > 100
    assert lines["train.steps"] == lines["model.preset"] == "*"
    assert lines["seed"] == lines["data.dir"] == ""
    assert "* train.steps = 10" in out


def test_config_without_a_file_shows_defaults_only(capsys):
    out = runs.good(capsys, "config")
    assert not [line for line in out.splitlines() if line.startswith("*")]


@pytest.mark.parametrize(
    "name",
    [p.stem for p in sorted(pathlib.Path(schema.configs.__file__).parent.glob("*.py"))
     if p.stem != "base" and not p.stem.startswith("_")],
)  # fmt: skip
def test_config_reads_every_packaged_config(name, capsys):
    assert "* task" in runs.good(capsys, "config", name) or name in (
        "quickstart",
        "scale",
    )


def test_tasks_says_what_works_where(capsys):
    out = runs.good(capsys, "tasks")
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert "classify" in rows["sst2"] and "clm" in rows["pydocs"]
    assert "planned" in out
    assert "record" in runs.good(capsys, "tasks", "sst2")


def test_doctor_is_ready_here(tmp_path, capsys):
    out = runs.good(capsys, "doctor", f"--workdir={tmp_path / 'new'}")
    assert "Ready." in out and "jax" in out
    assert not (tmp_path / "new").exists()


def test_plot_draws_a_run(encoder, writer, tmp_path, capsys):
    work = shutil.copytree(encoder, tmp_path / "work")
    out = runs.good(capsys, "plot", work)
    assert (work / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert str(work / "plots") in out
    both = tmp_path / "both.svg"
    runs.good(capsys, "plot", work, writer, "--metrics=loss", f"--to={both}")
    assert "<svg" in both.read_text()


# prepare.


def test_training_from_a_prepared_directory_is_training_from_the_file(
    data, tmp_path, capsys
):
    prepared = tmp_path / "prepared"
    files = ",".join(f"{s}={data / s}.csv" for s in ("train", "validation"))
    runs.good(capsys, "prepare", f"--input={files}", f"--to={prepared}")
    losses = []
    for name, folder in (("file", data), ("prepared", prepared)):
        work = tmp_path / name
        runs.good(capsys, *runs.classify(folder, work, model__dropout=0.1))
        losses.append(runs.numbers(work))
        assert runs.sha(work)[0] == runs.sha(tmp_path / "file")[0]
    assert losses[0] == losses[1]
    assert len({row["loss"] for row in losses[0]}) >= 4


# The installed command.


def _installed():
    command = pathlib.Path(sys.executable).with_name("lmtasks")
    if not command.exists():
        pytest.skip("the command is not installed beside this Python")
    return command


MINE = """
from configs import base


def get_config():
    c = base.tiny(base.finetune())
    c.task, c.architecture = "classification", "encoder"
    c.train.batch_size = c.eval.batch_size = 8
    c.train.steps = 2
    return c
"""


@pytest.mark.process
def test_the_installed_command_runs_ones_own_config_from_anywhere(data, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    argv = [_installed(), "train", "--config=mine.py", "--workdir=runs/one"]
    done = subprocess.run(
        [*argv, f"--config.data.dir={data}"],
        cwd=tmp_path,
        env=runs.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert runs.steps(tmp_path / "runs" / "one")[-1] == 2
    line = (tmp_path / "runs" / "one" / "command.txt").read_text()
    assert "--config=mine.py" in line and "lmtasks" in line
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr


@pytest.mark.process
def test_a_mistake_of_a_process_is_exit_code_2_and_one_line(tmp_path):
    said = runs.ended(runs.start("train", "--config=quikstart", cwd=tmp_path))
    assert said.code == 2 and said.out == ""
    assert len(said.err.splitlines()) == 1 and "quickstart" in said.err


@pytest.mark.process
def test_a_closed_pipe_is_no_error():
    with runs.start("config") as process:
        process.stdout.readline()
        process.stdout.close()
        process.wait(60)
        assert process.stderr.read() == "" and process.returncode == 0


def test_python_minus_m_is_the_command():
    from lmtasks import cli

    entry = pathlib.Path(cli.__file__).parents[1] / "__main__.py"
    assert "main.main()" in entry.read_text()


def test_a_run_under_pmap_is_the_run_under_jit(tmp_path, capsys):
    folder = runs.data(tmp_path / "data")
    losses = {}
    for mode in ("jit", "pmap"):
        work = tmp_path / mode
        given = {"model__dropout": 0.0, "model__attention_dropout": 0.0}
        argv = runs.classify(folder, work, parallel__mode=mode, **given)
        runs.good(capsys, *argv)
        losses[mode] = [row["loss"] for row in runs.rows(work)]
    assert losses["jit"] == pytest.approx(losses["pmap"], rel=1e-5)
