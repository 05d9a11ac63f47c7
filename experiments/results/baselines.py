"""What a person would try first, on the data of the tables: no network, minutes at most.

    python experiments/results/baselines.py sst2 --data=DIR
    python experiments/results/baselines.py all --data=DIR

majority: the most frequent class of the training split. bag-of-words: TF-IDF of words
and word pairs and logistic regression, C chosen on validation; of two texts each side
has its own TF-IDF, beside five numbers on what they share (`shared`). tfidf-cosine:
5 times the cosine of the two texts' TF-IDF. most-frequent-tag: of each word in the
training split, of all words for an unknown one. first-sentence and best-sentence
answer with a whole sentence, the first or the one that shares most words with the
question; -or-none answers nothing below a number of shared words, chosen on
validation. unigram: each piece by its frequency (`mlm`, which needs the tokenizer of
RUNS/mlm-0). Appends to FAMILY.jsonl the rows that are not there.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import math
import pathlib
import time
from collections.abc import Callable
from collections.abc import Iterator

import guesses
import numpy as np
import table
import texts

from lmtasks import tokenizers
from lmtasks.data import sources

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Case:
    """A task on its data: $DATA/folder or $RUNS/folder, with what is tried on it."""

    name: str
    task: str
    folder: str
    tries: tuple[Callable[[guesses.Data], guesses.Guess], ...]
    limit: int = 0
    train: str = ""


CLASSES = (guesses.majority, guesses.bag_of_words)
TAGS = (guesses.most_frequent_tag,)
SENTENCES = (guesses.first_sentence, guesses.best_sentence)
CASES = (
    Case("sst2", "sst2", "$DATA/sentiment/sst2", CLASSES),
    Case("ag_news", "ag_news", "$DATA/text_classification/ag_news", CLASSES),
    Case("banking77", "banking77", "$DATA/text_classification/banking77", CLASSES),
    *(
        Case(
            f"banking77-{n}", "banking77", "$DATA/text_classification/banking77",
            (guesses.bag_of_words,), limit=n,
        )
        for n in (50, 200, 1000)
    ),
    Case("sick", "sick", "$DATA/nli/sick", CLASSES),
    Case("rte", "rte", "$DATA/nli/rte", CLASSES),
    Case("science", "classification", "$RUNS/text/science_sentences", CLASSES),
    Case("sts", "sts", "$DATA/sts/semeval", (guesses.tfidf_cosine,)),
    Case("ewt", "ud_ewt", "$DATA/pos/ud_english_ewt", TAGS),
    Case("wnut17", "wnut17", "$DATA/ner/wnut17", TAGS),
    Case(
        "wnut17-btc", "wnut17", "$DATA/ner/wnut17", TAGS,
        train="$RUNS/text/wnut17_btc/train.conll",
    ),
    Case("xquad", "xquad", "$DATA/extractive_qa/xquad_en", SENTENCES),
    Case(
        "subjqa", "subjqa", "$DATA/extractive_qa/subjqa",
        (guesses.no_answer, *SENTENCES, guesses.best_sentence_or_none),
    ),
    Case("adversarial_qa", "adversarial_qa", "$DATA/extractive_qa/adversarial_qa",
         SENTENCES),
)  # fmt: skip


def rows_of(case: Case, task, data: guesses.Data) -> Iterator[dict]:
    """Yield the row of each baseline, scored by the task's own metrics."""
    for attempt in case.tries:
        started = time.perf_counter()
        guess = attempt(data)
        metrics: dict = {"split": "test"}
        for metric in task.metrics:
            metrics |= metric(guess.said, data["test"])
        yield {
            "run": f"{case.name}-{guess.name}",
            "config": guess.about,
            "metrics": metrics | guess.numbers,
            "wall_seconds": round(time.perf_counter() - started, 1),
        }


def read(case: Case, task, places: dict[str, str]) -> guesses.Data:
    """Return the examples of all splits; malformed records are left out, counted."""
    files = {"train": texts.filled(case.train, places)} if case.train else {}
    folder = texts.filled(case.folder, places)
    data = {}
    for split in texts.SPLITS:
        limit = case.limit if split == "train" else 0
        options = sources.DataOptions(
            dir=folder, files=files, on_error="skip", limit=limit
        )
        records = sources.open_split(task.source, split, options, task.example)
        if records.skipped:
            print(f"{case.name}, {split}: {records.skipped} malformed records left out")
        data[split] = [task.example(records[i]) for i in range(len(records))]
    return data


def unigram(runs: pathlib.Path) -> Iterator[dict]:
    """Yield the row of guessing pieces by their frequency in training, plus one."""
    tokenizer = tokenizers.load(str(runs / "mlm-0" / "tokenizer"))
    started, counts = time.perf_counter(), {}
    for split in ("train", "test"):
        lines = (runs / f"text/lm/{split}.jsonl").read_text().splitlines()
        documents = [json.loads(line)["text"] for line in lines]
        ids = np.concatenate([np.array(i) for i in tokenizer.encode_batch(documents)])
        counts[split] = np.bincount(ids, minlength=tokenizer.size)
    share = (counts["train"] + 1) / (counts["train"] + 1).sum()
    weights = counts["test"] / counts["test"].sum()
    loss = -float(weights @ np.log(share))
    metrics = {"split": "test", "loss": loss, "perplexity": math.exp(loss)}
    yield {
        "run": "mlm-unigram",
        "config": "each piece by its frequency in training, plus one",
        "metrics": metrics | {"accuracy": float(weights[np.argmax(share)])},
        "wall_seconds": round(time.perf_counter() - started, 1),
    }


def record(family: str, rows: Iterator[dict]) -> None:
    """Append the rows that FAMILY.jsonl lacks, with the command."""
    path = HERE / f"{family}.jsonl"
    there = path.read_text().splitlines() if path.exists() else []
    known = {json.loads(line)["run"] for line in there}
    command = f"python experiments/results/baselines.py {family} --data=$DATA"
    command += " --runs=$RUNS" if family == "mlm" else ""
    for row in rows:
        row |= {"command": command, "machine": "CPU", "commit": texts.commit()}
        shown = {k: v for k, v in row["metrics"].items() if k != "split"}
        print(row["run"], shown, flush=True)
        if row["run"] not in known:
            with open(path, "a") as out:
                out.write(json.dumps(row) + "\n")
            table.write()


def main() -> None:
    """Run the baselines of a family, or of all."""
    families = sorted({case.name.partition("-")[0] for case in CASES})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("family", choices=[*families, "mlm", "all"])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument(
        "--runs", type=pathlib.Path, default=pathlib.Path("runs/results")
    )
    given = parser.parse_args()
    data, runs = given.data.absolute(), given.runs.absolute()
    texts.write(data, runs)
    if given.family == "mlm":
        record("mlm", unigram(runs))
    places = {"$DATA": str(data), "$RUNS": str(runs)}
    for case in CASES:
        family = case.name.partition("-")[0]
        if given.family in (family, "all"):
            task = importlib.import_module(f"lmtasks.tasks.{case.task}").TASK
            record(family, rows_of(case, task, read(case, task, places)))


if __name__ == "__main__":
    main()
