"""Forward passes: what may not change them, and what must."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks.data import pack
from lmtasks.models import heads

ARCHITECTURES = ("encoder", "decoder", "encoder_decoder")
KINDS = ("learned", "sinusoidal", "rotary", "t5", "alibi", "none")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_does_not_change_logits(architecture):
    one = tiny.usual(architecture)
    params = tiny.draw(one)
    alone = tiny.batch(5, architecture=architecture, sources=[4])
    padded = tiny.batch(5, 9, architecture=architecture, sources=[4, 8])
    other = dict(padded)
    for key, places in (("tokens", "positions"), ("source", "source_positions")):
        if key in alone:
            padded[key][0, : alone[key].shape[1]] = alone[key][0]
            other[key] = np.where(padded[places] < 0, 7, padded[key])
    got = tiny.logits(one, params, padded)[0, :5]
    np.testing.assert_array_equal(tiny.logits(one, params, other)[0, :5], got)
    np.testing.assert_allclose(tiny.logits(one, params, alone)[0], got, atol=1e-4)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_future_token_changes_nothing_before_it(architecture):
    one = tiny.usual(architecture)
    params, rows = tiny.draw(one), tiny.batch(8, 8, architecture=architecture)
    other = dict(rows, tokens=rows["tokens"].copy())
    other["tokens"][:, 5] = (rows["tokens"][:, 5] + 1) % tiny.VOCAB
    got, changed = (tiny.logits(one, params, x) for x in (rows, other))
    np.testing.assert_array_equal(got[:, :5], changed[:, :5])
    assert (np.abs(got[:, 5:] - changed[:, 5:]).max((0, 2)) > 1e-3).all()


def test_every_source_token_reaches_every_target_position():
    one = tiny.usual("encoder_decoder")
    params, rows = tiny.draw(one), tiny.batch(6, architecture="encoder_decoder")
    got = tiny.logits(one, params, rows)
    for i in range(rows["source"].shape[1]):
        other = dict(rows, source=rows["source"].copy())
        other["source"][0, i] = (other["source"][0, i] + 1) % tiny.VOCAB
        assert (np.abs(tiny.logits(one, params, other) - got).max(-1) > 1e-4).all()


def test_an_encoder_sees_both_sides():
    one = tiny.usual("encoder")
    params, rows = tiny.draw(one), tiny.batch(6)
    got = tiny.logits(one, params, rows)
    for i in range(6):
        other = dict(rows, tokens=rows["tokens"].copy())
        other["tokens"][0, i] = (other["tokens"][0, i] + 1) % tiny.VOCAB
        assert (np.abs(tiny.logits(one, params, other) - got).max(-1) > 1e-4).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("none", "alibi")])
def test_the_order_of_tokens_matters_to_an_encoder_with_positions(kind):
    one = tiny.model("encoder", positions={"kind": kind})
    params, rows = tiny.draw(one), tiny.batch(4)
    other = dict(rows, tokens=rows["tokens"][:, [1, 0, 2, 3]])
    got, changed = (tiny.logits(one, params, x)[0, 3] for x in (rows, other))
    assert np.abs(got - changed).max() > 1e-2


def test_without_positions_an_encoder_reads_a_bag_of_words():
    one = tiny.model("encoder", positions={"kind": "none"})
    params, rows = tiny.draw(one), tiny.batch(4)
    other = dict(rows, tokens=rows["tokens"][:, [1, 0, 2, 3]])
    got, changed = (tiny.logits(one, params, x)[0, 3] for x in (rows, other))
    np.testing.assert_allclose(got, changed, atol=1e-4)


def test_the_first_row_of_learned_positions_is_moved_by_the_offset():
    one = tiny.model(positions={"kind": "learned", "size": 8})
    moved = tiny.model(positions={"kind": "learned", "size": 6, "offset": 2})
    params, rows = tiny.draw(one), tiny.batch(6)
    later = dict(rows, positions=rows["positions"] + 2)
    got = tiny.logits(moved, params, rows)
    np.testing.assert_allclose(tiny.logits(one, params, later), got, atol=1e-4)


def test_the_second_text_has_token_types_of_its_own():
    one = tiny.model("encoder", token_types=2)
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    zeros, ones = (np.full((2, 6), i, np.int32) for i in (0, 1))
    absent = tiny.logits(one, params, rows)
    first = tiny.logits(one, params, rows | {"token_types": zeros})
    second = tiny.logits(one, params, rows | {"token_types": ones})
    np.testing.assert_allclose(first, absent, atol=1e-5)
    assert np.abs(second - absent).max() > 1e-2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gathered_positions_have_the_logits_of_the_whole_row(architecture):
    one = tiny.usual(architecture)
    params, rows = tiny.draw(one), tiny.batch(7, 5, architecture=architecture)
    at = np.array([[6, 0, 3], [4, 7, 7]], np.int32)  # 7 = T: unused
    got = tiny.logits(one, params, rows | {"at": at})
    full = tiny.logits(one, params, rows)
    np.testing.assert_allclose(got[0], full[0, at[0]], atol=1e-5)
    np.testing.assert_allclose(got[1, 0], full[1, 4], atol=1e-5)
    np.testing.assert_array_equal(got[1, 1:], 0)


@pytest.mark.parametrize("head, wide", [("classify", 3), ("tag", 3), ("span", 2)])
def test_heads_have_their_number_of_logits_in_float32(head, wide):
    changes = {"pooler": True, "dtype": "bfloat16"}
    one = tiny.model("encoder", head=head, classes=3, **changes)
    got = tiny.apply(one)(tiny.draw(one), tiny.batch(5, 4))
    assert got.shape == (2, 5, wide) and got.dtype == jnp.float32
    assert ("pooler" in tiny.shapes(one)["top"]) == (head == "classify")


# What a class head reads.


def test_the_mean_is_over_the_segment_of_each_place():
    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    batch = {
        "positions": np.array([[0, 1, 2, 0, 1, -1], [0, 1, 0, 1, 2, -1]]),
        "segments": np.array([[1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 2, 0]]),
        "at": np.array([[0, 3], [2, 6]], np.int32),  # 6 = T: unused
    }
    got = heads.of_class(x, batch, "mean")
    wanted = [[x[0, :3].mean(0), x[0, 3:5].mean(0)], [x[1, 2:5].mean(0), np.zeros(4)]]
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    every = heads.of_class(x, {k: batch[k] for k in ("positions", "segments")}, "mean")
    np.testing.assert_allclose(every[0, 4], wanted[0][1], atol=1e-6)
    first = heads.of_class(x, batch, "cls")
    np.testing.assert_array_equal(first[0], x[0, [0, 3]])


def test_texts_of_one_row_have_the_classes_they_have_alone():
    one = tiny.model("encoder", head="classify", classes=3, pooler=True, pooling="mean")
    params, rows = tiny.draw(one), tiny.batch(5, 4)
    parts = [
        {k: v[i][rows["positions"][i] >= 0] for k, v in rows.items() if v.ndim == 2}
        for i in range(2)
    ]
    keys = ("tokens", "positions")
    joined = pack.join([{k: part[k] for k in keys} for part in parts])
    lengths = [len(part["tokens"]) for part in parts]
    at = {"at": np.array([[0, lengths[0]]], np.int32)}
    together = tiny.logits(one, params, {k: v[None] for k, v in joined.items()} | at)
    for i in range(2):
        alone = {k: v[i : i + 1] for k, v in rows.items()}
        alone |= {"at": np.zeros((1, 1), np.int32)}
        got = tiny.logits(one, params, alone)
        np.testing.assert_allclose(got[0, 0], together[0, i], atol=1e-5)
    by_first = tiny.replace(one, pooling="cls")
    assert np.abs(tiny.logits(by_first, params, alone) - got).max() > 1e-3


def test_only_an_encoder_has_a_mean_to_read():
    with pytest.raises(ValueError, match="model.pooling='mean' is what an encoder's"):
        tiny.model("decoder", pooling="mean")
    with pytest.raises(ValueError, match="pooling"):
        tiny.model("encoder", pooling="max")
