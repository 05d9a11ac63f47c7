"""What differs between two runs, and a run's steps again."""

import dataclasses
import json
import re
import shutil

import pytest
import runs

from lmtasks.studies import diff
from lmtasks.studies import reproduce
from lmtasks.tokenizers import base as tokenizers


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs that differ in nothing, and their data."""
    from lmtasks.cli import main

    root = tmp_path_factory.mktemp("diff")
    runs.data(root / "data")
    argv = runs.classify(root / "data", root / "a", log__every=2)
    assert main.main([str(a) for a in argv]) == 0
    shutil.copytree(root / "a", root / "b")
    return root


def changed(made, name, **keys):
    """Return a copy of a run whose stored config has other values."""
    folder = made / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made / "a", folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for key, value in keys.items():
        *sections, last = key.split("__")
        place = config
        for section in sections:
            place = place[section]
        place[last] = value
    file.write_text(json.dumps(config))
    return str(folder)


def test_equal_runs_differ_in_nothing(made, capsys):
    out = runs.command(capsys, "diff", made / "a", made / "b")
    assert out.code == 0, out.out + out.err
    assert "config: the same" in out.out and "program: the same" in out.out
    assert "the same examples in the first 1000 batches" in out.out


def test_another_norm_is_config_parameters_and_program_but_not_data(made):
    found = diff.diff(str(made / "a"), changed(made, "norm", model__norm__at="pre"))
    assert set(found.config) == {"model.norm.at"}
    assert set(found.parameters) == {"encoder/norm/bias", "encoder/norm/scale"}
    assert found.parameters["encoder/norm/scale"] == (None, "16")
    assert found.order.step is None and found.order.same_rows
    a, b = found.programs
    assert a.ops != b.ops and a.flops != b.flops and not found.environment


def test_another_seed_is_the_order_of_data_alone(made):
    found = diff.diff(str(made / "a"), changed(made, "seed", seed=1))
    assert set(found.config) == {"seed"} and found.order.step == 0
    assert found.order.same_rows and found.programs is None and not found.parameters
    text = "\n".join(diff.lines(found, "a", "b"))
    assert "the batch of step 1 is the first that differs" in text
    told = re.search(r"examples a \[(\d+, ){7}\d+\], b \[(\d+, ){7}\d+\]", text)
    assert told and str(found.order.a[:8]) in told[0]


def retrained(made, name, edit):
    """Return a run of other data: a copy of the folder that `edit` has changed."""
    from lmtasks.cli import main

    data = made / f"data-{name}"
    if not data.exists():
        shutil.copytree(made / "data", data)
        edit(data)
        argv = runs.classify(data, made / name, log__every=2)
        assert main.main([str(a) for a in argv]) == 0
    return made / name


def reword(data):
    file = data / "train.csv"
    file.write_text(file.read_text().replace("film", "play"))


@pytest.mark.slow
def test_other_words_are_other_rows_in_the_same_order(made, capsys):
    other = retrained(made, "reworded", reword)
    out = runs.command(capsys, "diff", made / "a", other)
    assert "data: other rows (data, tokens or layout), the same examples" in out.out
    # Rows alone are a difference.
    config = json.loads((other / "config.json").read_text())
    found = diff.diff(str(made / "a"), str(other))
    assert not found.order.same_rows and found.order.step is None
    alone = dataclasses.replace(found, config={})
    assert not alone.same and out.code == 1
    assert set(found.config) == {"data.dir"} and config["data"]["dir"]


def test_data_that_was_edited_between_two_runs_is_not_the_same(made, capsys):
    """Both name one folder; its texts were others when the first read them."""
    later = made / "later"
    shutil.rmtree(later, ignore_errors=True)
    shutil.copytree(retrained(made, "reworded", reword), later)
    data = made / "data-later"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(made / "data-reworded", data)
    stored = made / "later" / "config.json"
    moved = changed(made, "before", data__dir=str(data))
    for file in (stored, *later.glob("checkpoints/*/meta.json"),
                 *(made / "before").glob("checkpoints/*/meta.json")):  # fmt: skip
        text = file.read_text().replace(str(made / "data-reworded"), str(data))
        file.write_text(text.replace(f'"{made / "data"}"', f'"{data}"'))
    out = runs.command(capsys, "diff", moved, later)
    assert out.code == 1 and "config: the same" in out.out
    assert "data: the same rows" in out.out  # as they are read now
    assert re.search(
        r"  before: the data, or its tokenizer, is not that of step 4: fingerprint",
        out.out,
    )
    assert "  later: " not in out.out


@pytest.mark.slow
def test_another_tokenizer_is_other_rows(made):
    folder = changed(made, "tokens")
    file = made / "tokens" / "tokenizer" / tokenizers.META
    about = json.loads(file.read_text())
    for names in (about["names"], about["roles"]):  # <cls> and <sep> change places
        cls, sep = (next(n for n in names if k in n) for k in ("cls", "sep"))
        names[cls], names[sep] = names[sep], names[cls]
    file.write_text(json.dumps(about))
    found = diff.diff(str(made / "a"), folder)
    assert not found.order.same_rows and not found.same
    [line] = found.since[1].lines()
    assert line.startswith("the data, or its tokenizer, is not that of step 4")


def test_another_machine_is_told(made):
    folder = changed(made, "machine")
    file = made / "machine" / "env.json"
    env = json.loads(file.read_text())
    env["versions"]["jax"], env["cores"] = "0.0.1", 99
    file.write_text(json.dumps(env))
    found = diff.diff(str(made / "a"), folder)
    assert set(found.environment) == {"jax", "cores"} and not found.config


def test_a_run_is_repeated_bit_for_bit(made, capsys):
    before = runs.sha(made / "a")
    out = runs.good(capsys, "reproduce", made / "a")
    assert re.search(r"4 values of 4 steps are the same, bit for bit", out)
    assert runs.sha(made / "a") == before  # the run itself is left alone
    out = runs.good(capsys, "reproduce", made / "a", "--steps=2")
    assert "2 values of 2 steps" in out


def test_a_run_that_comes_out_otherwise_says_where_and_what_changed(made, capsys):
    folder = changed(made, "other", optim__learning_rate=0.5)
    env = made / "other" / "env.json"
    env.write_text(env.read_text().replace('"cores": ', '"cores": 9'))
    out = runs.command(capsys, "reproduce", folder)
    assert out.code == 1
    assert re.search(
        r"loss of step 2 was [\d.]+ and is [\d.]+; 0 values are the same", out.out
    )
    assert re.search(r"cores: 9\d+ -> \d+", out.out)
    rate = r"config.json is not that of step 4: optim.learning_rate [\d.e-]+ -> 0.5"
    assert re.search(rate, out.out) and "fingerprint" not in out.out


def test_a_run_whose_data_was_edited_says_so(made, capsys):
    folder = retrained(made, "edited", lambda data: None)
    reword(made / "data-edited")
    out = runs.command(capsys, "reproduce", folder)
    assert out.code == 1 and "look at the code" not in out.out
    assert "the data, or its tokenizer, is not that of step 4: fingerprint" in out.out
    assert "config.json" not in out.out


def test_what_comes_out_otherwise_from_the_same_inputs_is_the_codes(made, capsys):
    folder = changed(made, "code")
    file = made / "code" / "metrics.jsonl"
    file.write_text(re.sub(r'"loss": \d', '"loss": 9', file.read_text()))
    out = runs.command(capsys, "reproduce", folder)
    assert out.code == 1 and "are the same: look at the code" in out.out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["diff", "a"], "two runs"),
        (["diff", "a", "none"], "none is not a work directory"),
        (["reproduce"], "one run"),
        (["reproduce", "none"], "none is not a work directory"),
        (["reproduce", "a", "--steps=1"], "the first step that was logged is 2"),
        (["reproduce", "a", "--steps=-1"], "at least 1"),
        (["reproduce", "a", "--step=1"], "did you mean --steps"),
    ],
)
def test_a_users_mistake_is_one_sentence(made, monkeypatch, capsys, argv, said):
    monkeypatch.chdir(made)
    out = runs.command(capsys, *argv)
    assert out.code == 2 and said in out.err and out.err.count("\n") == 1


def test_what_was_never_logged_cannot_be_repeated(made, tmp_path):
    folder = changed(made, "unlogged")
    (made / "unlogged" / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match="no logged steps"):
        reproduce.reproduce(folder)
