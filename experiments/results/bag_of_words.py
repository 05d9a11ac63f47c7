"""The baseline of the classification tables: TF-IDF and logistic regression.

    python experiments/results/bag_of_words.py sst2 --data=DIR

Words and word pairs, C chosen on validation, the test split read once (scikit-learn).
Appends a row to FAMILY.jsonl unless it is there.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time

from sklearn import feature_extraction
from sklearn import linear_model

from lmtasks.data import sources
from lmtasks.tasks import ag_news
from lmtasks.tasks import sst2

HERE = pathlib.Path(__file__).parent
TASKS = {
    "sst2": (sst2.TASK, "sentiment/sst2"),
    "ag_news": (ag_news.TASK, "text_classification/ag_news"),
}


def read(task, folder: pathlib.Path, split: str) -> tuple[list[str], list[str]]:
    """Return the texts and labels of a split."""
    records = sources.open_split(
        task.source, split, sources.DataOptions(dir=str(folder))
    )
    rows = [task.example(records[i]) for i in range(len(records))]
    return [row.text for row in rows], [row.label for row in rows]


def main() -> None:
    """Fit for each C, choose on validation, test once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=TASKS)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    given = parser.parse_args()
    task, place = TASKS[given.family]
    started = time.perf_counter()
    texts, labels = read(task, given.data / place, "train")
    features = feature_extraction.text.TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True
    )
    x = features.fit_transform(texts)
    held, truth = read(task, given.data / place, "validation")
    scored = []
    for c in (0.1, 0.3, 1, 3, 10, 30, 100):
        model = linear_model.LogisticRegression(C=c, max_iter=2000).fit(x, labels)
        scored.append((model.score(features.transform(held), truth), -c, model))
    best = max(scored, key=lambda row: row[:2])
    tests, truth = read(task, given.data / place, "test")
    row = {
        "run": f"{given.family}-bag-of-words",
        "config": f"TF-IDF 1-2-grams, logistic regression, C={-best[1]:g}",
        "command": f"python experiments/results/bag_of_words.py {given.family} --data=$DATA",
        "metrics": {
            "split": "test",
            "accuracy": best[2].score(features.transform(tests), truth),
            "validation_accuracy": best[0],
        },
        "wall_seconds": round(time.perf_counter() - started, 1),
        "machine": "CPU",
        "commit": "",
    }
    path = HERE / f"{given.family}.jsonl"
    there = path.read_text() if path.exists() else ""
    if row["run"] not in there:
        path.write_text(there + json.dumps(row) + "\n")
    print(row)


if __name__ == "__main__":
    main()
