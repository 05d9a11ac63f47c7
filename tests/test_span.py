"""Extractive QA: rows and windows, where answers lie in them, and answers."""

import dataclasses
import functools
import json
import math

import hypothesis
import jax
import numpy as np
import pytest
import tiny
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.objectives import base
from lmtasks.objectives import span
from lmtasks.objectives import windows

BYTE = tokenizers.train("byte", ())
CORPUS = [
    "The old mill by the river burned down in 1904, na\u00efve as its owner was.",
    "She said: \u201cno\u201d. Then, twelve days later, she came back to the mill!",
]
SIZES = {"char": None, "word": None, "unigram": 330, "bpe": 330, "wordpiece": 120,
         "bytebpe": 300}  # fmt: skip
quickly = hypothesis.settings(max_examples=60, deadline=None)
# The worked example: 31 tokens, the answer at 16 and 17.
QUESTION = "Who first introduced the iPhone?"
CONTEXT = (
    "The iPhone was first introduced by Apple CEO Steve Jobs in San Francisco, "
    "California, on January 9, 2007."
)


@functools.cache
def tokenizer_of(kind):
    """Return a tokenizer of a kind, trained on CORPUS."""
    if kind == "byte":
        return BYTE
    options = tokenizers.Options(exact=False)
    return tokenizers.train(kind, CORPUS, size=SIZES[kind], options=options)


def make(length=24, architecture="encoder", **options):
    """Return the objective."""
    return span.Span(base.Setting(architecture, length), span.Options(**options))


def asked(question="who?", context="the cat sat.", *answers):
    """Return a question; answers are texts, at their first occurrence."""
    places = tuple((text, context.index(text)) for text in answers)
    return examples.Span(question, context, places)


def outputs_of(rows, starts=(), ends=(), other=-9.0):
    """Return what `predict` gives for rows: {(row, slot): logit}, `other` elsewhere."""
    found = []
    for k, row in enumerate(rows):
        logits = np.full((2, len(row["tokens"]) + 3), other, np.float32)
        for side, marks in enumerate((dict(starts), dict(ends))):
            for (which, slot), value in marks.items():
                if which == k:
                    logits[side, slot] = value
        found.append({"starts": logits[0], "ends": logits[1]})
    return found


# Rows.


def test_a_row_is_the_question_then_the_context_as_a_pair():
    (row,) = make().featurize(asked("who?", "a cat.", "cat"), BYTE)
    cls, sep = BYTE.cls_id, BYTE.sep_id
    ids = [cls, *BYTE.encode("who?"), sep, *BYTE.encode("a cat."), sep]
    assert row["tokens"].tolist() == ids
    assert row["positions"].tolist() == list(range(13))
    assert row["token_types"].tolist() == [0] * 6 + [1] * 7
    targets = {8: 1, 10: 2}
    assert row["targets"].tolist() == [targets.get(i, 0) for i in range(13)]
    assert row["weights"].tolist() == [1.0] + [0.0] * 12
    assert row["cut"] == 0
    kinds = {k: v.dtype for k, v in row.items() if k not in ("cut", "weights")}
    assert set(kinds.values()) == {np.dtype(np.int32)}
    (plain,) = make().query(asked("who?", "a cat."), BYTE)
    assert not plain["targets"].any() and not plain["weights"].any()
    assert plain["tokens"].tolist() == ids


def test_an_answer_of_one_token_is_start_and_end():
    (row,) = make().featurize(asked("who?", "a b c", "b"), BYTE)
    assert np.flatnonzero(row["targets"]).tolist() == [8]
    assert row["targets"][8] == 3


def test_a_question_without_answer_points_at_the_first_token():
    (row,) = make().featurize(asked(), BYTE)
    assert row["targets"].tolist() == [3] + [0] * (len(row["targets"]) - 1)


def test_long_contexts_go_in_windows_that_share_the_stride():
    text = "abcdefghijklmnopqrst"
    rows = make(length=15, stride=3).featurize(asked("who?", text, "klm"), BYTE)
    said = [BYTE.decode(row["tokens"][6:-1]) for row in rows]
    assert said == ["abcdefgh", "fghijklm", "klmnopqr", "pqrst"]
    places = [np.flatnonzero(row["targets"]).tolist() for row in rows]
    assert places == [[0], [11, 13], [6, 8], [0]]
    assert [row["weights"].sum() for row in rows] == [1, 1, 1, 1]
    assert [len(row["tokens"]) for row in rows] == [15, 15, 15, 12]


def test_every_window_is_taught_the_first_answer_it_holds_whole():
    example = asked("who?", "abcdefghijklmnopqrst", "hijk", "ij", "st")
    rows = make(length=15, stride=2).featurize(example, BYTE)
    assert [BYTE.decode(row["tokens"][6:-1]) for row in rows] == [
        "abcdefgh", "ghijklmn", "mnopqrst",
    ]  # fmt: skip
    places = [np.flatnonzero(row["targets"]).tolist() for row in rows]
    assert places == [[0], [7, 10], [12, 13]]


def test_an_answer_that_no_window_holds_is_counted_as_cut():
    example = asked("who?", "abcdefghijklmnopqrst", "bcdefghijklm")
    rows = make(length=15, stride=0).featurize(example, BYTE)
    assert rows[0]["cut"] == 5  # 7 of its 12 tokens are in the first window
    assert all(row["targets"][0] == 3 for row in rows)
    given = records.Records([{}], "toy", "mark")
    found = features.Pieces(given, lambda _: example, make(15, stride=0), BYTE)
    assert found.counts["cut"] == 1 and found.counts["tokens_cut"] == 5
    assert "1 cut to the length (5 tokens)" in found.summary("train")
    skipped = features.Pieces(
        given, lambda _: example, make(15, stride=0), BYTE, on_long="skip"
    )
    assert len(skipped) == 0 and skipped.counts["skipped_long"] == 1


def test_a_question_longer_than_its_share_loses_its_end():
    example = asked("w" * 30 + "?", "abcdefghijklmnopqrst", "cd")
    rows = make(length=24, stride=4).featurize(example, BYTE)
    # 21 beside the special tokens: 11 for the context, 10 for the question.
    assert [len(row["tokens"]) for row in rows] == [24, 24, 19]
    assert rows[0]["tokens"].tolist()[1:11] == BYTE.encode("w" * 10)
    assert rows[0]["cut"] == 21
    assert make(length=24, stride=4).query(example, BYTE)[0]["cut"] == 21
    # A short context leaves the question more.
    (row,) = make(length=24).featurize(asked("w" * 30, "cat", "cat"), BYTE)
    assert len(row["tokens"]) == 24 and row["cut"] == 30 - 18


def test_a_length_without_room_is_refused():
    with pytest.raises(ValueError, match="data.length=4 holds no question"):
        make(length=4).featurize(asked("who?", "a cat", "cat"), BYTE)
    (row, *_) = make(length=5).featurize(asked("who?", "a cat", "cat"), BYTE)
    assert len(row["tokens"]) == 5


def test_what_has_no_text_is_left_out_of_training():
    objective = make()
    for example in (asked("who?", " \n"), asked("  ", "a cat"), asked("who?", "")):
        assert objective.featurize(example, BYTE) == []
    # An answer that leaves no token (here: a space that word pieces drop).
    blank = examples.Span("who?", "the mill", ((" ", 3),))
    assert objective.featurize(blank, tokenizer_of("wordpiece")) == []


@quickly
@hypothesis.given(
    size=st.integers(1, 60), length=st.integers(5, 30), stride=st.integers(0, 40),
    start=st.integers(0, 59), extent=st.integers(1, 30), question=st.integers(1, 12),
)  # fmt: skip
def test_no_answer_is_lost_without_being_counted(
    size, length, stride, start, extent, question
):
    text = "".join(chr(97 + i % 26) for i in range(size))
    start = min(start, size - 1)
    answer = text[start : start + extent]
    example = examples.Span("q" * question, text, ((answer, start),))
    objective = make(length=length, stride=stride)
    rows, found = objective.featurize(example, BYTE), objective.layout(example, BYTE)
    whole = [row for row in rows if row["targets"][0] == 0]
    lost = rows[0]["cut"] - found.cut
    assert bool(whole) == (lost == 0)
    for row in whole:
        first, last = np.flatnonzero(row["targets"])[[0, -1]]
        assert BYTE.decode(row["tokens"][first : last + 1]) == answer
    # Nothing of the context is left out, and all shorter answers are somewhere.
    assert set().union(*(range(*place) for place in found.places)) == set(range(size))
    room = length - len(found.head) - len(found.tail)
    if len(answer) <= min(stride, room // 2) + 1:
        assert lost == 0
    assert all(len(row["tokens"]) <= length for row in rows)


@pytest.mark.parametrize("kind", ["byte", *SIZES])
def test_answers_come_back_as_they_stand_on_every_tokenizer(kind):
    tokenizer, text = tokenizer_of(kind), CORPUS[0] + "  " + CORPUS[1]
    objective = make(length=400)
    words = [
        "The", "old mill by", "1904", "na\u00efve", "no", "twelve days", "mill!",
        "river burned down in 1904,",
    ]  # fmt: skip
    for word in words:
        example = asked("the mill?", text, word)
        (row,) = objective.featurize(example, tokenizer)
        first, last = np.flatnonzero(row["targets"])[[0, -1]]
        rows = objective.query(example, tokenizer)
        outputs = outputs_of(rows, {(0, first): 9}, {(0, last): 9})
        said = dataclasses.replace(
            objective, options=span.Options(max_answer=100)
        ).answer(outputs, example, tokenizer)
        assert word in said["text"]
        assert text[said["start"] : said["end"]] == said["text"]
        # What stands before and behind is at most the rest of a piece.
        more = len(said["text"]) - len(word)
        assert more == 0 or kind in ("unigram", "bpe", "word"), said["text"]
        assert more <= 12


# Answers.


def test_the_worked_example_is_found_by_its_tokens_and_characters(tmp_path):
    words = (QUESTION + " " + CONTEXT).lower()
    for sign in "?,.":
        words = words.replace(sign, f" {sign} ")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*words.split()})]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokenizer = tokenizers.load(tmp_path / "vocab.txt")
    example = asked(QUESTION, CONTEXT, "Steve Jobs")
    objective = make(length=64)
    (row,) = objective.featurize(example, tokenizer)
    assert len(row["tokens"]) == 31
    assert np.flatnonzero(row["targets"] & 1).tolist() == [16]
    assert np.flatnonzero(row["targets"] & 2).tolist() == [17]
    outputs = outputs_of([row], {(0, 16): 6.5}, {(0, 17): 7.0})
    said = objective.answer(outputs, example, tokenizer)
    assert (said["text"], said["start"], said["end"]) == ("Steve Jobs", 45, 55)
    assert said["score"] > 0.99 and said["span_score"] == 13.5


def test_the_best_valid_answer_is_taken_where_the_two_largest_cross():
    example = asked("who?", "abcdef")
    rows = make().query(example, BYTE)  # the context begins at 6
    starts = {(0, 9): 5.0, (0, 7): 2.0}
    ends = {(0, 7): 6.0, (0, 10): 2.5}
    said = make().answer(outputs_of(rows, starts, ends), example, BYTE)
    assert said["text"] == "b" and said["span_score"] == 8.0
    assert [one["text"] for one in said["n_best"][:2]] == ["b", "de"]
    short = make(max_answer=1).answer(outputs_of(rows, starts, ends), example, BYTE)
    assert {len(one["text"]) for one in short["n_best"] if one["text"]} == {1}


def test_no_answer_is_found_where_the_first_token_leads():
    example = asked("who?", "abcdef")
    rows = make().query(example, BYTE)
    starts, ends = {(0, 0): 4.0, (0, 8): 3.0}, {(0, 0): 4.0, (0, 9): 3.5}
    outputs = outputs_of(rows, starts, ends)
    said = make().answer(outputs, example, BYTE)
    assert (said["text"], said["start"], said["end"]) == ("", 0, 0)
    assert (said["null_score"], said["span_score"]) == (8.0, 6.5)
    assert [one["text"] for one in said["n_best"][:2]] == ["", "cd"]
    assert said["score"] == said["n_best"][0]["score"]
    # By more than the threshold, not by as much.
    answered = make(no_answer=1.5).answer(outputs, example, BYTE)
    assert answered["text"] == "cd"
    assert answered["score"] == answered["n_best"][1]["score"]
    never = make(no_answer=math.inf).answer(outputs, example, BYTE)
    assert never["text"] == "cd" and all(one["text"] for one in never["n_best"])
    always = make(no_answer=-math.inf).answer(outputs, example, BYTE)
    assert always["text"] == ""


def test_no_answer_must_lead_in_every_window():
    text = "abcdefghijklmnopqrst"
    objective = make(length=15, stride=3)
    rows = objective.query(asked("who?", text), BYTE)
    starts = {(0, 0): 9.0, (1, 0): 1.0, (2, 0): 9.0, (3, 0): 9.0, (1, 8): 2.0}
    ends = {(0, 0): 9.0, (1, 0): 1.5, (2, 0): 9.0, (3, 0): 9.0, (1, 9): 2.0}
    said = objective.answer(outputs_of(rows, starts, ends), asked("who?", text), BYTE)
    assert said["null_score"] == 2.5
    assert (said["text"], said["start"]) == ("hi", 7)


def test_answers_of_overlapping_windows_are_one_with_the_better_score():
    text = "abcdefghijklmnopqrst"
    objective = make(length=15, stride=3, no_answer=math.inf, n_best=4)
    example = asked("who?", text)
    rows = objective.query(example, BYTE)
    # "kl" stands at the end of window 1 and at the beginning of window 2.
    starts, ends = {(1, 11): 3.0, (2, 6): 4.0}, {(1, 12): 3.0, (2, 7): 4.0}
    said = objective.answer(outputs_of(rows, starts, ends), example, BYTE)
    assert said["text"] == "kl" and said["span_score"] == 8.0
    places = [(one["start"], one["end"]) for one in said["n_best"]]
    assert len(set(places)) == len(places) == 4
    assert sum(one["score"] for one in said["n_best"]) == pytest.approx(1)


def test_answers_stand_in_the_context_and_begin_and_end_with_text():
    example = asked("who?", " a b ")
    objective = make(no_answer=math.inf, n_best=100)
    rows = objective.query(example, BYTE)
    everything = {(0, slot): 9.0 for slot in (0, 1, 5, 6, 10, 11)}
    said = objective.answer(outputs_of(rows, everything, everything), example, BYTE)
    assert {one["text"] for one in said["n_best"]} == {"a", "b", "a b"}


def test_the_bytes_of_one_character_are_one_answer():
    example = asked("who?", "\u00e9\u00e8")
    objective = make(no_answer=math.inf)
    said = objective.answer(outputs_of(objective.query(example, BYTE)), example, BYTE)
    assert {one["text"] for one in said["n_best"]} == {
        "\u00e9",
        "\u00e8",
        "\u00e9\u00e8",
    }


def test_an_empty_context_has_the_answer_nothing():
    for context in ("", " \n "):
        for threshold in (0.0, math.inf):
            objective, example = make(no_answer=threshold), asked("who?", context)
            (row,) = objective.query(example, BYTE)
            said = objective.answer(outputs_of([row]), example, BYTE)
            assert said["text"] == "" and said["span_score"] is None
            assert said["score"] == 1.0
    assert make().query(asked(" ", "a cat"), BYTE) == []


def test_a_prediction_is_ready_for_json():
    example = asked("who?", "abcdef", "cd")
    outputs = outputs_of(make().query(example, BYTE), {(0, 8): 3.0}, {(0, 9): 3.5})
    said = make().answer(outputs, example, BYTE)
    assert json.loads(json.dumps(said)) == said
    assert list(said)[:4] == ["text", "start", "end", "score"]


def test_predictions_are_the_two_columns_of_the_head():
    objective = make()
    model = tiny.model("encoder", head="span", vocab=BYTE.size, token_types=2)
    rows = objective.query(asked("who?", "abcdef"), BYTE)
    batch = pack.stack([{k: r[k] for k in r if k != "cut"} for r in rows], 16, 0, 0)
    params = tiny.draw(model)
    found = jax.jit(functools.partial(objective.predict, model))(params, batch)
    logits = np.asarray(model.apply(params, batch))
    assert logits.shape == (1, 16, 2)
    np.testing.assert_allclose(found["starts"], logits[..., 0], atol=1e-5)
    np.testing.assert_allclose(found["ends"], logits[..., 1], atol=1e-5)


# Options.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stride": -1}, "span.stride=-1 must be at least 0"),
        ({"max_answer": 0}, "span.max_answer=0 must be at least 1"),
        ({"n_best": 0}, "span.n_best=0 must be at least 1"),
        ({"reduce": "max"}, "span.reduce='max' is neither mean nor sum"),
        ({"no_answer": math.nan}, "span.no_answer=nan is no number"),
    ],
)
def test_values_that_cannot_work_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        span.Options(**changes)


def test_smoothing_that_would_do_nothing_is_refused():
    setting = base.Setting("encoder", label_smoothing=0.1)
    with pytest.raises(ValueError, match="loss.label_smoothing.*do nothing"):
        span.Span(setting)


def test_windows_are_cut_as_promised():
    assert windows.cut_up(7, 4, 1) == ((0, 4), (3, 7))
    assert windows.cut_up(8, 4, 1) == ((0, 4), (3, 7), (6, 8))
    assert windows.cut_up(4, 4, 1) == ((0, 4),)
    assert windows.cut_up(0, 0, 0) == ((0, 0),)
