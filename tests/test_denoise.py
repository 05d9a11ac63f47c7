"""Putting back what was taken out: rows, losses, gaps a person writes, the tokenizer."""

import dataclasses
import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import strategies as st

from lmtasks import builder
from lmtasks import schema
from lmtasks import tokenizers
from lmtasks.data import corrupt
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.objectives import denoise
from lmtasks.objectives import infill
from lmtasks.objectives import restore

MARKS = (*denoise.MODES, *infill.MARKS)
BYTE = tokenizers.train("byte", (), extra=MARKS, sentinels=40)
SENTINELS = BYTE.sentinels
LONG = "".join(chr(97 + i % 26) for i in range(300))
KINDS = [(a, kind) for a, kinds in denoise.KINDS.items() for kind in kinds]
quickly = hypothesis.settings(max_examples=30, deadline=None)


def make(kind, architecture="encoder_decoder", length=64, source=64, **options):
    """Return the objective of a kind."""
    setting = base.Setting(architecture, length=length, source_length=source)
    options = denoise.Options(kind=kind, **options)
    return denoise.make(setting, options, plan.Decode(), BYTE)


def rows_of(objective, text):
    """Return the rows of a text."""
    return objective.featurize(examples.Text(text), BYTE)


def body(row):
    """Return (source, target) of a row without what stands around them."""
    target = row["targets"].tolist()
    return row["source"][:-1], np.asarray(target[: target.index(BYTE.eos_id)])


# What a row holds.


@pytest.mark.parametrize("ends", corrupt.ENDS)
def test_the_two_sides_of_a_row_are_the_text(ends):
    (row,) = rows_of(make("span", ends=ends), "the cat sat on a mat")
    source, target = body(row)
    assert source[np.isin(source, SENTINELS)].tolist() == [SENTINELS[0]]
    whole = corrupt.restored(source, target, np.asarray(SENTINELS))
    assert BYTE.decode(whole) == "the cat sat on a mat"
    assert row["source"][-1] == BYTE.eos_id == row["targets"][-1]
    assert row["tokens"][0] == BYTE.bos_id and row["weights"].all()
    np.testing.assert_array_equal(row["tokens"][1:], row["targets"][:-1])


def test_a_long_text_gives_rows_as_long_as_t5_has_them():
    rows = rows_of(make("span", length=29, source=128), LONG)
    sizes = [(len(row["source"]), len(row["targets"])) for row in rows]
    assert sizes[:2] == [(128, 29), (128, 29)] and len(rows) == 3  # 141 + 141 + 18
    wholes = [corrupt.restored(*body(row), np.asarray(SENTINELS)) for row in rows]
    assert "".join(BYTE.decode(whole) for whole in wholes) == LONG


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_rows_fit_and_every_epoch_has_their_sizes(architecture, kind):
    objective = make(kind, architecture)
    rows = rows_of(objective, LONG)
    assert len(rows) > 2
    for row in rows:
        again = objective.vary(row, np.random.default_rng(1), BYTE)
        for one in (row, again):
            assert len(one["tokens"]) <= 64 and len(one.get("source", ())) <= 64
        sizes = [{k: len(v) for k, v in x.items() if k != "cut"} for x in (row, again)]
        assert sizes[0] == sizes[1]
        assert again["weights"].sum() == row["weights"].sum()


@pytest.mark.parametrize("kind", ("span", "ul2", "bart"))
def test_an_epoch_takes_out_other_tokens_of_the_same_text(kind):
    objective, texts = make(kind), set()
    rows = rows_of(objective, LONG)
    changed = [objective.vary(r, np.random.default_rng(1), BYTE) for r in rows]
    assert any(
        not np.array_equal(a["source"], b["source"])
        for a, b in zip(rows, changed, strict=True)
    )
    for each in (rows, changed):
        texts.add("".join(text_of(kind, row) for row in each))
    assert texts == {LONG}


def text_of(kind, row):
    """Return the text of a row."""
    source, target = row["source"], row["targets"]
    if kind == "bart":
        return BYTE.decode(target)
    whole = corrupt.restored(source, target, np.asarray(SENTINELS))
    if not set(source.tolist()) & set(SENTINELS):
        whole = np.concatenate([source, target])
    return BYTE.decode(whole)


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_a_row_is_a_function_of_the_text(architecture, kind):
    objective = make(kind, architecture)
    first, second = rows_of(objective, LONG), rows_of(objective, LONG)
    same = jax.tree.map(np.array_equal, first, second)
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
@pytest.mark.parametrize("text", ("", "a"))
def test_a_text_too_short_to_part_gives_no_row_but_to_fim(architecture, kind, text):
    assert len(rows_of(make(kind, architecture), text)) == (kind == "fim" and text > "")


def test_ul2_has_its_seven_ways_and_their_markers():
    objective = make("ul2")
    found = [way.noise for way in objective.ways]
    spans = {(n.rate, n.mean) for n in found if isinstance(n, corrupt.Spans)}
    assert spans == {(0.15, 3), (0.15, 8), (0.5, 3), (0.5, 8), (0.15, 64), (0.5, 64)}
    assert len(found) == 7
    modes = {BYTE.names[mode] for mode in denoise.MODES}
    rows = [r for i in range(12) for r in rows_of(objective, LONG[i:])]
    assert {int(row["source"][0]) for row in rows} == modes


def test_a_continuation_ends_only_where_its_text_does():
    rows = rows_of(make("prefix"), LONG)
    ends = [row["targets"][-1] == BYTE.eos_id for row in rows]
    assert ends == [False] * (len(rows) - 1) + [True]
    rows = rows_of(make("prefix", "decoder"), LONG)
    ends = [row["targets"][-1] == BYTE.eos_id for row in rows]
    assert ends == [False] * (len(rows) - 1) + [True]


def test_the_prefix_of_a_decoder_comes_first_and_is_not_learned():
    for row in rows_of(make("prefix", "decoder"), LONG):
        size = int(row["prefix"].sum())
        assert row["prefix"][:size].all() and size >= 2  # bos and a token
        # Its last position predicts the first token behind it.
        assert not row["weights"][: size - 1].any() and row["weights"][size - 1 :].all()
        np.testing.assert_array_equal(row["tokens"][1:], row["targets"][:-1])


def test_bart_reads_masks_and_other_orders_and_writes_the_text():
    text = "One cat sat. Two dogs ran. Three hens ate."
    (row,) = rows_of(make("bart"), text)
    source, target = body(row)
    assert BYTE.decode(target) == text
    assert BYTE.mask_id in source and not set(source.tolist()) & set(SENTINELS)
    gaps = (source == BYTE.mask_id).sum()
    assert len(source) == len(target) - round(0.3 * len(target)) + gaps
    (plain,) = rows_of(make("bart", permute=False, rate=0.1), text)
    kept = plain["source"][plain["source"] != BYTE.mask_id]
    assert len(body(plain)[1]) == len(text) and len(kept) - 1 == len(text) - 4


# Fill in the middle.


def parts(row):
    """Return {mark: text behind it} of a row, "" for what stands before all marks."""
    found, name = {"": []}, ""
    names = {BYTE.names[mark]: mark for mark in infill.MARKS}
    for id in [*row["tokens"].tolist(), int(row["targets"][-1])]:
        if id in names:
            name = names[id]
            found[name] = []
        else:
            found[name].append(id)
    return {name: BYTE.decode(ids) for name, ids in found.items()}


@quickly
@hypothesis.given(st.text(min_size=1, max_size=20))
def test_the_middle_is_moved_behind_the_end(text):
    (row,) = rows_of(make("fim", "decoder", length=128, fim=1.0, spm=0.0), text)
    found = parts(row)
    first, middle, last = (found[mark] for mark in infill.MARKS)
    assert first + middle + last == text
    assert row["weights"].all() and row["targets"][-1] == BYTE.eos_id


def test_the_end_may_come_first():
    (row,) = rows_of(make("fim", "decoder", fim=1.0, spm=1.0), "abcdefgh")
    found = parts(row)
    first, middle, last = (found[mark] for mark in infill.MARKS)
    assert first == "" and middle + last == "abcdefgh"


def test_a_share_of_texts_is_moved():
    objective = make("fim", "decoder", fim=0.5, spm=0.5)
    rows = [rows_of(objective, f"text {i}")[0] for i in range(200)]
    first, _, last = (BYTE.names[mark] for mark in infill.MARKS)
    moved = [row["tokens"].tolist() for row in rows if first in row["tokens"]]
    swapped = [t for t in moved if t[t.index(first) + 1] == last]
    assert 70 < len(moved) < 130 and 30 < len(swapped) < 80
    assert not any(first in rows_of(make("fim", "decoder", fim=0.0), f"text {i}")[0][
        "tokens"] for i in range(20))  # fmt: skip


def test_a_long_text_is_moved_part_by_part():
    rows = rows_of(make("fim", "decoder", fim=1.0, spm=0.0), LONG)
    whole = ""
    for row in rows:
        found = parts(row)
        whole += "".join(found[mark] for mark in infill.MARKS)
    assert whole == LONG and not any(row["cut"] for row in rows)


# Losses.


@functools.cache
def model_of(architecture):
    """Return a tiny model with the vocabulary of BYTE."""
    return tiny.model(architecture, vocab=BYTE.size, layers=1)


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_packed_rows_have_the_losses_and_gradients_of_rows_apart(architecture, kind):
    objective, one = make(kind, architecture), model_of(architecture)
    texts = ["a cat sat.", "the dog ran off", "hens"]
    rows = [row for text in texts for row in rows_of(objective, text)]
    for row in rows:
        row.pop("cut", None)
    params = tiny.draw(one)
    wide = 64 if architecture == "encoder_decoder" else 0
    together = pack.stack([pack.join(rows)], 128, 2 * wide, 0)
    apart = pack.stack(rows, 64, wide, 0)
    loss = lambda p, b: objective.loss(one.apply, p, b)["loss"][0]
    value = jax.jit(jax.value_and_grad(loss))
    (a, da), (b, db) = value(params, together), value(params, apart)
    np.testing.assert_allclose(a, b, rtol=2e-5)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(db))
    for x, y in zip(jax.tree.leaves(da), jax.tree.leaves(db), strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5 * largest)


def test_a_prefix_sees_itself_and_what_is_learned_does_not_see_ahead():
    objective, one = make("prefix", "decoder"), model_of("decoder")
    (row,) = rows_of(objective, "a cat sat on mats")
    batch = pack.stack([row], 24, 0, 0)
    size, params = int(row["prefix"].sum()), tiny.draw(one)
    logits = np.asarray(one.apply(params, batch))[0]
    for place, seen in ((size - 1, True), (size + 1, False)):
        changed = {k: v.copy() for k, v in batch.items()}
        changed["tokens"][0, place] = BYTE.encode("z")[0]
        other = np.asarray(one.apply(params, changed))[0]
        before = slice(0, min(place, size - 1))
        assert np.allclose(logits[before], other[before], atol=1e-6) != seen


def logits_for(targets, wrong=()):
    """Return logits [1, T, V] that say the targets but for some places."""
    said = np.asarray(targets).copy()
    said[list(wrong)] = 3
    return jax.nn.one_hot(said, BYTE.size)[None] * 9.0


@pytest.mark.parametrize(
    ("wrong", "right"),
    [((), 2), ((1,), 1), ((2,), 1), ((4,), 1), ((1, 4), 0), ((0,), 2), ((3, 5, 6), 2)],
)
def test_a_span_is_right_when_every_token_of_it_is(wrong, right):
    a, b, c = SENTINELS[:3]
    targets = [a, 50, 51, b, 52, c, BYTE.eos_id]  # the last sentinel closes
    batch = {"targets": np.asarray([targets]), "weights": np.ones((1, 7), np.float32)}
    good, count = restore.span_sums(
        logits_for(targets, wrong), batch, sentinels=SENTINELS, eos=(BYTE.eos_id,)
    )
    assert (int(good), int(count)) == (right, 2)


def test_spans_of_packed_rows_and_padding_are_counted_once():
    a, b = SENTINELS[:2]
    targets = [a, 50, BYTE.eos_id, a, 51, b, 52, BYTE.eos_id, 0, 0]
    weights = np.asarray([[1.0] * 8 + [0.0] * 2], np.float32)
    batch = {"targets": np.asarray([targets]), "weights": weights}
    logits, eos = logits_for(targets, [2, 4, 8]), (BYTE.eos_id,)
    good, count = restore.span_sums(logits, batch, sentinels=SENTINELS, eos=eos)
    assert (int(good), int(count)) == (2, 3)


def test_evaluation_counts_spans_and_training_does_not():
    objective, one = make("span"), model_of("encoder_decoder")
    batch = pack.stack(rows_of(objective, "a cat sat on a mat"), 16, 32, 0)
    params = tiny.draw(one)
    said = objective.loss(one.apply, params, batch)
    assert float(said["span_accuracy"][1]) == 1
    trained = objective.loss(one.apply, params, batch, jax.random.key(0))
    assert set(trained) == {"loss", "accuracy"}
    assert set(make("prefix").loss(one.apply, params, batch)) == {"loss", "accuracy"}


# What a person asks.


def asks(objective, text):
    """Return the ids that are read for a text."""
    (row,) = objective.query(examples.Text(text), BYTE)
    return row["source" if "source" in row else "tokens"].tolist()


def test_gaps_are_written_as_sentinels_and_take_the_space_before_them():
    a, b = SENTINELS[:2]
    read = asks(make("span"), "the <extra_id_0> sat <extra_id_1>.")
    assert read == [*BYTE.encode("the"), a, *BYTE.encode(" sat"), b,
                    *BYTE.encode("."), BYTE.eos_id]  # fmt: skip


def test_a_text_without_a_gap_says_how_to_write_one():
    with pytest.raises(ValueError, match="no <extra_id_0>: write <extra_id_0>"):
        asks(make("span"), "the cat")
    assert asks(make("span"), "<bos> <extra_id_0>") == [
        *BYTE.encode("<bos>"), SENTINELS[0], BYTE.eos_id]  # fmt: skip


def test_ul2_fills_gaps_or_goes_on():
    objective = make("ul2")
    nlu, s2s, _ = (BYTE.names[mode] for mode in denoise.MODES)
    assert asks(objective, "the <extra_id_0>")[0] == nlu
    assert asks(objective, "the")[0] == s2s


def answer(objective, text, *written, scores=(0.0,)):
    """Return the answer to a text where this was written."""
    width = max(map(len, written))
    ids = np.full((len(written), width), -1)
    for row, each in zip(ids, written, strict=True):
        row[: len(each)] = each
    outputs = [{"written": ids, "scores": np.asarray(scores)}]
    return objective.answer(outputs, examples.Text(text), BYTE)


def test_what_is_written_is_put_into_the_gaps():
    a, b = SENTINELS[:2]
    written = [a, *BYTE.encode(" cat"), b, *BYTE.encode(" here"), BYTE.eos_id, a]
    said = answer(make("span"), "the <extra_id_0> sat <extra_id_1>.", written)
    assert said == {"text": "the cat sat here.", "spans": [" cat", " here"]}


def test_of_several_texts_the_likeliest_is_put_in():
    objective = make("span")
    objective = dataclasses.replace(
        objective, decode=plan.Decode(texts=2, temperature=1.0, choose="likeliest")
    )
    texts = [[SENTINELS[0], *BYTE.encode(word)] for word in (" cat", " dog")]
    said = answer(objective, "the <extra_id_0>", *texts, scores=(-2.0, -1.0))
    assert said["text"] == "the dog" and said["spans"] == [" dog"]
    assert said["texts"] == ["the cat", "the dog"]


def test_a_hole_is_filled_with_the_middle():
    objective = make("fim", "decoder")
    said = answer(objective, f"a {infill.HOLE} c", BYTE.encode("b"))
    assert said == {"text": "a b c", "spans": ["b"]}
    assert answer(objective, "a", BYTE.encode("b")) == {"text": "b"}
    first, mid, last = infill.marks_of(BYTE)
    assert asks(objective, f"a{infill.HOLE}c") == [
        BYTE.bos_id, first, *BYTE.encode("a"), last, *BYTE.encode("c"), mid]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [(200, 200), (200, 3), (3, 200)])
def test_of_a_long_text_the_nearest_to_the_hole_is_kept(before, after):
    objective = make("fim", "decoder")
    text = "a" * before + "b" + infill.HOLE + "c" + "d" * after
    (row,) = objective.query(examples.Text(text), BYTE)
    kept = BYTE.decode(row["tokens"])
    assert len(row["tokens"]) == 64 and "bc" in kept
    assert row["cut"] == before + after + 2 - len(kept)


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_a_sample_of_a_split_asks_what_can_be_answered(architecture, kind):
    objective = make(kind, architecture)
    for text in ("one", "two words", "the cat sat on a mat and the dog did not"):
        asked = objective.asked(examples.Text(text), BYTE)
        assert objective.query(asked, BYTE)


def test_a_prompt_of_a_prefix_model_is_its_prefix():
    (row,) = make("prefix", "decoder").query(examples.Text("abc"), BYTE)
    assert row["prefix"].all() and len(row["prefix"]) == len(row["tokens"]) == 4


# Refusals.


@pytest.mark.parametrize(
    ("architecture", "kind", "said"),
    [("decoder", "span", "no source side"), ("decoder", "ul2", "prefix and fim work"),
     ("decoder", "bart", "architecture='encoder_decoder'"),
     ("encoder_decoder", "fim", "architecture='decoder'")],
)  # fmt: skip
def test_a_kind_of_the_other_architecture_is_refused(architecture, kind, said):
    with pytest.raises(ValueError, match=said):
        denoise.kind_of(denoise.Options(kind=kind), architecture)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "spam"}, "not one of bart, fim, prefix, span, ul2"),
        ({"rate": 1.0}, "denoise.rate=1.0"),
        ({"span": 0.5}, "denoise.span=0.5"),
        ({"ends": "all"}, "noise, any"),
        ({"fim": 2.0}, "denoise.fim=2.0"),
        ({"spm": -1.0}, "denoise.spm=-1.0"),
    ],
)
def test_an_option_that_cannot_work_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        denoise.Options(**options)


def test_rows_without_room_and_tokenizers_without_marks_are_refused():
    with pytest.raises(ValueError, match=r"data\.source_length=3"):
        rows_of(make("span", source=3), LONG)
    with pytest.raises(ValueError, match=r"data\.length=3"):
        rows_of(make("prefix", "decoder", length=3), LONG)
    with pytest.raises(ValueError, match=r"data\.length=9"):
        rows_of(make("fim", "decoder", length=9), LONG)
    with pytest.raises(ValueError, match="needs 45 sentinels .* has 40"):
        rows_of(make("span", length=300, source=300, rate=0.45), LONG)


# The tokenizer of a run.


def built(architecture, kind, **keys):
    """Return the run of toy_text."""
    c = schema.load(f"toy:toy_text,{architecture}")
    c.objective, c.denoise.kind = "denoise", kind
    for key, value in keys.items():
        c.tokenizer[key] = value
    return builder.build(c)


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_a_trained_tokenizer_has_the_marks_of_the_kind(architecture, kind):
    found = built(architecture, kind).tokenizer
    assert len(found.sentinels) == {"span": 100, "ul2": 200}.get(kind, 0)
    assert infill.is_marked(found) == (kind == "fim")
    assert (denoise.MODES[0] in found.names) == (kind == "ul2")


def test_a_loaded_tokenizer_gets_the_marks_it_lacks(tmp_path):
    tokenizers.train("byte", (), extra=("<|fim_prefix|>",)).save(tmp_path)
    found = built("encoder_decoder", "span", path=str(tmp_path)).tokenizer
    assert len(found.sentinels) == 100
    BYTE.save(tmp_path)
    assert built("encoder_decoder", "span", path=str(tmp_path)).tokenizer == BYTE


def test_texts_too_short_are_counted():
    found = records.Records([{"text": t} for t in ("a", "abcd")], "toy", "mark")
    read = lambda record: examples.Text(record["text"])
    pieces = features.Pieces(found, read, make("span"), BYTE)
    assert pieces.counts["empty"] == 1 and len(pieces) == 1


@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_what_is_put_into_a_text_is_not_streamed_without_it(architecture, kind):
    goes_on = architecture == "decoder" and kind == "prefix"
    assert make(kind, architecture).streams == goes_on
