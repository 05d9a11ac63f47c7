"""Run a family of runs on real data and record one json line per run.

    python experiments/results/run.py sst2 --data=DIR --runs=runs/results

DIR is the folder with the data sets (`sentiment/sst2`, `text_classification/ag_news`,
`lm/...`). A row that is already in FAMILY.jsonl is skipped; `--again=RUN` repeats one and
compares its metrics with the recorded ones, bit for bit. Settings were chosen on
validation; the test split is read once, by the command that is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
SEEDS = (0, 1, 2)


def runs_of(family: str) -> dict[str, dict]:
    """Return {run: {config, train, eval}}: arguments with $DATA and $RUNS in them."""
    if family == "sst2":
        folder, kinds = "sentiment/sst2", ("encoder", "decoder", "encoder_decoder")
        return {
            f"sst2-{kind}-{seed}": _run(f"sst2:{kind}", folder, seed)
            for kind in kinds
            for seed in SEEDS
        }
    if family == "ag_news":
        folder = "text_classification/ag_news"
        return {f"ag_news-{s}": _run("ag_news", folder, s) for s in SEEDS}
    if family == "shakespeare":
        return {f"shakespeare-{s}": _shakespeare(s) for s in SEEDS}
    if family == "lm":
        return {"lm-0": _lm(0)}
    if family == "stories":
        return _stories()
    raise SystemExit(f"no family {family!r}: sst2, ag_news, shakespeare, lm, stories")


def _run(config: str, folder: str, seed: int) -> dict:
    train = [f"--config.data.dir=$DATA/{folder}", f"--config.seed={seed}"]
    return {"config": config, "train": train, "eval": ["--split=test", "--step=best"]}


def _shakespeare(seed: int) -> dict:
    files = "--config.data.files"
    train = [
        f"{files}.train=$RUNS/text/shakespeare_train.txt",
        f"{files}.validation=$RUNS/text/shakespeare_tail.txt",
        f"--config.seed={seed}",
    ]
    return {"config": "tiny_shakespeare", "train": train, "eval": []}


def _lm(seed: int) -> dict:
    train = ["--config.data.dir=$RUNS/text/lm", f"--config.seed={seed}"]
    return {"config": "wikitext2", "train": train, "eval": ["--split=test"]}


def _stories() -> dict[str, dict]:
    """Return runs that start from a pretrained model: as it is, tuned whole, and tuned
    by adapters of every projection. One setting each, not searched for.
    """
    text = ["--config.data.dir=$DATA/lm/tinyshakespeare", "--config.data.length=256"]
    tune = [
        "--config.architecture=decoder",
        "--config.init=$WEIGHTS",
        *text,
        "--config.train.steps=200",
        "--config.train.batch_size=16",
        "--config.eval.every=100",
        "--config.decode.samples=0",
    ]
    lora = ["--config.lora.rank=8", "--config.lora.targets=('attn/.*','mlp/.*')"]
    rate = "--config.optim.learning_rate="
    test = ["--split=test"]
    best = [*test, "--step=best"]
    config = "own:tiny_shakespeare"
    return {
        "stories-as-it-is": {
            "import": ["--from=$WEIGHTS", f"--config={config}", *tune[:1], *text],
            "config": config, "train": [], "eval": test,
        },
        "stories-whole": {
            "config": config, "train": [*tune, f"{rate}2e-3"], "eval": best,
        },
        "stories-lora": {
            "config": config, "train": [*tune, *lora, f"{rate}1e-2"], "eval": best,
        },
    }  # fmt: skip


def write_texts(data: pathlib.Path, runs: pathlib.Path) -> None:
    """Write the cut texts the language-model runs read."""
    text = (data / "lm/tinyshakespeare/input.txt").read_text()
    folder = runs / "text"
    (folder / "lm").mkdir(parents=True, exist_ok=True)
    cut = int(0.9 * len(text))  # nanoGPT's split
    (folder / "shakespeare_train.txt").write_text(text[:cut])
    (folder / "shakespeare_tail.txt").write_text(text[cut:])
    import gzip

    wiki = data / "lm/wikitext2"
    for split, name in (("train", "train_from_valid"), ("validation", "validation_from_valid"), ("test", "test_a")):  # fmt: skip
        documents = articles((wiki / f"{name}.txt").read_text())
        if split != "test":
            with gzip.open(data / f"lm/c4_en_sample/{split}.jsonl.gz", "rt") as lines:
                documents += [json.loads(line)["text"] for line in lines]
        with open(folder / "lm" / f"{split}.jsonl", "w") as out:
            out.writelines(json.dumps({"text": d}) + "\n" for d in documents)


def articles(text: str) -> list[str]:
    """Return the articles of a WikiText file: cut before each ` = Title = ` line."""
    out: list[list[str]] = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        title = len(words) > 2 and words[0] == words[-1] == "=" and words[1] != "="
        if title or not out:
            out.append([])
        out[-1].append(line)
    return ["".join(lines) for lines in out if "".join(lines).strip()]


def run(name: str, about: dict, places: dict[str, str], runs: pathlib.Path) -> dict:
    """Train (or import) and evaluate one run; return its row."""
    places = {**places, "$RUNS": str(runs)}
    folder = runs / name
    train = ["train", f"--config={about['config']}", f"--workdir=$RUNS/{name}"]
    commands = [train + about["train"]]
    if "import" in about:
        commands = [["import", f"--workdir=$RUNS/{name}", *about["import"]]]
    if about["eval"]:
        commands.append(["eval", f"--workdir=$RUNS/{name}", *about["eval"]])
    seconds = []
    for command in commands:
        real = [_filled(part, places) for part in command]
        started = time.perf_counter()
        with open(runs / f"{name}.log", "a") as log:
            subprocess.run(
                [sys.executable, "-m", "lmtasks", *real], check=True, stdout=log
            )
        seconds.append(round(time.perf_counter() - started, 1))
    return {
        "run": name,
        "config": about["config"],
        "command": " && ".join("lmtasks " + " ".join(c) for c in commands),
        "metrics": _metrics(folder),
        "wall_seconds": seconds[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "commit": _commit(),
    }


def _filled(text: str, places: dict[str, str]) -> str:
    for mark, place in places.items():
        text = text.replace(mark, place)
    return text


def _metrics(folder: pathlib.Path) -> dict:
    tested = folder / "eval.jsonl"
    if tested.exists():
        return json.loads(tested.read_text().splitlines()[-1])
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == "validation"][-1]


def _rows(path: pathlib.Path) -> list[dict]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=HERE
    )
    return found.stdout.strip()


def main() -> None:
    """Run what is missing of a family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument(
        "--runs", type=pathlib.Path, default=pathlib.Path("runs/results")
    )
    parser.add_argument("--again", default="")
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path("."))
    given = parser.parse_args()
    data, runs = given.data.absolute(), given.runs.absolute()
    places = {"$DATA": str(data), "$WEIGHTS": str(given.weights.absolute())}
    runs.mkdir(parents=True, exist_ok=True)
    write_texts(data, runs)
    path = HERE / f"{given.family}.jsonl"
    done = _rows(path)
    recorded = {row["run"]: row["metrics"] for row in done}
    for name, about in runs_of(given.family).items():
        if given.again and name == given.again:
            row = run(name, about, places, runs / "again")
            same = row["metrics"] == recorded.get(name)
            print(f"{name}: {'equal, bit for bit' if same else 'DIFFERENT'}", row)
        elif not given.again and name not in recorded:
            row = run(name, about, places, runs)
            with open(path, "a") as out:
                out.write(json.dumps(row) + "\n")
            print(name, row["wall_seconds"], "s", row["metrics"], flush=True)


if __name__ == "__main__":
    main()
