"""Run a family of runs on real data and record one json line per run.

    python experiments/results/run.py sst2 --data=DIR --runs=runs/results

DIR is the folder with the data sets (`sentiment/sst2`, `text_classification/ag_news`,
`lm/...`). A row that is already in FAMILY.jsonl is skipped; `--only=RUN,...` are the only
ones that are run; `--again=RUN` repeats one and compares its metrics with the recorded
ones, bit for bit. The runs of understanding.py need that of the family `mlm` in the same
--runs; `all` is all of them, in an order that can be run.
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

import table
import texts
import understanding
import writing

HERE = pathlib.Path(__file__).parent
# Pages of 2 MB for the buffers of a step change no number; see the README, Numbers.
PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
SEEDS = (0, 1, 2)
FAMILIES = (
    "shakespeare",
    "lm",
    "stories",
    *understanding.FAMILIES,
    *writing.FAMILIES,
)


def runs_of(family: str) -> dict[str, dict]:
    """Return {run: {config, train, eval}}: arguments with $DATA and $RUNS in them.

    Instead of "train" a run may have "import", or "of", the work directory it scores.
    "tune" is a metric of validation that the test's arguments have as $TUNED.
    """
    found = understanding.runs_of(family) if family in understanding.FAMILIES else {}
    if family == "sst2":
        folder, kinds = "sentiment/sst2", ("encoder", "decoder", "encoder_decoder")
        tuned = {
            f"sst2-{kind}-{seed}": _run(f"sst2:{kind}", folder, seed)
            for kind in kinds
            for seed in SEEDS
        }
        return tuned | found
    if family == "ag_news":
        folder = "text_classification/ag_news"
        return {f"ag_news-{s}": _run("ag_news", folder, s) for s in SEEDS} | found
    if family == "shakespeare":
        return {f"shakespeare-{s}": _shakespeare(s) for s in SEEDS}
    if family == "lm":
        return {"lm-0": _lm(0)}
    if family == "stories":
        return _stories()
    if family in writing.FAMILIES:
        return writing.runs_of(family)
    if not found:
        raise SystemExit(f"no family {family!r}; there are {', '.join(FAMILIES)}")
    return found


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


def run(name: str, about: dict, places: dict[str, str], work: pathlib.Path) -> dict:
    """Train (or import) and evaluate one run in the folder `work`; return its row."""
    commands = commands_of(name, about)
    places = {f"$RUNS/{name}": str(work), **places}
    scored = pathlib.Path(texts.filled(about.get("of", str(work)), places))
    seconds, tuned = [], {}
    for command in commands:
        real = [texts.filled(part, places) for part in command]
        started = time.perf_counter()
        with open(f"{work}.log", "a+") as log:
            begun = log.tell()
            subprocess.run(
                [sys.executable, "-m", "lmtasks", *real],
                check=True,
                stdout=log,
                env=PAGES | os.environ,
            )
            log.seek(begun)
            if "preempted: saved step" in log.read():
                raise SystemExit(f"{name} was asked to stop; run again to go on")
        seconds.append(round(time.perf_counter() - started, 1))
        if "tune" in about and "--split=validation" in command:
            tuned = {"tuned": _metrics(scored)[about["tune"]]}
            places["$TUNED"] = repr(tuned["tuned"])
    return {
        "run": name,
        "config": about["config"],
        "command": " && ".join("lmtasks " + " ".join(c) for c in commands),
        "metrics": _metrics(scored) | tuned,
        "wall_seconds": seconds[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "commit": texts.commit(),
    }


def commands_of(name: str, about: dict) -> list[list[str]]:
    """Return the arguments of `lmtasks` that make up a run.

    A run "of" another one's work directory evaluates that.
    """
    own = f"--workdir=$RUNS/{name}"
    folder = f"--workdir={about['of']}" if "of" in about else own
    out = []
    if "import" in about:
        out.append(["import", own, *about["import"]])
    elif "of" not in about:
        out.append(["train", f"--config={about['config']}", own, *about["train"]])
    if "tune" in about:
        out.append(["eval", folder, "--split=validation", "--step=best"])
    if about["eval"]:
        out.append(["eval", folder, *about["eval"]])
    return out


def _metrics(folder: pathlib.Path) -> dict:
    tested = folder / "eval.jsonl"
    if tested.exists():
        return json.loads(tested.read_text().splitlines()[-1])
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == "validation"][-1]


def _rows(path: pathlib.Path) -> list[dict]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def main() -> None:
    """Run what is missing of a family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument(
        "--runs", type=pathlib.Path, default=pathlib.Path("runs/results")
    )
    parser.add_argument("--again", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path("."))
    given = parser.parse_args()
    data, runs = given.data.absolute(), given.runs.absolute()
    intents = json.loads(
        (data / "text_classification/banking77/categories.json").read_text()
    )
    places = {
        "$DATA": str(data),
        "$RUNS": str(runs),
        "$WEIGHTS": str(given.weights.absolute()),
        "$INTENTS": ",".join(intents),
    }
    (runs / "again").mkdir(parents=True, exist_ok=True)
    texts.write(data, runs)
    families = understanding.FAMILIES if given.family == "all" else [given.family]
    only = given.only.split(",") if given.only else []
    known = [name for family in families for name in runs_of(family)]
    for name in filter(None, [*only, given.again]):
        if name not in known:
            raise SystemExit(
                f"no run {name!r} in {given.family}; it has {', '.join(known)}"
            )
    for family in families:
        _missing(family, given.again, only, places, runs)


def _missing(
    family: str, again: str, only: list[str], places: dict, runs: pathlib.Path
) -> None:
    """Run and record what FAMILY.jsonl lacks, or only some of it, or repeat a run."""
    path = HERE / f"{family}.jsonl"
    recorded = {row["run"]: row["metrics"] for row in _rows(path)}
    for name, about in runs_of(family).items():
        if again and name == again:
            row = run(name, about, places, runs / "again" / name)
            same = row["metrics"] == recorded.get(name)
            print(f"{name}: {'equal, bit for bit' if same else 'DIFFERENT'}", row)
        elif not again and name not in recorded and (not only or name in only):
            row = run(name, about, places, runs / name)
            with open(path, "a") as out:
                out.write(json.dumps(row) + "\n")
            table.write()
            print(name, row["wall_seconds"], "s", row["metrics"], flush=True)


if __name__ == "__main__":
    main()
