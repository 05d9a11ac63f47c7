"""Data looked at before it is trained on: planted leaks and duplicates are all found."""

import dataclasses
import json

import numpy as np
import pytest
import runs

from lmtasks import builder
from lmtasks import schema
from lmtasks.studies import audit
from lmtasks.studies import texts as hashed

WORDS = [f"word{i}" for i in range(500)]


def text(rng, size=30):
    return " ".join(rng.choice(WORDS, size))


def write(folder, **splits):
    folder.mkdir(exist_ok=True)
    for split, rows in splits.items():
        runs.write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


def run_of(folder, task="classification", **changes):
    c = schema.load(f"own:{task}")
    keys = runs.TINY | {"data.dir": folder, "tokenizer.kind": "byte", "data.length": 96}
    keys |= {key.replace("__", "."): value for key, value in changes.items()}
    for key, value in keys.items():
        schema.override(c, key, str(value))
    return builder.build(c)


def test_planted_leaks_and_duplicates_are_all_found(tmp_path):
    rng = np.random.default_rng(0)
    train = [{"text": text(rng), "label": "ab"[i % 2]} for i in range(200)]
    clean = [{"text": text(rng), "label": "a"} for _ in range(40)]
    whole = [
        {"text": train[i]["text"].upper() + "!", "label": "a"} for i in (3, 50, 120)
    ]
    part = [
        {
            "text": " ".join([*train[i]["text"].split()[:15], text(rng, 40)]),
            "label": "b",
        }
        for i in (7, 9)
    ]
    short = " ".join(train[11]["text"].split()[:12])  # twelve words are no leak
    near = [{"text": short + " " + text(rng, 20), "label": "b"}]
    again = [{**train[5], "label": "a"}, train[8], train[8]]
    folder = write(
        tmp_path / "data",
        train=[*train, *again],
        validation=[*clean, *whole, *part, *near],
    )
    found = audit.audit(run_of(folder))
    [leaks] = found.overlaps
    assert (leaks.same, leaks.any, leaks.most) == (3, 5, 3)
    # Of 3, 50 and 120, all called "a", the two even ones are "a" in training too.
    assert leaks.answers == 2
    assert leaks.places[0] == (
        f"{folder}/validation.jsonl:41",
        f"{folder}/train.jsonl:4",
    )
    twice = {one.split: one for one in found.repeats}
    assert (twice["train"].extra, twice["train"].conflicts) == (3, 1)
    assert twice["train"].answers == 2  # of train[8]; train[5] is "b"
    assert twice["validation"].extra == 0
    assert twice["train"].place == (
        f"{folder}/train.jsonl:6",
        f"{folder}/train.jsonl:201",
    )
    assert found.labels["train"] == [("a", 103), ("b", 100)]


def test_short_texts_are_compared_whole(tmp_path):
    train = [{"text": f"film {i} was fine", "label": "ab"[i % 2]} for i in range(20)]
    other = [
        {"text": "Film 3 was fine.", "label": "a"},
        {"text": "film 3 was", "label": "b"},
    ]
    found = audit.audit(run_of(write(tmp_path / "data", train=train, validation=other)))
    assert (found.overlaps[0].same, found.overlaps[0].any) == (1, 1)


def test_what_is_cut_and_empty_is_counted(tmp_path):
    rows = [{"text": "x" * n, "label": "b"} for n in (10, 50, 200, 300)] + [
        {"text": "", "label": "a"}
    ]
    found = audit.audit(
        run_of(write(tmp_path / "data", train=rows, validation=rows[:1]))
    )
    train = found.sizes[0]
    assert (train.examples, train.cut, train.empty, train.whole) == (5, 2, 1, True)
    assert train.longest == 96 and train.lost >= 200 + 300 - 2 * 96


def test_answers_that_are_cut_are_counted_apart(tmp_path, capsys):
    def turns(asked, said):
        return {"messages": [{"role": "user", "content": "q" * asked},
                             {"role": "assistant", "content": "r" * said}]}  # fmt: skip

    rows = [turns(10, 10), turns(200, 10), turns(10, 200), turns(200, 200)]
    folder = write(tmp_path / "data", train=rows, validation=rows[:1])
    train, held_out = audit.audit(run_of(folder, "chat,decoder")).sizes
    assert (train.cut, train.answers) == (3, 2)
    assert (held_out.cut, held_out.answers) == (0, 0)


def test_tags_and_several_labels_are_counted_one_by_one(tmp_path):
    tagged = [{"words": ["a", "b"], "tags": ["X", "O"]}] * 3 + [
        {"words": ["c"], "tags": ["O"]}
    ]
    folder = write(tmp_path / "tags", train=tagged, validation=tagged[:1])
    found = audit.audit(run_of(folder, "tagging"))
    assert found.labels["train"] == [("O", 4), ("X", 3)]
    several = [("a", "b"), ("b",), ()]
    texts = dataclasses.replace(
        hashed.read("train", [], str), labels=several, whole=np.zeros(3)
    )
    assert audit.balance(texts) == [("b", 2), ("a", 1), ("none", 1)]


def test_the_parts_of_a_mixture_are_audited_one_by_one(tmp_path, capsys):
    argv = ["audit", "--config=quickstart"]
    argv += [f"--config.{key}={value}" for key, value in runs.TINY.items()]
    argv += ["--config.task=mixture", "--config.objective=generate",
             "--config.mix.tasks=('toy_labelled','toy_turns')",
             "--config.data.limit=30", "--config.tokenizer.kind=byte",
             "--config.eval.xz=False", "--config.eval.ngram=0"]  # fmt: skip
    out = runs.good(capsys, *argv, f"--json={tmp_path}/out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    names = [one["split"] for one in found["sizes"]]
    assert names[0] == "toy_labelled train" and "toy_turns validation" in names
    assert [one["split"] for one in found["repeats"]] == names
    leaks = [one["split"] for one in found["overlaps"]]
    assert leaks == [name for name in names if not name.endswith("train")]
    assert "toy_turns validation and toy_turns train: " in out and "rate 0." in out


def test_of_much_text_a_part_is_tokenized_and_that_is_said(
    tmp_path, monkeypatch, capsys
):
    rng = np.random.default_rng(0)
    rows = [{"text": text(rng), "label": "ab"[i % 2]} for i in range(100)]
    folder = write(tmp_path / "data", train=rows, validation=rows[:5])
    whole = audit.audit(run_of(folder)).sizes[0]
    monkeypatch.setattr(audit, "WHOLE", 5000)
    found = audit.audit(run_of(folder))
    assert not found.sizes[0].whole and found.sizes[0].examples < 50
    assert found.sizes[0].tokens == pytest.approx(whole.tokens, rel=0.05)
    assert found.overlaps[0].same == 5 and found.feed == ""


def test_the_verb_tells_and_writes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [{"text": text(rng), "label": "ab"[i % 2]} for i in range(30)]
    folder = write(tmp_path / "data", train=rows, validation=rows[:3])
    argv = runs.classify(folder)[1:]
    out = runs.good(capsys, "audit", *argv, f"--json={tmp_path}/out.json")
    assert "validation and train: 3 (100.0%) texts stand in both, 3 with the s" in out
    assert "train labels: a 15 (50.0%), b 15 (50.0%)" in out and "epochs" in out
    assert json.loads((tmp_path / "out.json").read_text())["overlaps"][0]["same"] == 3
    refused = runs.command(capsys, "audit", *argv, "--ngram=1")
    assert refused.code == 2 and "at least 2" in refused.err
