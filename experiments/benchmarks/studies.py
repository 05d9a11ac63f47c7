"""What studies cost beside their runs.

    python -m experiments.benchmarks.studies --workdir=DIR [--json=FILE]

On a machine that does nothing else:

bootstrap  10,000 paired resamples over 10,000 examples, BLEU of two systems, beside
           sacrebleu's own paired bootstrap of 1,000, times ten
report     the command `lmtasks report` over 100 scored runs
sweep      what a launcher adds to each of three tiny runs, beside the same three
           processes one after another
audit      the command `lmtasks audit` on 100 MB of text
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import sacrebleu
from sacrebleu import significance

from lmtasks.data import pydocs
from lmtasks.metrics import forms
from lmtasks.studies import scores
from lmtasks.studies import statistics

SWEEP = """
from lmtasks.studies import variants

def get_sweep():
    return variants.Sweep(
        config="own:classification",
        common={common!r},
        variants={{"a": {{}}}},
        seeds=(0, 1, 2),
    )
"""


def seconds(function) -> float:
    """Return the seconds of a call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def command(*argv) -> None:
    """Run `lmtasks ARGV` as a user does."""
    argv = [sys.executable, "-m", "lmtasks", *map(str, argv)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def bootstrap() -> dict:
    """Return the seconds of resampling BLEU, ours and sacrebleu's."""
    rng, words = np.random.default_rng(0), [f"w{i}" for i in range(300)]
    gold = [rng.choice(words, rng.integers(5, 30)) for _ in range(10_000)]

    def system(share):
        out = []
        for one in gold:
            swap = rng.random(len(one)) < share
            out.append(" ".join(np.where(swap, rng.choice(words, len(one)), one)))
        return out

    said, references = [system(0.3), system(0.32)], [[" ".join(g) for g in gold]]
    bleu = sacrebleu.BLEU(references=references)
    rows = [
        np.array(sacrebleu.BLEU()._extract_corpus_statistics(s, references), float)
        for s in said
    ]
    ours = [
        seconds(lambda: statistics.bootstrap(rows, "bleu", 10_000)) for _ in range(3)
    ]
    test = significance.PairedTest(
        [("a", said[0]), ("b", said[1])], {"BLEU": bleu}, None, "bs", n_samples=1000
    )
    return {"bootstrap_s": min(ours), "sacrebleu_s": 10 * seconds(test)}


def report(folder: pathlib.Path) -> dict:
    """Return the seconds of a report over 100 runs of 872 examples."""
    root, rng = folder / "hundred", np.random.default_rng(0)
    shutil.rmtree(root, ignore_errors=True)
    for variant in range(25):
        for seed in range(4):
            one = root / f"v{variant}-{seed}"
            one.mkdir(parents=True)
            config = {"seed": seed, "task": "sst2", "model": {"width": variant}}
            config["train"] = {"steps": 2000}
            (one / "config.json").write_text(json.dumps(config))
            (one / "params.txt").write_text("total  1,000\n")
            rows = [
                {"step": s, "split": split, "loss": 1 / (1 + s), "accuracy": 0.5}
                for s in range(0, 2000, 20)
                for split in ("train", "validation")
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (one / "metrics.jsonl").write_text(text)
            right = rng.random(872) < 0.7 + variant / 200
            pairs = [(float(x), 1.0) for x in right]
            losses = [(float(x), 1.0) for x in rng.exponential(0.5, 872)]
            parts = {
                "accuracy": forms.Sums("ratio", pairs),
                "loss": forms.Sums("ratio", losses),
            }
            examples = [
                {"id": str(i), "text": f"text {i}", "target": "a", "said": "b",
                 "fields": {"length": i % 30}}
                for i in range(872)
            ]  # fmt: skip
            found = scores.Scores("sst2", "validation", 2000, parts, examples)
            scores.write(str(one), found)
    spent = [seconds(lambda: command("report", root, "--html")) for _ in range(2)]
    return {"report_s": min(spent)}


def sweep(folder: pathlib.Path) -> dict:
    """Return the seconds a launcher adds to a run."""
    data = folder / "reviews"
    data.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        rows = [
            f"film {i} was {'fine' if i % 2 else 'dull'},{i % 2}" for i in range(40)
        ]
        (data / f"{split}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    common = {"data.dir": str(data), "tokenizer.kind": "byte", "train.steps": 10, "optim.warmup_steps": 2,
              "model.width": 16, "model.layers": 1, "data.length": 32}  # fmt: skip
    file = folder / "sweep.py"
    file.write_text(SWEEP.format(common=common))

    def launched(root):
        shutil.rmtree(root, ignore_errors=True)
        command("sweep", file, f"--workdir={root}")

    def alone(root):
        shutil.rmtree(root, ignore_errors=True)
        for i in range(3):
            command("sweep", file, f"--workdir={root}", f"--only={i}")

    launched(folder / "warm")
    spent = [
        (seconds(lambda: launched(folder / "a")), seconds(lambda: alone(folder / "b")))
        for _ in range(3)
    ]
    a, b = np.median(spent, axis=0)
    return {"sweep_overhead_s": float(a - b) / 3, "sweep_run_s": float(b) / 3}


def audit(folder: pathlib.Path) -> dict:
    """Return the seconds of an audit of 100 MB."""
    data, rng = folder / "text", np.random.default_rng(0)
    data.mkdir(parents=True, exist_ok=True)
    texts = [one["text"] for one in pydocs.records("train", 0)]
    words = " ".join(texts).split()
    size, lines = 0, []
    while size < 100_000_000:
        at = int(rng.integers(len(words) - 400))
        part = words[at : at + 400]
        part[int(rng.integers(400))] = f"x{len(lines)}"
        lines.append(json.dumps({"text": " ".join(part)}))
        size += len(lines[-1])
    (data / "train.jsonl").write_text("\n".join(lines[:-1000]) + "\n")
    (data / "validation.jsonl").write_text("\n".join(lines[-1000:]) + "\n")
    argv = ["audit", "--config=own:text", f"--config.data.dir={data}"]
    argv += ["--config.tokenizer.kind=byte"]
    return {"audit_s": seconds(lambda: command(*argv)), "audit_mb": size / 1e6}


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    given.workdir.mkdir(parents=True, exist_ok=True)
    row = bootstrap()
    print(row, flush=True)
    row |= report(given.workdir) | sweep(given.workdir)
    print(row, flush=True)
    row |= audit(given.workdir)
    for name, value in row.items():
        print(f"{name:18} {value:8.2f}")
    if given.json:
        with open(given.json, "a") as out:
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
