"""The files that runs read and that are cut or joined from the data sets, in RUNS/text."""

from __future__ import annotations

import gzip
import json
import pathlib
import random
import subprocess
from collections.abc import Iterable

from lmtasks import tokenizers
from lmtasks.data import readers

SPLITS = ("train", "validation", "test")
# WikiText-2's file of each split.
WIKI = dict(zip(SPLITS, ("train_from_valid", "validation_from_valid", "test_a")))
# Abstracts of SciTLDR's validation split that are used: all would be slow to score.
SCIENCE_VALIDATION = 150
# The types of the Broad Twitter Corpus that WNUT17 has, too.
BTC_TYPES = {"PER": "person", "LOC": "location"}


def write(data: pathlib.Path, runs: pathlib.Path) -> None:
    """Write all of them; what is there is written again, the same."""
    folder = runs / "text"
    for name in ("lm", "science", "science_sentences", "wnut17_btc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _shakespeare(data / "lm/tinyshakespeare/input.txt", folder)
    for split in SPLITS:
        _jsonl(folder / f"lm/{split}.jsonl", language(data / "lm", split))
        _jsonl(folder / f"science/{split}.jsonl", science(data, split))
        _jsonl(folder / f"science_sentences/{split}.jsonl", sentences(data, split))
    (folder / "wnut17_btc/train.conll").write_text(tweets(data / "ner"))
    if not (folder / "three_languages/tokenizer").exists():
        captions = three_languages(data / "translation/multi30k")
        found = tokenizers.train("bpe", captions, size=6000)
        found.save(folder / "three_languages/tokenizer")


def three_languages(folder: pathlib.Path) -> list[str]:
    """Return the training captions in English, German and French as prompts say them."""
    said = {}
    for code in ("en", "de", "fr"):
        with gzip.open(folder / f"train.{code}.gz", "rt") as lines:
            said[code] = [line.rstrip("\n") for line in lines]
    out = []
    for name, code in (("German", "de"), ("French", "fr")):
        out += [f"translate English to {name}: {text}" for text in said["en"]]
        out += said[code]
    return out


def filled(text: str, places: dict[str, str]) -> str:
    """Return the text with $DATA, $RUNS, ... replaced by what they stand for."""
    for mark, place in places.items():
        text = text.replace(mark, place)
    return text


def commit() -> str:
    """Return the short name of the commit that is checked out."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    here = pathlib.Path(__file__).parent
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=here
    )
    return found.stdout.strip()


def _jsonl(path: pathlib.Path, rows: Iterable[dict]) -> None:
    with open(path, "w") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def _shakespeare(path: pathlib.Path, folder: pathlib.Path) -> None:
    text = path.read_text()
    cut = int(0.9 * len(text))  # nanoGPT's split
    (folder / "shakespeare_train.txt").write_text(text[:cut])
    (folder / "shakespeare_tail.txt").write_text(text[cut:])


def language(folder: pathlib.Path, split: str) -> list[dict]:
    """Return WikiText-2's articles and C4's documents; the test is WikiText alone."""
    documents = articles((folder / f"wikitext2/{WIKI[split]}.txt").read_text())
    if split != "test":
        documents += [
            row["text"] for row in _rows(folder / f"c4_en_sample/{split}.jsonl.gz")
        ]
    return [{"text": document} for document in documents]


def _rows(path: pathlib.Path) -> list[dict]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


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


def science(data: pathlib.Path, split: str) -> list[dict]:
    """Return abstracts: Cranfield's, shuffled and cut 80/10/10, and SciTLDR's sources."""
    documents = cranfield((data / "retrieval/cranfield/cran.all.1400").read_text())
    random.Random(0).shuffle(documents)
    tenth = len(documents) // 10
    parts = {
        "train": documents[2 * tenth :],
        "validation": documents[:tenth],
        "test": documents[tenth : 2 * tenth],
    }
    sources = (" ".join(row["source"]) for row in _papers(data, split))
    return [{"text": text} for text in (*parts[split], *sources)]


def cranfield(text: str) -> list[str]:
    """Return the texts (.W, which begin with the title) that are not empty."""
    out = []
    for document in text.split("\n.I "):
        body = document.partition("\n.W\n")[2]
        if body.strip():
            out.append(" ".join(body.split()))
    return out


def _papers(data: pathlib.Path, split: str) -> list[dict]:
    rows = _rows(data / f"summarization/scitldr_a/{split}.jsonl.gz")
    return rows[:SCIENCE_VALIDATION] if split == "validation" else rows


def sentences(data: pathlib.Path, split: str) -> list[dict]:
    """Return two sentences of each SciTLDR abstract: the one to keep, another to drop.

    To keep is, by the data set's own labels, the one whose ROUGE against the reference
    summaries is best; the other is drawn. The test has also the abstracts of the
    official validation split that validation does not use.
    """
    papers = _papers(data, split)
    if split == "test":
        more = _rows(data / "summarization/scitldr_a/validation.jsonl.gz")
        papers += more[SCIENCE_VALIDATION:]
    rng, out = random.Random(0), []
    for paper in papers:
        labelled = zip(paper["source"], paper["source_labels"], strict=True)
        sides: dict[str, list[str]] = {"keep": [], "drop": []}
        for text, label in labelled:
            sides["keep" if label else "drop"] += [text] if text.strip() else []
        if all(sides.values()):
            picked = {label: rng.choice(found) for label, found in sides.items()}
            out += [{"text": text, "label": label} for label, text in picked.items()]
    return out


def tweets(folder: pathlib.Path) -> str:
    """Return WNUT17's training sentences and those of the Broad Twitter Corpus whose
    types WNUT17 has: with ORG, which may be a corporation or a group, none is taken.
    """
    out = _tagged(folder / "wnut17/train.conll")
    for section in "agh":
        for words, tags in _tagged(folder / f"btc/train_{section}.conll"):
            if not any("ORG" in tag for tag in tags):
                out.append((words, [_renamed(tag) for tag in tags]))
    lines = ("\n".join(map("\t".join, zip(*pair, strict=True))) for pair in out)
    return "".join(f"{sentence}\n\n" for sentence in lines)


def _tagged(path: pathlib.Path) -> list[tuple[list[str], list[str]]]:
    """Return (words, tags) of the sentences that are well formed."""
    rows = (row for _, row in readers.conll(str(path)))
    return [
        (row["words"], row["tags"]) for row in rows if not isinstance(row, readers.Bad)
    ]


def _renamed(tag: str) -> str:
    mark, _, kind = tag.partition("-")
    return f"{mark}-{BTC_TYPES.get(kind, kind)}" if kind else tag
