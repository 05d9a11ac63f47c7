"""Summaries of documents longer than the context, and of several of them."""

import json

import pytest
import runs
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lmtasks import api
from lmtasks import summarize

LONG = " ".join(f"Sentence number {i} says something." for i in range(40))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab .!\n", max_size=120), st.integers(1, 12))
def test_chunks_hold_every_word_once_and_fit_where_a_word_does(text, room):
    found = summarize.chunks(text, lambda one: len(one) <= room)
    assert " ".join(found).split() == text.split()
    assert all(len(one) <= room or " " not in one for one in found)


def test_chunks_are_cut_between_sentences():
    found = summarize.chunks(LONG, lambda one: len(one) <= 100)
    assert all(one.endswith(".") and len(one) <= 100 for one in found)
    assert len(found) == 20


@pytest.fixture(scope="module")
def loaded():
    return runs.untrained(
        "xsum", "encoder_decoder", data__source_length=160, decode__beams=1,
        decode__method="sample", decode__max_tokens=8,
    )  # fmt: skip


def answering(monkeypatch, reply):
    """Let predictions be made by `reply` of the prompt's text; return the prompts."""
    asked = []

    def predict(loaded, given):
        asked.extend(one.turns[0].text for one in given)
        return [{"text": reply(one.turns[0].text)} for one in given]

    monkeypatch.setattr(api, "predict", predict)
    return asked


def test_summaries_of_chunks_are_merged_until_one_is_left(loaded, monkeypatch):
    asked = answering(monkeypatch, lambda prompt: f"Short {len(prompt)}.")
    found = summarize.summarize(loaded, [LONG])
    assert len(found.parts) > 4 and found.rounds >= 1
    assert found.text.startswith("Short ")
    assert asked[0].startswith("Summarize the following article: Sentence number 0")
    assert asked[-1].startswith("Summarize the following article: Short ")
    whole = "".join(asked[: len(found.parts)])
    assert all(f"Sentence number {i} says" in whole for i in range(40))


def test_several_documents_give_one_summary(loaded, monkeypatch):
    asked = answering(monkeypatch, lambda prompt: "It rained.")
    found = summarize.summarize(loaded, ["Rain fell.", "It was wet."])
    assert found.parts == ("It rained.", "It rained.") and found.rounds == 1
    assert asked[0] == "Summarize the following article: Rain fell. Summary:"


def test_a_list_keeps_each_item_once(loaded, monkeypatch):
    answers = iter(["We buy chairs.", "", "We buy chairs.", "The office moves."])
    answering(monkeypatch, lambda prompt: next(answers))
    found = summarize.summarize(
        loaded, ["One.", "Two.", "Three.", "Four."], listed=True
    )
    assert found.text == "We buy chairs.\nThe office moves." and found.rounds == 0


def test_summaries_that_do_not_get_shorter_end(loaded, monkeypatch):
    answering(monkeypatch, lambda prompt: LONG[:100])
    found = summarize.summarize(loaded, [LONG])
    assert found.text.count("Sentence number 0") == len(found.parts)


def test_a_text_that_fits_is_read_as_it_is(loaded, monkeypatch):
    asked = answering(monkeypatch, lambda prompt: "Short.")
    summarize.summarize(loaded, ["Ada: hi\nBen: hello\n"])
    assert "Ada: hi\nBen: hello\n" in asked[0]


def test_chunks_without_a_reply_are_left_out_of_the_merging(loaded, monkeypatch):
    answering(monkeypatch, lambda prompt: "")
    found = summarize.summarize(loaded, ["One.", "Two."])
    assert found == summarize.Summary("", ("", ""), 0)
    answers = iter(["", "It rained."])
    answering(monkeypatch, lambda prompt: next(answers))
    assert summarize.summarize(loaded, ["One.", "Two."]).text == "It rained."


def test_a_word_longer_than_the_context_is_told(loaded, monkeypatch):
    answering(monkeypatch, lambda prompt: "Short.")
    assert summarize.summarize(loaded, ["x" * 500]).cut == 1


def test_a_short_text_is_one_prompt_and_a_run_really_writes(loaded):
    found = summarize.summarize(loaded, ["It rained."])
    assert len(found.parts) == 1 and found.rounds == 0 and found.text == found.parts[0]


def test_what_cannot_be_summarized_is_refused(loaded):
    with pytest.raises(ValueError, match="no text"):
        summarize.summarize(loaded, [" ", ""])
    other = runs.untrained("toy_turns", "decoder")
    with pytest.raises(ValueError, match="task='toy_turns' summarizes nothing"):
        summarize.summarize(other, ["It rained."])


def test_the_verb_reads_files_and_says_what_it_did(tmp_path, capsys):
    rows = [{"document": "It rained all day.", "summary": "Rain."}] * 8
    runs.write_jsonl(tmp_path / "train.jsonl", rows)
    runs.write_jsonl(tmp_path / "validation.jsonl", rows)
    work = tmp_path / "run"
    flags = runs.settings(
        data__dir=tmp_path, tokenizer__kind="byte", train__steps=1,
        decode__method="sample", data__source_length=128,
    )  # fmt: skip
    train = ("train", "--config=own:seq2seq,encoder_decoder", f"--workdir={work}")
    runs.good(capsys, *train, *flags, "--config.task=xsum")
    paths = [tmp_path / name for name in ("a.txt", "b.txt")]
    for path in paths:
        path.write_text(LONG)
    files = ",".join(map(str, paths))
    said = runs.command(
        capsys, "summarize", f"--workdir={work}", f"--input={files}", "--format=jsonl"
    )
    assert said.code == 0 and "2 documents, " in said.err
    row = json.loads(said.out)
    assert f"{len(row['parts'])} chunks" in said.err and len(row["parts"]) > 20
    wrong = runs.command(capsys, "summarize", f"--workdir={work}", "--input=nowhere")
    assert wrong.code == 2 and "no such file" in wrong.err
