"""Sentences that make a summary: the best ones, baselines, the task, the scores."""

import itertools

import pytest
import runs

from lmtasks import api
from lmtasks.data import examples
from lmtasks.metrics import extract
from lmtasks.metrics import generation
from lmtasks.tasks import extractive_summary
from lmtasks.tasks import scitldr
from lmtasks.tasks import scitldr_sentences

DOCUMENT = (
    "The cat sat on the red mat.",
    "Dogs bark at night.",
    "The mat was red and the cat was black.",
    "Nothing else happened.",
)


def test_the_oracle_takes_what_adds_to_the_overlap_and_stops():
    assert extract.oracle(DOCUMENT, "Dogs bark.") == [1]
    assert extract.oracle(DOCUMENT, "The cat sat on the mat. Dogs bark at night.") == [
        0,
        1,
    ]
    assert extract.oracle(DOCUMENT, "zebra") == []
    assert extract.oracle(DOCUMENT, " ".join(DOCUMENT), most=2) == [0, 2]


def test_the_oracle_is_at_least_as_good_as_each_sentence_alone():
    aim = "A black cat sat on a mat while dogs bark."
    chosen = " ".join(DOCUMENT[i] for i in extract.oracle(DOCUMENT, aim))

    def score(text):
        turns = examples.Turns((), (aim,))
        found = generation.rouge([{"text": text}], [turns])
        return found["rouge1"] + found["rouge2"]

    assert all(score(chosen) >= score(one) for one in DOCUMENT)
    pairs = itertools.combinations(DOCUMENT, 2)
    assert score(chosen) >= 0.9 * max(score(" ".join(pair)) for pair in pairs)


def test_textrank_takes_what_others_repeat():
    assert extract.textrank(DOCUMENT, 2) == [0, 2]
    assert extract.textrank(DOCUMENT, 9) == [0, 1, 2, 3]
    assert extract.textrank(("only one",), 1) == [0]
    assert extract.textrank((), 1) == []
    assert extract.textrank(("a b", "c d"), 1) == [0]  # nothing shared: the first


def test_what_tags_keep_is_the_summary_in_order():
    example = examples.Sentences(DOCUMENT, summaries=("x",))
    said = {"tags": ["drop", "keep", "keep", "drop"], "scores": [0.9, 0.6, 0.7, 0.8]}
    assert extract.summary(said, example)["text"] == f"{DOCUMENT[1]} {DOCUMENT[2]}"
    none = {"tags": ["drop"] * 4, "scores": [0.9, 0.8, 0.55, 0.7]}
    assert extract.summary(none, example)["text"] == DOCUMENT[2]


def test_the_oracle_of_several_summaries_is_that_of_the_one_it_is_most_like():
    far, near = "A zebra barks.", DOCUMENT[2]
    assert extract.closest(DOCUMENT, (far, near), 1) == [2]
    assert extract.closest(DOCUMENT, (near, far), 1) == [2]
    turns = [examples.Turns((), (far, near), fields={"text": " ".join(DOCUMENT)})]
    found = extract.baselines([{"text": ""}], turns)
    assert found["oracle_rouge1"] == 1 > found["lead_rouge1"]


def test_labels_are_given_or_those_of_the_oracle():
    example = extractive_summary.example
    text = {"text": " ".join(DOCUMENT), "summary": "Dogs bark."}
    assert example(text).tags == ("drop", "keep", "drop", "drop")
    given = {"sentences": [*DOCUMENT, " "], "summary": "x", "labels": [1, 0, 0, 1, 0]}
    assert example(given).tags == ("keep", "drop", "drop", "keep")
    assert example({"text": "One. Two."}).tags == ()
    with pytest.raises(ValueError, match="labels and no summary"):
        example({"sentences": DOCUMENT, "labels": [1, 0, 0, 0]})
    with pytest.raises(ValueError, match="4 sentences have 1 labels"):
        example({"sentences": DOCUMENT, "summary": "x", "labels": [1]})


def test_an_encoder_learns_and_chooses_sentences(tmp_path):
    loaded = runs.untrained("scitldr_sentences", "encoder", data__length=64)
    example = scitldr_sentences.example(scitldr_sentences.TASK.samples[0])
    run = loaded.run
    row = run.objective.featurize(example, run.tokenizer)[0]
    assert row["weights"].sum() == 2  # one for each sentence
    said = api.predict(loaded, [example])[0]
    assert said["text"] in (*example.words, " ".join(example.words))
    bare = examples.Sentences(example.words)
    assert api.predict(loaded, [bare])[0]["text"] == said["text"]
    raw = api.read_input(examples.Tagged, run.task, {"text": "We study bees. Yes."})
    assert raw.words == ("We study bees.", "Yes.")
    assert extract.rouge([said], [example])["rouge1"] > 0


def test_baselines_choose_from_the_document_of_either_kind():
    record = scitldr.TASK.samples[0]
    for task in (scitldr.TASK, scitldr_sentences.TASK):
        found = extract.baselines([{}], [task.example(record)])
        assert set(found) == {
            f"{way}_{name}"
            for way in ("lead", "textrank", "oracle")
            for name in ("rouge1", "rouge2", "rougeL")
        }
        assert found["oracle_rouge1"] > found["lead_rouge1"]
    with pytest.raises(ValueError, match="holds no document"):
        turn = examples.Turn("assistant", "x")
        extract.baselines([{}], [examples.Turns((turn,))])


def test_baselines_are_asked_for_at_eval(tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation"):
        runs.write_jsonl(folder / f"{split}.jsonl", scitldr.TASK.samples)
    work = tmp_path / "run"
    flags = runs.settings(
        data__dir=folder,
        tokenizer__kind="byte",
        train__steps=1,
        decode__method="sample",
    )
    train = ("train", "--config=own:seq2seq,encoder_decoder", f"--workdir={work}")
    runs.good(capsys, *train, *flags, "--config.task=scitldr")
    out = runs.good(capsys, "eval", f"--workdir={work}", "--baselines")
    for name in ("lead_rouge1", "oracle_rougeL", "rouge1_low", "repetition4"):
        assert name in out
    other = tmp_path / "other"
    flags = runs.settings(train__steps=1, data__limit=8)
    runs.good(
        capsys, "train", "--config=own:chat", f"--workdir={other}", *flags,
        "--config.task=toy_turns",
    )  # fmt: skip
    said = runs.command(capsys, "eval", f"--workdir={other}", "--baselines")
    assert said.code == 2 and "summarizes none" in said.err
