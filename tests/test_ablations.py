"""The studies under experiments/ablations are what their files say."""

import json
import pathlib

import numpy as np
import pytest

from lmtasks.studies import variants

ROOT = pathlib.Path(__file__).parents[1] / "experiments" / "ablations"
STUDIES = sorted(path.parent.name for path in ROOT.glob("*/sweep.py"))


@pytest.fixture(autouse=True)
def data(monkeypatch):
    for name in ("DATA", "WEIGHTS", "MLM"):
        monkeypatch.setenv(name, f"/somewhere/{name.lower()}")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_runs_three_seeds_and_an_entry(name):
    sweep = variants.load(str(ROOT / name))
    runs = variants.runs_of(sweep)
    assert len(runs) == len(sweep.variants) * len(sweep.seeds)
    # What is not trained has no seed.
    assert len(sweep.seeds) == (3 if sweep.trained else 1)
    assert f"({name}/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_the_figures_of_a_table_are_those_of_its_runs(name):
    lines = (ROOT / name / "results.jsonl").read_text().splitlines()
    rows = list(map(json.loads, lines))
    text = (ROOT / name / "README.md").read_text()
    sweep = variants.load(str(ROOT / name))
    assert [(r["variant"], r["seed"]) for r in rows] == [
        (variant, seed) for variant in sweep.variants for seed in sweep.seeds
    ]
    lines = {
        line.split(" | ")[0][2:]: line for line in text.splitlines() if line[:2] == "| "
    }
    head = lines["variant"].split(" | ")
    for variant in sweep.variants:
        cells = dict(zip(head, lines[variant].split(" | "), strict=True))
        shown = [metric for metric in rows[0]["scores"] if metric in cells]
        assert shown
        for metric in shown:
            values = [r["scores"][metric] for r in rows if r["variant"] == variant]
            wanted = f"{np.mean(values):.4f}"
            if len(values) > 1:
                wanted += f" \N{PLUS-MINUS SIGN} {np.std(values, ddof=1):.4f}"
            assert cells[metric] == wanted
    assert "**Answer.**" in text
    for row in rows:
        verb = "train" if sweep.trained else "import"
        assert row["command"].startswith(f"lmtasks {verb} ")
        assert f"--config.seed={row['seed']}" in row["command"]
