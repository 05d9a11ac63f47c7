"""Runs compared on the same examples: grouped by seed, paired, corrected, shown."""

import json
import re

import numpy as np
import pytest
import runs

from lmtasks.data import examples
from lmtasks.metrics import forms
from lmtasks.studies import compare
from lmtasks.studies import groups
from lmtasks.studies import recording
from lmtasks.studies import remarks
from lmtasks.studies import runner
from lmtasks.studies import scores

COUNT = 120


def fake(
    folder,
    right,
    *,
    seed=0,
    task="sst2",
    width=16,
    first=0,
    split="validation",
    step=100,
):
    """Write a work directory whose run has these answers right, bool[n]."""
    folder.mkdir(parents=True)
    config = {"seed": seed, "task": task, "model": {"width": width}}
    config["train"] = {"steps": 100}
    (folder / "config.json").write_text(json.dumps(config))
    label = ["good" if i % 3 else "bad" for i in range(len(right))]
    other = {"good": "bad", "bad": "good"}
    said = [a if ok else other[a] for a, ok in zip(label, right, strict=True)]
    rows = [
        {
            "id": f"{first + i:016}", "text": f"film {i}", "target": a, "said": b,
            "fields": {"label": a, "length": i % 40, "source": f"s{i % 2}"},
        }
        for i, (a, b) in enumerate(zip(label, said, strict=True))
    ]  # fmt: skip
    parts = {
        "accuracy": forms.Sums("ratio", [(float(ok), 1.0) for ok in right]),
        "mcc": forms.Sums("mcc", list(zip(label, said, strict=True))),
        "loss": forms.Sums("ratio", [(1.0 - float(ok), 1.0) for ok in right]),
    }
    scores.write(str(folder), scores.Scores(task, split, step, parts, rows))
    return str(folder)


def answers(share, seed=0):
    return np.random.default_rng(seed).random(COUNT) < share


def test_seeds_of_one_config_are_one_system(tmp_path):
    folders = [fake(tmp_path / f"a-{s}", answers(0.6, s), seed=s) for s in (1, 0)]
    folders += [
        fake(tmp_path / f"b-{s}", answers(0.9, s), seed=s, width=32) for s in (0, 1)
    ]
    a, b = compare.systems(folders, "validation")
    assert (a.name, a.seeds, b.name, b.seeds) == ("a", (0, 1), "b", (0, 1))
    assert a.folders == (folders[1], folders[0])
    np.testing.assert_allclose(
        a.values("accuracy"), [answers(0.6, 0).mean(), answers(0.6, 1).mean()]
    )
    rows = compare.table([a, b], ["accuracy", "loss"], count=1000)
    assert [row.verdict for row in rows] != ["no difference shown"] * 2
    accuracy, loss = rows
    assert accuracy.paired.difference == pytest.approx(-loss.paired.difference)
    assert accuracy.holm >= accuracy.paired.p
    apart = compare.systems(folders, "validation", apart=True)
    assert [len(one.seeds) for one in apart] == [1] * 4


def test_what_is_less_is_better_for_a_loss(tmp_path):
    folders = [
        fake(tmp_path / "a", answers(0.4)),
        fake(tmp_path / "b", answers(0.9), width=32),
    ]
    found = compare.systems(folders, "validation")
    rows = compare.table(found, ["accuracy", "mcc", "loss"], count=500)
    assert [row.verdict for row in rows] == ["better"] * 3
    back = compare.table(found[::-1], ["accuracy", "loss"], count=500)
    assert [row.verdict for row in back] == ["worse"] * 2


def test_recipes_that_vary_over_seeds_are_not_called_different(tmp_path):
    shares = {"a": (0.5, 0.9, 0.7), "b": (0.95, 0.6, 0.9)}
    folders = [
        fake(tmp_path / f"{n}-{s}", answers(share, s), seed=s, width=len(n) + ord(n))
        for n, each in shares.items()
        for s, share in enumerate(each)
    ]
    [row] = compare.table(
        compare.systems(folders, "validation"), ["accuracy"], count=1000
    )
    assert row.paired.p < 0.05 < row.holm_seeds
    assert row.verdict == "these runs differ, the recipes are not shown to"


def test_runs_that_were_scored_before_their_end_are_named(tmp_path):
    folders = [fake(tmp_path / "a", answers(0.5))]
    folders.append(fake(tmp_path / "b", answers(0.9), width=32, step=60))
    (tmp_path / "b" / "metrics.jsonl").write_text('{"step": 80, "split": "train"}\n')
    found = compare.systems(folders, "validation")
    assert remarks.of(found) == [
        "b was scored at step 60 (seed 0, trained to 80) of 100",
        "not all was scored at the same part of its training: 60% to 100% of train.steps",
    ]
    assert remarks.of(found[:1]) == []


def test_the_verb_says_that_unlike_seeds_are_not_paired(tmp_path, capsys):
    folders = [fake(tmp_path / f"a-{s}", answers(0.5, s), seed=s) for s in (0, 1, 2)]
    folders += [
        fake(tmp_path / f"b-{s}", answers(0.9, s), seed=s, width=32) for s in (0, 1)
    ]
    flags = "--resamples=100", f"--json={tmp_path}/out.json"
    out = runs.good(capsys, "compare", *folders, *flags)
    assert "B lacks seed 2." in out and "Seeds are not paired between a and b" in out
    assert len(json.loads((tmp_path / "out.json").read_text())["notes"]) == 2
    spread = np.std([answers(0.5, s).mean() for s in (0, 1, 2)], ddof=1)
    assert f"+- {spread:.4f}" in out
    out = runs.good(capsys, "compare", *folders[:2], *folders[3:], *flags)
    assert "lacks" not in out and "not paired" not in out


def test_groups_are_values_or_quarters(tmp_path):
    one = compare.scores.read(fake(tmp_path / "a", answers(0.5)), "validation")
    assert {k: len(v) for k, v in groups.of(one, "label").items()} == {
        "bad": 40, "good": 80,
    }  # fmt: skip
    quarters = groups.of(one, "length")
    assert list(quarters) == ["0 to 9", "10 to 19", "20 to 29", "30 to 39"]
    assert sorted(np.concatenate(list(quarters.values()))) == list(range(COUNT))


def test_groups_of_fractions_are_quarters_too(tmp_path):
    one = compare.scores.read(fake(tmp_path / "a", answers(0.5)), "validation")
    for i, example in enumerate(one.examples):
        example["fields"]["score"] = None if i < 8 else (i - 64) / 4
    found = groups.of(one, "score")
    assert {name: len(who) for name, who in found.items()} == {
        "-14 to -7.25": 28, "-7 to -0.25": 28, "0 to 6.75": 28, "7 to 13.75": 28,
        "none": 8,
    }  # fmt: skip
    for i, example in enumerate(one.examples):
        example["fields"]["score"] = (0.5, -1.0, 10.0)[i % 3]
    assert list(groups.of(one, "score")) == ["-1.0", "0.5", "10.0"]


def test_fields_of_a_record_are_kept_to_group_by():
    record = {"text": "x" * 50, "stars": 3, "share": 0.25, "none": float("nan"),
              "site": "here", "list": [1], "yes": True}  # fmt: skip
    kept = recording._example(record, examples.Labelled("two words", "a"), None)
    assert kept["fields"] == {
        "stars": 3, "share": 0.25, "site": "here", "yes": True, "label": "a",
        "length": 2,
    }  # fmt: skip


def test_the_verb_by_a_field_of_the_records(tmp_path, capsys):
    a = fake(tmp_path / "a", answers(0.5, 1))
    b = fake(tmp_path / "b", answers(0.9, 2), width=32)
    out = runs.good(capsys, "compare", a, b, "--resamples=100", "--by=source")
    assert "s0 (60): b - a" in out and "s1 (60): b - a" in out


def test_the_verb_says_it_all(tmp_path, capsys):
    a = fake(tmp_path / "a", answers(0.5, 1))
    b = fake(tmp_path / "b", answers(0.9, 2), width=32)
    out = runs.good(
        capsys, "compare", a, b, "--resamples=500", "--by=label", "--changed=1",
        f"--json={tmp_path}/out.json",
    )  # fmt: skip
    assert "120 examples of sst2 validation" in out and "McNemar" in out
    assert "better" in out and "good (80): b - a" in out
    assert "accuracy higher with b than with a" in out and "'film" in out
    assert "smallest difference" in out
    written = json.loads((tmp_path / "out.json").read_text())
    assert [s["name"] for s in written["systems"]] == ["a", "b"]
    gained = [c for c in written["changed"]["b"] if c["gain"] > 0]
    both = answers(0.9, 2) & ~answers(0.5, 1)
    assert len(gained) == both.sum()
    assert f"with a: {both.sum()} examples" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "two runs or more"),
        (["a"], "two runs or more"),
        (["a", "none"], "none is not a work directory"),
        (["a", "unscored"], "run lmtasks eval --workdir=unscored --split=validation"),
        (["a", "other"], "scored on different examples.* 0 in common"),
        (["a", "fewer"], "120 of sst2 validation, 60 of sst2 validation, 60 in common"),
        (
            ["a", "task"],
            "on sst2 validation and task on rte validation: scores of diff",
        ),
        (["a", "edited"], "is not what lmtasks eval wrote .*edited by hand"),
        (["a", "config"], "config/config.json is not what the run wrote; put it back"),
        (["a", "a"], "named twice"),
        (["a", "copy"], "the same config with the same seed 0"),
        (["a", "seed1"], "all these runs are seeds of one config"),
        (["a", "b", "--metrics=acuracy"], "'acuracy' is no score.*accuracy"),
        (["a", "b", "--metrics=spearman"], "ranks are of all .*; compare pearson"),
        (["a", "b", "--by=lenght"], "did you mean 'length'"),
        (["a", "b", "--by=task"], "no short field"),
        (["a", "b", "--changed=1", "--metrics=mcc"], "of all together"),
        (["a", "b", "--resamples=10"], "at least 100"),
        (["a", "b", "--split=test"], "no scores of test yet"),
        (["a", "broken"], "is not what lmtasks eval wrote"),
        (["a", "b", "--bye=label"], "did you mean --by"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    made = {
        "a": {}, "copy": {}, "b": {"width": 32}, "seed1": {"seed": 1},
        "other": {"width": 32, "first": 500, "task": "rte"},
        "task": {"width": 32, "task": "rte"}, "edited": {"width": 32},
        "config": {"width": 32},
    }  # fmt: skip
    for name, options in made.items():
        fake(tmp_path / name, answers(0.5), **options)
    fake(tmp_path / "fewer", answers(0.5)[:60], width=32)
    edited = tmp_path / "edited" / "scores-validation.jsonl"
    edited.write_text(
        edited.read_text().replace('"accuracy": [0.0', '"accuracy": [1.0')
    )
    done = {"config": runner.mark(tmp_path / "config"), "seconds": 1}
    (tmp_path / "config" / "done.json").write_text(json.dumps(done))
    config = tmp_path / "config" / "config.json"
    config.write_text(config.read_text().replace('"width": 32', '"width": 64'))
    for name in ("unscored", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "broken" / "scores-validation.jsonl").write_text('{"task": "x"}\n')
    found = runs.command(capsys, "compare", *flags)
    assert found.code == 2 and found.err.count("\n") == 1
    assert re.search(said, found.err), found.err


def test_a_run_is_scored_and_compared(tmp_path, capsys):
    folder = runs.data(tmp_path / "data")
    for name, width in (("a", 16), ("b", 32)):
        argv = runs.classify(folder, tmp_path / name, model__width=width)
        runs.good(capsys, *argv)
        runs.good(capsys, "eval", f"--workdir={tmp_path / name}")
    one = scores.read(str(tmp_path / "a"), "validation")
    assert next(iter(one.parts)) == "accuracy" and len(one.examples) == 10
    last = json.loads((tmp_path / "a" / "eval.jsonl").read_text().splitlines()[-1])
    for name in ("accuracy", "loss", "token_accuracy", "f1_macro"):
        [rows] = forms.arrays([one.parts[name]])
        value = forms.score(one.parts[name].form, rows.sum(0))
        assert float(value) == pytest.approx(last[name], rel=1e-5), name
    out = runs.good(
        capsys, "compare", f"{tmp_path}/a", f"{tmp_path}/b", "--resamples=200"
    )
    assert "10 examples of classification validation" in out


def test_texts_are_compared_by_perplexity(tmp_path, capsys):
    run = ["train", "--config=quickstart"] + [
        f"--config.{key}={value}" for key, value in runs.TINY.items()
    ]
    for name, seed in (("a", 0), ("b", 1)):
        runs.good(
            capsys, *run, f"--workdir={tmp_path / name}", "--config.data.limit=3",
            "--config.eval.limit=3", f"--config.seed={seed}",
        )  # fmt: skip
        runs.good(capsys, "eval", f"--workdir={tmp_path / name}")
    one = scores.read(str(tmp_path / "a"), "validation")
    last = json.loads((tmp_path / "a" / "eval.jsonl").read_text().splitlines()[-1])
    [rows] = forms.arrays([one.parts["perplexity"]])
    assert len(rows) == 3
    assert float(forms.score("perplexity", rows.sum(0))) == pytest.approx(
        last["perplexity"], rel=1e-4
    )
