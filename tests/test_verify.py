"""A run trained on NLI classifies by any labels and verifies answers."""

import dataclasses
import doctest
import json
import re

import numpy as np
import pytest
import runs

import lmtasks
from lmtasks import zero_shot
from lmtasks.data import examples
from lmtasks.data import sentences

SOURCE = "The bridge opened in 1931. It is made of steel. Cars use it. Ships pass."


# Sentences.


def test_the_docstring_examples_are_true():
    found = doctest.testmod(sentences)
    assert found.attempted == 2 and not found.failed


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It cost 3.5 m. (Really?) Yes.", ["It cost 3.5 m. (Really?)", "Yes."]),
        (
            "See e.g. Fig. 2, by J. S. Bach. So!",
            ["See e.g. Fig. 2, by J. S. Bach.", "So!"],
        ),
        (
            "He said \u201cno.\u201d Then he left.",
            ["He said \u201cno.\u201d", "Then he left."],
        ),
        (
            "\u4f60\u597d\u3002\u518d\u89c1\u3002",
            ["\u4f60\u597d\u3002", "\u518d\u89c1\u3002"],
        ),
        ("A title\n\nA text\nthat goes on.", ["A title", "A text that goes on."]),
        ("iPhone sold. eBay too.", ["iPhone sold. eBay too."]),
        (" \n ", []),
    ],
)
def test_sentences_end_where_another_begins(text, wanted):
    assert sentences.split(text) == wanted


def test_items_of_a_list_are_sentences_of_their_own():
    text = "We need:\n- a rope\n2. a boat\nand time"
    assert sentences.split(text) == ["We need:", "- a rope", "2. a boat and time"]


def test_windows_are_all_runs_of_sentences():
    found = sentences.windows(SOURCE, 3)
    assert len(found) == 2 and found[0].endswith("Cars use it.")
    assert sentences.windows(SOURCE, 9) == [SOURCE]
    assert sentences.windows("", 2) == []
    with pytest.raises(ValueError, match="window=0 sentences must be at least 1"):
        sentences.windows(SOURCE, 0)


# Labels.


def test_the_relations_are_found_by_name_in_any_case_and_order():
    names = ("neutral", "Entailment", "CONTRADICTION")
    assert zero_shot.entailing(names) == 1
    assert zero_shot.contradicting(names) == 2
    rte = ("not_entailment", "entailment")
    assert zero_shot.entailing(rte) == 1 and zero_shot.contradicting(rte) == 0


def test_labels_without_the_relations_are_listed():
    with pytest.raises(ValueError, match="labels are bad, good; .*mnli, snli"):
        zero_shot.entailing(("bad", "good"))
    with pytest.raises(ValueError, match="entailment, neutral, odd; .*contradict"):
        zero_shot.contradicting(("entailment", "neutral", "odd"))


# A run whose logits are known.


class Says:
    """A loaded run; `logits` of a pair are those the words they share give."""

    def __init__(self, labels):
        task = dataclasses.make_dataclass("Task", ["labels"])(labels)
        self.run = dataclasses.make_dataclass("Run", ["task"])(task)


def words(text):
    """Return the words of a text in small letters."""
    return {word.strip(".,!?").casefold() for word in text.split()}


@pytest.fixture
def loaded(monkeypatch):
    """Return a run that finds entailed what shares most words."""

    def logits(loaded, pairs):
        out = []
        for premise, hypothesis in pairs:
            share = len(words(premise) & words(hypothesis)) / len(words(hypothesis))
            row = [4 * share, 1.0, 4 * (1 - share)]
            out.append(np.array(row) if premise.strip() else None)
        return out

    monkeypatch.setattr(zero_shot, "logits", logits)
    return Says(("ENTAILMENT", "neutral", "contradiction"))


def test_each_sentence_is_held_against_the_window_that_supports_it_most(loaded):
    answer = "The bridge opened in 1931. It is made of wood. Nobody knows."
    pairs = [(SOURCE, answer), (SOURCE, " "), ("", answer)]
    said, *empty = zero_shot.verify(loaded, pairs, window=2)
    assert empty == [None, None]
    first, second, third = said["sentences"]
    assert (
        first["text"] == "The bridge opened in 1931." and first["label"] == "ENTAILMENT"
    )
    assert first["window"] == "The bridge opened in 1931. It is made of steel."
    exact = np.exp([4, 1, 0]) / np.exp([4, 1, 0]).sum()
    assert first["support"] == pytest.approx(exact[0])
    assert 0.5 < second["support"] < first["support"]
    assert third["label"] == "contradiction" and third["support"] < 0.5
    each = [row["support"] for row in said["sentences"]]
    assert said["support"] == min(each)
    assert said["mean_support"] == pytest.approx(sum(each) / 3)
    json.dumps(said)


def test_answers_verified_together_are_as_verified_alone(loaded):
    pairs = [(SOURCE, "Cars use it. Ships pass."), ("Snow is white.", "Snow is black.")]
    together = zero_shot.verify(loaded, pairs)
    assert together == [zero_shot.verify(loaded, [pair])[0] for pair in pairs]
    assert zero_shot.verify(loaded, []) == []


def test_the_metric_is_the_mean_share_of_supported_sentences(loaded):
    turn = examples.Turn
    scored = [
        examples.Turns((turn("user", SOURCE), turn("assistant", "gold"))),
        examples.Span("what?", SOURCE, ()),
        examples.Turns((turn("system", "Be kind."), turn("user", SOURCE))),
        examples.Turns((turn("user", SOURCE),)),
    ]
    texts = ("Cars use it. Nobody knows.", "Ships pass.", "Be kind.", " ")
    metric = zero_shot.metric(loaded, window=2)
    found = metric([{"text": text} for text in texts], scored)
    assert found == {"entailment_support": pytest.approx(2.5 / 3), "unanswered": 1}
    with pytest.raises(ValueError, match="a Labelled has no source"):
        metric([{"text": "a"}], [examples.Labelled("a", "b")])


def test_labels_of_ones_own_are_scored_by_entailment(loaded):
    texts = ["a film about ships", " ", "a film about cars"]
    said = zero_shot.classify(
        loaded, texts, ["ships", "cars"], template="about {}", multi_label=False
    )
    assert said[1] is None and [said[i]["label"] for i in (0, 2)] == ["ships", "cars"]
    share = 1 / (1 + np.exp(2 - 4))
    assert said[0]["scores"] == pytest.approx({"ships": share, "cars": 1 - share})
    several = zero_shot.classify(
        loaded, texts[:1], ["ships", "cars"], template="about {}", multi_label=True
    )
    wanted = {"ships": 1 / (1 + np.exp(-4)), "cars": 0.5}
    assert several[0]["scores"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("labels", "template", "said"),
    [
        ([], "{}", "give at least one label"),
        (["a", " "], "{}", "none of them empty"),
        (["a", "a"], "{}", "given twice"),
        (["a"], "no place", "has to have one {}"),
        (["a"], "{} and {}", "has to have one {}"),
        (["a"], "{x} is {}", "has to have one {}"),
    ],
)
def test_labels_and_templates_that_cannot_work_are_refused(
    loaded, labels, template, said
):
    with pytest.raises(ValueError, match=said):
        zero_shot.classify(loaded, ["x"], labels, template=template)


# Real runs.

PAIRS = {
    "entailment": ("a dog runs", "a dog moves"),
    "neutral": ("a dog runs", "a dog is old"),
    "contradiction": ("a dog runs", "no dog runs"),
}


@pytest.fixture(scope="module", params=("encoder", "decoder"))
def work(request, tmp_path_factory):
    """Return the work directory of a tiny NLI run."""
    from lmtasks.cli import main

    folder = tmp_path_factory.mktemp("nli")
    rows = [{"text": a, "pair": b, "label": k} for k, (a, b) in PAIRS.items()] * 4
    for split in ("train", "validation"):
        runs.write_jsonl(folder / f"{split}.jsonl", rows)
    spec = f"--config=own:pairs,{request.param}"
    flags = runs.settings(
        data__dir=folder, tokenizer__kind="byte", data__length=96, train__steps=2
    )
    assert main.main(["train", spec, f"--workdir={folder / 'work'}", *flags]) == 0
    return folder / "work"


def test_a_run_verifies_a_file_and_shows_it_to_a_person(work, capsys, tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"source": "A dog runs. It is old.", "answer": "A dog moves. No cat runs."},
        {"source": "", "answer": "A dog."},
    ]
    runs.write_jsonl(path, rows)
    out = runs.good(capsys, "verify", f"--workdir={work}", f"--input={path}")
    said, empty = map(json.loads, out.splitlines())
    assert empty == {"error": "no text"}
    assert [row["text"] for row in said["sentences"]] == [
        "A dog moves.",
        "No cat runs.",
    ]
    for row in said["sentences"]:
        assert row["label"] in PAIRS and 0 <= row["support"] <= 1
        assert row["window"] == rows[0]["source"]
    assert said["support"] <= said["mean_support"]
    flags = ("--format=text", "--window=1")
    shown = runs.good(capsys, "verify", f"--workdir={work}", f"--input={path}", *flags)
    assert "A dog moves." in shown and "no text" in shown and "support" in shown


def test_support_is_what_predict_says_of_the_pair(work):
    loaded = lmtasks.load(str(work))
    source, answer = "a dog runs", "a dog moves"
    (said,) = zero_shot.verify(loaded, [(source, answer)])
    (direct,) = lmtasks.predict(loaded, [examples.Labelled(source, None, answer)])
    (row,) = said["sentences"]
    assert row["support"] == pytest.approx(direct["scores"]["entailment"], rel=1e-4)
    assert row["label"] == direct["label"]
    labels = ["dogs", "cats"]
    (found,) = zero_shot.classify(loaded, [source], labels, multi_label=True)
    for label in labels:
        pair = examples.Labelled(source, None, zero_shot.TEMPLATE.format(label))
        (direct,) = lmtasks.predict(loaded, [pair])
        odds = direct["scores"]["entailment"], direct["scores"]["contradiction"]
        assert found["scores"][label] == pytest.approx(odds[0] / sum(odds), rel=1e-4)


@pytest.mark.parametrize(
    ("row", "flags", "said"),
    [
        ({"source": "a"}, (), ':1: a row needs "source" and "answer".*it has source'),
        ({"source": "a", "answer": 3}, (), ':1: a row needs "source" and "answer"'),
        (
            {"source": "a", "answer": "b"},
            ("--window=0",),
            "--window='0' takes a number",
        ),
        ({"source": "a", "answer": "b"}, ("--format=xml",), "--format.*jsonl, text"),
    ],
)
def test_a_wrong_row_or_flag_is_named(work, capsys, tmp_path, row, flags, said):
    path = tmp_path / "rows.jsonl"
    runs.write_jsonl(path, [row])
    found = runs.command(
        capsys, "verify", f"--workdir={work}", f"--input={path}", *flags
    )
    assert found.code == 2 and found.err.count("\n") == 1
    assert re.search(said, found.err), found.err


def test_a_run_that_relates_no_texts_is_refused(work):
    loaded = lmtasks.load(str(work))
    task = dataclasses.replace(loaded.run.task, labels=("bad", "good"))
    other = dataclasses.replace(loaded, run=dataclasses.replace(loaded.run, task=task))
    with pytest.raises(ValueError, match="labels are bad, good; .*trained on NLI"):
        zero_shot.verify(other, [("a", "b")])
    loaded.run.config.objective = "generate"
    with pytest.raises(ValueError, match="'generate' gives no class to a pair"):
        zero_shot.logits(loaded, [("a", "b")])


# As a metric of `eval`.


def test_eval_says_how_much_of_what_is_written_a_verifier_supports(
    work, capsys, tmp_path
):
    rows = [{"source": source, "target": "a dog moves"} for source, _ in PAIRS.values()]
    for split in ("train", "validation"):
        runs.write_jsonl(tmp_path / f"{split}.jsonl", rows)
    flags = runs.settings(
        data__dir=tmp_path, tokenizer__kind="byte", data__length=64, train__steps=2
    )
    writer = tmp_path / "writer"
    flags = ["--config=own:seq2seq,decoder", f"--workdir={writer}", *flags]
    runs.good(capsys, "train", *flags)
    plain = runs.good(capsys, "eval", f"--workdir={writer}")
    assert "entailment_support" not in plain
    runs.good(capsys, "eval", f"--workdir={writer}", f"--verifier={work}")
    *_, found = map(json.loads, (writer / "eval.jsonl").read_text().splitlines())
    said = (writer / "predictions-validation.jsonl").read_text().splitlines()
    pairs = [
        (row["source"], json.loads(one)["text"])
        for row, one in zip(rows, said, strict=True)
    ]
    by_hand = zero_shot.verify(lmtasks.load(str(work)), pairs)
    shares = [
        np.mean([row["support"] > 0.5 for row in one["sentences"]])
        for one in by_hand
        if one
    ]
    wanted = sum(shares) / max(len(shares), 1)
    assert found["entailment_support"] == pytest.approx(wanted)
    assert found["unanswered"] == len(rows) - len(shares)
    wrong = runs.command(capsys, "eval", f"--workdir={writer}", f"--verifier={writer}")
    assert wrong.code == 2 and "the run's labels are none" in wrong.err
    flags = (f"--verifier={work}", "--config.eval.predict=False")
    mute = runs.command(capsys, "eval", f"--workdir={writer}", *flags)
    assert mute.code == 2 and "leave config.eval.predict=True" in mute.err


def test_eval_refuses_a_verifier_that_has_nothing_to_verify(work, capsys):
    found = runs.command(capsys, "eval", f"--workdir={work}", f"--verifier={work}")
    assert found.code == 2 and "answers, summaries or replies" in found.err


def test_eval_says_what_a_verifier_does_not_go_with(work, capsys):
    flags = (f"--workdir={work}", f"--verifier={work}")
    found = runs.command(capsys, "eval", "--suite=glue", *flags)
    assert found.code == 2 and "leave them or --suite out" in found.err
