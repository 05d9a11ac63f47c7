"""A study's table as text, Markdown, LaTeX and a page; what is missing is named."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import runs
import test_compare
from matplotlib import image

from lmtasks.metrics import forms
from lmtasks.studies import report
from lmtasks.studies import scores


def study(root, *, lacking=()):
    """Write two systems of three seeds, with curves and costs."""
    rng = np.random.default_rng(0)
    for name, share, width in (("plain", 0.6, 16), ("wide", 0.9, 32)):
        for seed in range(3):
            if (name, seed) in lacking:
                continue
            folder = root / f"{name}-{seed}"
            right = rng.random(test_compare.COUNT) < share
            test_compare.fake(folder, right, seed=seed, width=width)
            rows = []
            for step in (10, 20):
                rows.append({
                    "step": step, "split": "train", "loss": 2 / step, "tokens": 1000,
                    "tokens_per_s": 500.0, "tflops": 0.25 * width,
                })  # fmt: skip
                rows.append({
                    "step": step, "split": "validation", "loss": 3 / step + 0.01 * seed,
                    "accuracy": share * step / 20,
                })  # fmt: skip
            (folder / "metrics.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in rows)
            )
            (folder / "params.txt").write_text(f"a  1x2\ntotal  {width:,}000\n")
            (folder / "command.txt").write_text(f"lmtasks train --workdir={folder}\n")
    return root


def test_a_system_a_row_with_scores_costs_and_what_differs(tmp_path):
    found = report.read(str(study(tmp_path)), "validation", count=1000)
    assert [one.name for one in found.systems] == ["plain", "wide"]
    assert found.keys == ["model.width"] and found.metrics == ["accuracy", "loss"]
    head, (first, second) = report.header(found), report.lines(found)
    cells = dict(zip(head, second, strict=True))
    assert cells["model.width"] == "32" and cells["parameters"] == "32,000"
    assert cells["verdict"] == "better" and "+-" not in cells["accuracy"]
    assert cells["Mtokens"] == "0.002" and cells["TFLOPs"] == "16"
    assert cells["seconds"] == "4.0"
    assert first[head.index("verdict")] == "compared with"
    other = report.read(str(tmp_path), "validation", baseline="wide", count=1000)
    assert [one.name for one in other.systems] == ["wide", "plain"]
    assert "worse" in report.lines(other)[1]


def test_missing_seeds_and_unfinished_runs_are_named(tmp_path):
    root = study(tmp_path, lacking=[("wide", 2)])
    (root / "wide-2").mkdir()
    (root / "wide-2" / "config.json").write_text('{"seed": 2}')
    found = report.read(str(root), "validation", count=500)
    assert "wide lacks seed 2" in found.notes
    assert "wide-2 is not scored on validation (waiting), left out" in found.notes
    assert "Wide lacks seed 2." in report.facts(found)


def test_the_commands_score_the_step_of_the_table(tmp_path):
    """Of a sweep they name no folder of this machine."""
    folder = study(tmp_path, lacking=[("wide", 1), ("wide", 2)]) / "wide-0"
    command = "lmtasks train --config=x --workdir=runs/wide-0 --config.seed=0"
    plan = {"command": command, "step": "best", "index": 0}
    (folder / "sweep.json").write_text(json.dumps(plan))
    one = scores.read(str(folder), "validation")
    scores.write(str(folder), dataclasses.replace(one, step=60))
    found = report.read(str(tmp_path), "validation", count=100)
    said = "lmtasks eval --workdir=runs/wide-0 --split=validation --step="
    assert f"{said}best" in found.evaluations and command in found.commands
    (folder / "sweep.json").write_text(json.dumps(plan | {"step": "newest"}))
    found = report.read(str(tmp_path), "validation", count=100)
    assert f"{said}60" in found.evaluations
    assert "wide-0 was scored at step 60 (seed 0) of 100" in found.notes


@pytest.mark.parametrize("ending", ["md", "html", "tex", "jsonl"])
def test_it_is_written_as_its_ending_says(tmp_path, capsys, ending):
    root, to = study(tmp_path / "runs"), tmp_path / "out" / f"report.{ending}"
    out = runs.good(capsys, "report", str(root), f"--to={to}", "--resamples=500")
    assert out.splitlines()[-1] == str(to) and "wide" in out
    text = to.read_text()
    if ending == "md":
        assert (to.parent / "curves.png").stat().st_size > 5000
        assert text.count("lmtasks train --workdir=") == 6
        each = rf"train --workdir={root}/wide-1\nlmtasks eval --workdir={root}/wide-1 "
        assert re.search(f"{each}--split=validation\n", text)
        assert re.search(r"\| wide \| 32 \| 3 \| 32,000 \|", text)
    if ending == "html":
        assert text.count("<svg") == 2 and 'class="better"' in text
        assert "http" not in re.sub(r'xmlns[:\w]*="[^"]*"|<!DOCTYPE[^>]*>', "", text)
        assert "higher for" in text and "film" in text and "<script>" in text
    if ending == "tex":
        assert "\\toprule" in text and "model.width" in text and "$\\pm$" in text
        assert text.count("\\\\\n") == 3
    if ending == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        assert [row["seed"] for row in rows] == [0, 1, 2] * 2
        assert rows[5]["config"] == {"model.width": 32}
        assert (
            0.8 < rows[5]["scores"]["accuracy"] < 1 and rows[5]["cost"]["tflops"] == 16
        )


def test_a_run_scored_by_one_metric_more_has_it_in_its_own_row(tmp_path, capsys):
    root, to = study(tmp_path / "runs"), tmp_path / "rows.jsonl"
    one = scores.read(str(root / "wide-1"), "validation")
    more = one.parts | {"chrf": forms.Sums("ratio", [[1.0, 2.0]] * len(one.examples))}
    scores.write(str(root / "wide-1"), dataclasses.replace(one, parts=more))
    runs.good(capsys, "report", str(root), f"--to={to}", "--resamples=200")
    found = [json.loads(line)["scores"] for line in to.read_text().splitlines()]
    assert [row.get("chrf") for row in found] == [None] * 4 + [0.5, None]


def test_texts_in_a_page_are_escaped(tmp_path, capsys):
    root = study(tmp_path / "runs")
    for folder in root.iterdir():
        one = scores.read(str(folder), "validation")
        for example in one.examples:
            example["text"] = example["text"].replace("film", "<b>film & co")
        scores.write(str(folder), one)
    runs.good(capsys, "report", str(root), "--html", "--resamples=200")
    text = (root / "report.html").read_text()
    assert "<b>film" not in text and "&lt;b&gt;film &amp; co" in text


def test_one_system_alone_is_shown_without_comparisons(tmp_path, capsys):
    root = study(tmp_path, lacking=[("wide", s) for s in range(3)])
    out = runs.good(capsys, "report", str(root), f"--to={tmp_path}/r.md")
    assert "verdict" not in out and "plain" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["empty"], "holds no work directories"),
        (["."], "one folder"),
        (["runs", "--to=x.doc"], "ends in none of .md"),
        (["runs", "--baseline=none"], "is none of plain, wide"),
        (["runs", "--split=test"], "none of the 6 runs of runs is scored on test"),
        (["runs", "--metrics=accurcy"], "'accurcy' is no score"),
        (["runs", "--resamples=1"], "at least 100"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    study(tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    argv = flags if flags != ["."] else []
    out = runs.command(capsys, "report", *argv)
    assert out.code == 2 and said in out.err and out.err.count("\n") == 1


@pytest.mark.slow
def test_chromium_shows_a_page_and_sorts_its_table(tmp_path, capsys):
    """pip install PyQt6 PyQt6-WebEngine; pytest -m slow tests/test_report.py"""
    pytest.importorskip("PyQt6.QtWebEngineWidgets", reason="no Chromium is installed")
    root = study(tmp_path / "runs")
    runs.good(capsys, "report", str(root), "--html", "--resamples=200")
    page, picture = root / "report.html", tmp_path / "page.png"
    script = pathlib.Path(__file__).with_name("browse.py")
    argv = [sys.executable, str(script), str(page), str(picture), "accuracy"]
    found = subprocess.run(
        argv, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["said"] == [] and told["title"].endswith("validation")
    assert told["before"] == ["plain", "wide"]
    assert told["after"] == ["wide", "plain"]  # the largest first
    assert len(told["svg"]) == 2 and min(told["svg"]) > 200
    pixels = 255 * image.imread(picture)[..., :3].reshape(-1, 3)
    # The two systems' colours of the curves are among them.
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (np.abs(pixels - np.array(colour)).max(1) < 8).sum() > 50
