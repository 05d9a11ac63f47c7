"""Masked language modelling: its rows, its loss, and the masks a person writes."""

import dataclasses
import functools
import math

import hypothesis
import jax
import jax.numpy as jnp
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
from lmtasks.objectives import mlm

BYTE = tokenizers.train("byte", ())
CLS, SEP, MASK = BYTE.cls_id, BYTE.sep_id, BYTE.mask_id
quickly = hypothesis.settings(max_examples=40, deadline=None)
LINES = ["ab cab.", "a cabbage, bad", "c", "bad cab " * 9, "abc " * 4]


def make(length=40, **options):
    """Return the objective with room for `length` tokens."""
    return mlm.Mlm(base.Setting("encoder", length=length), mlm.Options(**options))


def pieces(objective, texts, tokenizer=BYTE, *, query=False):
    """Return the rows of texts."""
    found = records.Records([{"text": text} for text in texts], "toy", "mark")
    read = lambda record: examples.Text(record["text"])
    return features.Pieces(found, read, objective, tokenizer, query=query)


def model(objective, tokenizer=BYTE, **changes):
    """Return a tiny encoder with a vocabulary head."""
    shape = {"vocab": tokenizer.size, "layers": 1, "norm": {"kind": "layer"}}
    return tiny.model("encoder", head=objective.head, **shape | changes)


@functools.cache
def loss_of(objective, one):
    """Return the jitted loss of an objective on a model."""
    return jax.jit(lambda params, batch: objective.loss(one.apply, params, batch))


# Rows.


def test_a_row_is_the_text_between_its_special_tokens_with_targets_everywhere():
    (row,) = make().featurize(examples.Text("abcdefgh"), BYTE)
    ids = [CLS, *BYTE.encode("abcdefgh"), SEP]
    assert row["targets"].tolist() == ids
    assert row["positions"].tolist() == list(range(10))
    assert row["weights"].sum() == round(0.15 * 10) == 2
    kept = row["weights"] == 0
    np.testing.assert_array_equal(row["tokens"][kept], row["targets"][kept])
    types = {key: x.dtype for key, x in row.items()}
    assert types.pop("weights") == np.float32
    assert set(types.values()) == {np.dtype(np.int32)}


def test_a_long_text_is_windows_that_hold_each_token_once():
    text = "".join(chr(97 + i % 26) for i in range(100))
    rows = make(length=32).featurize(examples.Text(text), BYTE)
    assert [len(row["tokens"]) for row in rows] == [32, 32, 32, 12]
    assert "".join(BYTE.decode(row["targets"]) for row in rows) == text
    for row in rows:
        assert row["targets"][0] == CLS and row["targets"][-1] == SEP
    assert pieces(make(length=32), [text]).counts["cut"] == 0


def test_a_row_is_masked_as_its_text_alone_decides():
    one, again = (make().featurize(examples.Text("a cab, a cab"), BYTE) for _ in "ab")
    other = make().featurize(examples.Text("a cab, a cob"), BYTE)
    np.testing.assert_array_equal(one[0]["tokens"], again[0]["tokens"])
    masks = [row[0]["tokens"] == MASK for row in (one, other)]
    assert not np.array_equal(*masks)


def test_texts_without_words_are_counted_as_empty():
    words = tokenizers.train("word", ["the cat sat"])
    found = pieces(make(), ["the cat", "", " \n\t", "dogs bark", "the dog"], words)
    assert found.counts["empty"] == 3 and len(found) == 2
    # "dog" is unknown, a special token: what it was cannot be learned.
    assert found[1].features["weights"].tolist() == [0, 1, 0, 0]


@quickly
@hypothesis.given(
    text=st.text(st.sampled_from("ab \u00e9"), min_size=1, max_size=120),
    unit=st.sampled_from(("token", "word", "span")),
    rate=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**31),
)
def test_an_epoch_predicts_other_tokens_of_the_row_and_as_many(text, unit, rate, seed):
    objective = make(rate=rate, unit=unit)
    for row in objective.featurize(examples.Text(text), BYTE):
        before = {key: x.copy() for key, x in row.items()}
        again = objective.vary(row, np.random.default_rng((0, 1, seed)), BYTE)
        assert again["weights"].sum() == row["weights"].sum() > 0
        assert again.keys() == row.keys()
        kept = again["weights"] == 0
        np.testing.assert_array_equal(again["tokens"][kept], row["targets"][kept])
        for key, x in before.items():
            np.testing.assert_array_equal(row[key], x)
            assert again[key].dtype == x.dtype
        replayed = objective.vary(row, np.random.default_rng((0, 1, seed)), BYTE)
        np.testing.assert_array_equal(again["tokens"], replayed["tokens"])


def test_over_the_epochs_every_token_is_predicted():
    objective = make()
    (row,) = objective.featurize(examples.Text("a longer text of letters"), BYTE)
    seen = np.zeros(len(row["tokens"]))
    for epoch in range(60):
        rng = np.random.default_rng((0, epoch, 0))
        seen += objective.vary(row, rng, BYTE)["weights"]
    assert (seen[1:-1] > 0).all() and seen[0] == seen[-1] == 0


@pytest.mark.parametrize("unit", ("token", "word", "span"))
def test_packed_rows_differ_between_epochs_and_replay(unit):
    objective = make(unit=unit)
    found = pieces(objective, LINES)

    def rows(epoch, seed=0):
        varied = features.Varied(found, objective, BYTE, seed)
        packed = pack.PackedRows(found, 80, 80, varied)
        drawn = [packed.row(epoch, i) for i in range(len(packed))]
        assert all(row["weights"].sum() <= packed.weighted for row in drawn)
        return {key: np.concatenate([row[key] for row in drawn]) for key in drawn[0]}

    first, second, other = rows(0), rows(1), rows(0, seed=1)
    for drawn in (second, other):
        assert not np.array_equal(drawn["tokens"], first["tokens"])
        np.testing.assert_array_equal(drawn["targets"], first["targets"])
        assert drawn["weights"].sum() == first["weights"].sum()
    again = rows(1)
    for key, x in second.items():
        np.testing.assert_array_equal(again[key], x)


def test_what_decides_the_rows_is_part_of_their_fingerprint():
    key = pieces(make(), LINES).fingerprint
    assert key == pieces(make(top=2), LINES).fingerprint
    for options in ({"rate": 0.2}, {"unit": "word"}, {"mask": 0.7}):
        assert key != pieces(make(**options), LINES).fingerprint


# Loss.


def same(one, other):
    """Assert that two dicts of sums agree to 1e-6 of their size."""
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", ("token", "word", "span"))
def test_gathered_packed_and_separate_rows_have_the_same_loss(unit):
    objective = make(unit=unit)
    one = model(objective, positions={"kind": "learned", "size": 96})
    params, loss = tiny.draw(one), loss_of(objective, one)
    found = pieces(objective, LINES)
    rows = [p.features for p in found]
    most = int(found.weighted.max())
    alone = [loss(params, pack.stack([row], 40, 0, most)) for row in rows]
    separate = {k: np.sum([s[k] for s in alone], axis=0) for k in alone[0]}
    same(loss(params, pack.stack(rows, 40, 0, most)), separate)
    same(loss(params, pack.stack(rows, 40, 0, 0)), separate)
    packed = pack.PackedRows(found, 80, 80)
    assert len(packed) < len(rows)
    joined = [packed.row(0, i) for i in range(len(packed))]
    batch = pack.stack(joined, 80, 0, packed.weighted)
    same(loss(params, batch), separate)
    del batch["at"]
    same(loss(params, batch), separate)
    assert separate["loss"][1] == found.weighted.sum() > 0


def test_only_the_chosen_tokens_have_a_gradient():
    objective = make()
    one = model(objective)
    params = tiny.draw(one)
    (row,) = objective.featurize(examples.Text("abcabc"), BYTE)
    batch = pack.stack([row], 16, 0, 0)

    def total(logits):
        sums = objective.loss(lambda *_: logits, None, batch)
        return sums["loss"][0]

    logits = jnp.asarray(tiny.logits(one, params, batch))
    slope = np.abs(np.asarray(jax.grad(total)(logits))).max(axis=-1)
    np.testing.assert_array_equal(slope[0] > 0, batch["weights"][0] > 0)


def test_a_uniform_choice_has_its_size_as_perplexity():
    def perplexity(nats, weight):
        return make().report({"loss": (nats, weight)}, [])["perplexity"]

    assert perplexity(7 * math.log(10), 7.0) == pytest.approx(10)
    assert perplexity(1e6, 3.0) == math.inf
    assert perplexity(0.0, 0.0) == 1


# Filling masks.


def test_a_question_has_weight_at_its_masks():
    (row,) = make().query(examples.Text("a<mask>b<mask>"), BYTE)
    a, b = BYTE.encode("ab")
    assert row["tokens"].tolist() == [CLS, a, MASK, b, MASK, SEP]
    assert row["weights"].tolist() == [0, 0, 1, 0, 1, 0]
    assert row["cut"] == 0
    assert make().query(examples.Text("  "), BYTE) == []


def test_a_question_reads_as_a_training_row_does():
    text = "abcabcabc"
    (trained,) = make(mask=1.0, random=0.0).featurize(examples.Text(text), BYTE)
    place = int(np.flatnonzero(trained["weights"])[0]) - 1
    asked = text[:place] + "<mask>" + text[place + 1 :]
    (row,) = make().query(examples.Text(asked), BYTE)
    one_mask = trained["targets"].copy()
    one_mask[place + 1] = MASK
    np.testing.assert_array_equal(row["tokens"], one_mask)
    assert row.keys() - {"cut"} == trained.keys()


def test_a_question_without_a_mask_is_told_how_a_mask_is_spelled():
    with pytest.raises(ValueError, match="the text has no <mask>: write <mask>"):
        make().query(examples.Text("what is missing (MASK)"), BYTE)


def test_masks_may_be_spelled_as_other_models_have_them():
    own, *others = (
        make().query(examples.Text(f"a {mask} b"), BYTE)[0]["tokens"].tolist()
        for mask in ("<mask>", "[MASK]", "<|mask|>")
    )
    assert own.count(MASK) == 1 and others == [own, own]
    pairs = tokenizers.train("bytebpe", ["a cat"], size=300)
    own, other = (
        make().query(examples.Text(f"a {mask} b"), pairs)[0]["tokens"].tolist()
        for mask in ("<mask>", "[MASK]")
    )
    assert other == own == [CLS, *pairs.encode("a"), MASK, *pairs.encode(" b"), SEP]


def test_a_long_question_keeps_what_stands_around_its_masks():
    objective = make(length=12)
    (row,) = objective.query(examples.Text("x" * 50 + "a<mask>b" + "y" * 50), BYTE)
    assert len(row["tokens"]) == 12 and row["cut"] == 103 - 10
    assert BYTE.decode(row["tokens"]) == "xxxxabyyy"
    for text in ("<mask>" + "y" * 50, "x" * 50 + "<mask>"):
        (row,) = objective.query(examples.Text(text), BYTE)
        assert len(row["tokens"]) == 12 and row["weights"].sum() == 1
        assert row["tokens"][int(row["weights"].argmax())] == MASK
    assert pieces(objective, ["x" * 20 + "<mask>"], query=True).counts["cut"] == 1


@quickly
@hypothesis.given(
    before=st.integers(0, 60), between=st.integers(0, 8), after=st.integers(0, 60)
)
def test_no_mask_is_ever_cut_off(before, between, after):
    text = "x" * before + "<mask>" + "m" * between + "<mask>" + "y" * after
    (row,) = make(length=12).query(examples.Text(text), BYTE)
    assert row["weights"].sum() == (row["tokens"] == MASK).sum() == 2
    whole = before + between + after + 2
    assert len(row["tokens"]) == min(whole, 10) + 2 and row["cut"] == max(whole - 10, 0)


def test_masks_too_far_apart_for_a_row_are_refused():
    with pytest.raises(ValueError, match="20 tokens apart.*holds 10.*data.length"):
        make(length=12).query(examples.Text("<mask>" + "x" * 19 + "<mask>"), BYTE)


def answers(objective, one, params, texts, tokenizer=BYTE):
    """Return the answers to questions in one batch, as evaluation computes them."""
    found = pieces(objective, texts, tokenizer, query=True)
    rows = [piece.features for piece in found]
    batch = pack.stack(rows, 40, 0, int(found.weighted.max()))
    said = jax.jit(functools.partial(objective.predict, one))(params, batch)
    said = jax.device_get(said)
    return [
        objective.answer([{k: x[i] for k, x in said.items()}], example, tokenizer)
        for i, example in enumerate(found.examples)
    ]


def test_fillers_are_the_likeliest_tokens_with_their_probabilities():
    objective = make(top=3)
    one = model(objective)
    params = tiny.draw(one)
    (answer,) = answers(objective, one, params, ["ab<mask>cab"])
    (row,) = objective.query(examples.Text("ab<mask>cab"), BYTE)
    row.pop("cut")
    logits = tiny.logits(one, params, pack.stack([row], 8, 0, 0))[0, 3]
    chances = np.asarray(jax.nn.softmax(logits))
    (fills,) = answer["fills"]
    order = np.argsort(-chances)[:3]
    assert [fill["id"] for fill in fills] == order.tolist()
    np.testing.assert_allclose([f["score"] for f in fills], chances[order], rtol=1e-5)
    for fill in fills:
        shown = BYTE.decode([fill["id"]]) or BYTE.piece(fill["id"])
        assert fill["token"] == shown
        ids = [*BYTE.encode("ab"), fill["id"], *BYTE.encode("cab")]
        assert fill["text"] == BYTE.decode(ids)
    assert answer["text"] == fills[0]["text"]


def test_several_masks_are_each_filled_and_the_text_has_the_best_of_all():
    objective = make(top=2)
    one = model(objective)
    texts = ["a<mask>b<mask>c<mask>", "<mask>", "abc<mask>"]
    said = answers(objective, one, tiny.draw(one), texts)
    assert [len(answer["fills"]) for answer in said] == [3, 1, 1]
    first = said[0]
    a, b, c = BYTE.encode("abc")
    best = [fills[0]["id"] for fills in first["fills"]]
    whole = [a, best[0], b, best[1], c, best[2]]
    assert first["text"] == BYTE.decode(whole)
    second = first["fills"][1][1]
    assert second["text"] == BYTE.decode([*whole[:3], second["id"], *whole[4:]])


def test_a_question_is_answered_alike_in_any_company():
    objective = make()
    one = model(objective)
    params = tiny.draw(one)
    texts = ["ab<mask>", "a<mask>b<mask>c<mask>ab", "<mask>cab, a cab"]
    together = answers(objective, one, params, texts)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = answers(objective, one, params, [text])
        assert alone["text"] == answer["text"]
        for fills, others in zip(alone["fills"], answer["fills"], strict=True):
            scores = [fill["score"] for fill in others]
            assert [fill["score"] for fill in fills] == pytest.approx(scores, rel=1e-5)


def test_no_more_fillers_are_shown_than_there_are_tokens():
    words = tokenizers.train("word", ["the cat sat"])
    objective = make(top=50)
    one = model(objective, words)
    (answer,) = answers(objective, one, tiny.draw(one), ["the <mask> sat"], words)
    (fills,) = answer["fills"]
    assert len(fills) == words.size
    assert sum(fill["score"] for fill in fills) == pytest.approx(1, abs=1e-5)
    # A special token is no text; it is shown by its name.
    assert {"<cls>", "cat"} <= {fill["token"] for fill in fills}


def test_a_text_becomes_a_question_about_the_word_in_its_middle():
    objective, text = make(), "the cat sat on mats"
    asked = objective.asked(examples.Text(text), BYTE)
    assert asked.text == "the cat <mask><mask><mask> on mats"
    for question in (examples.Text("the <mask> sat"), examples.Text("the [MASK] sat")):
        assert objective.asked(question, BYTE) == question
    assert objective.asked(examples.Text(" "), BYTE).text == " "
    long = objective.asked(examples.Text(f"{text} " * 20), BYTE)
    assert 40 < len(BYTE.encode(long.text, special=True)) <= 48
    pairs = tokenizers.train("bytebpe", [text] * 3, size=300)
    for given in (text, "cat", "the dog"):
        (row,) = objective.query(objective.asked(examples.Text(given), pairs), pairs)
        assert len(row["tokens"]) == len(pairs.encode(given)) + 2


def test_no_other_special_token_can_be_spelled_in_a_question():
    (row,) = make().query(examples.Text("<sep><mask><unk>"), BYTE)
    ids = [*BYTE.encode("<sep>"), MASK, *BYTE.encode("<unk>")]
    assert row["tokens"].tolist() == [CLS, *ids, SEP]
    objective = make(top=1)
    one = model(objective)
    (answer,) = answers(objective, one, tiny.draw(one), ["<sep><mask><unk>"])
    assert answer["text"].startswith("<sep>") and answer["text"].endswith("<unk>")


# What a user can get wrong.


def test_a_tokenizer_without_a_mask_is_refused_with_what_to_do():
    bare = dataclasses.replace(
        BYTE, roles={k: v for k, v in BYTE.roles.items() if k != "mask"}
    )
    for call in (make().featurize, make().query):
        with pytest.raises(ValueError, match=r"no mask token.*\[MASK\] or <mask>.*clm"):
            call(examples.Text("abc"), bare)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 0.0}, "mlm.rate=0.0"),
        ({"rate": 1.0}, "mlm.rate=1.0"),
        ({"rate": math.nan}, "mlm.rate=nan"),
        ({"mask": 0.9, "random": 0.2}, "mlm.mask=0.9 and mlm.random=0.2"),
        ({"random": -0.1}, "mlm.random=-0.1"),
        ({"mask": math.nan}, "mlm.mask=nan"),
        ({"unit": "words"}, "mlm.unit='words' is not one of token, word, span"),
        ({"span_p": 0.0}, "mlm.span_p"),
        ({"span_max": 0}, "mlm.span_max=0"),
        ({"top": 0}, "mlm.top=0"),
    ],
)
def test_a_setting_that_cannot_work_names_its_key(options, said):
    with pytest.raises(ValueError, match=said):
        mlm.Options(**options)


def test_a_length_that_holds_no_text_is_refused():
    with pytest.raises(ValueError, match="data.length=2 holds no token beside the 2"):
        make(length=2).featurize(examples.Text("abc"), BYTE)
