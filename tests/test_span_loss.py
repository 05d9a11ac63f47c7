"""The loss of a start and an end: packed, padded, and apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from test_span import BYTE
from test_span import asked
from test_span import make

from lmtasks import losses
from lmtasks.data import pack


def plain_loss(logits, targets):
    """Return (start, end) nats of one segment: [n, 2] and int[n]."""
    log_p = np.asarray(jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=0))
    return [-log_p[int(np.flatnonzero(targets & bit)[0]), side]
            for side, bit in enumerate((1, 2))]  # fmt: skip


def segments_of(*sizes, width):
    """Return packed rows (one) of random logits, and the segments apart."""
    rng = np.random.default_rng(len(sizes))
    logits = np.full((1, width, 2), 1e30, np.float32)  # padding holds anything
    targets, weights = np.zeros((1, width), np.int32), np.zeros((1, width), np.float32)
    positions, segments = np.full((1, width), -1), np.zeros((1, width), np.int32)
    apart, at = [], 0
    for number, n in enumerate(sizes, start=1):
        part = slice(at, at + n)
        logits[0, part] = 3 * rng.normal(size=(n, 2))
        start, end = sorted(rng.integers(0, n, 2))
        targets[0, at + start] |= 1
        targets[0, at + end] |= 2
        weights[0, at] = 1
        positions[0, part], segments[0, part] = range(n), number
        apart.append((logits[0, part], targets[0, part]))
        at += n
    return (logits, targets, weights), (positions, segments), apart


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("sizes", [(7,), (4, 9, 1, 6)])
def test_the_loss_of_a_packed_row_is_that_of_its_segments(sizes, reduce):
    arrays, (positions, segments), apart = segments_of(*sizes, width=24)
    sums = losses.span_cross_entropy(
        *arrays, positions=positions, segments=segments, reduce=reduce
    )
    both = np.array([plain_loss(*one) for one in apart])
    expected = both.sum() / (2 if reduce == "mean" else 1)
    assert float(sums["loss"][0]) == pytest.approx(expected, rel=1e-5)
    assert float(sums["loss"][1]) == len(sizes)
    hits = sum(
        all(x[:, s].argmax() == np.flatnonzero(t & b)[0] for s, b in ((0, 1), (1, 2)))
        for x, t in apart
    )
    assert float(sums["accuracy"][0]) == hits
    if len(sizes) == 1:  # without segments a row is one
        alone = losses.span_cross_entropy(*arrays, positions=positions, reduce=reduce)
        assert float(alone["loss"][0]) == pytest.approx(expected, rel=1e-5)


def test_a_hit_needs_both_ends():
    logits = np.zeros((1, 4, 2), np.float32)
    logits[0, 1, 0] = logits[0, 2, 1] = 5
    weights = np.array([[1, 0, 0, 0]], np.float32)
    positions = np.arange(4)[None]
    for marks, hits in (((1, 2), 1), ((1, 3), 0), ((0, 2), 0), ((2, 1), 0)):
        targets = np.zeros((1, 4), np.int32)
        targets[0, marks[0]] |= 1
        targets[0, marks[1]] |= 2
        found = losses.span_cross_entropy(logits, targets, weights, positions=positions)
        assert float(found["accuracy"][0]) == hits, marks


def test_the_gradient_of_a_packed_row_is_finite_and_that_of_its_segments():
    arrays, (positions, segments), apart = segments_of(5, 8, width=20)
    logits, *rest = arrays

    def total(x):
        sums = losses.span_cross_entropy(
            x, *rest, positions=positions, segments=segments
        )
        return sums["loss"][0]

    got = np.asarray(jax.jit(jax.grad(total))(logits))
    assert np.isfinite(got).all() and not got[0, 13:].any()
    at = 0
    for x, targets in apart:
        marked = np.stack([targets & 1, targets >> 1], axis=1)
        expected = (np.asarray(jax.nn.softmax(x, axis=0)) - marked) / 2
        np.testing.assert_allclose(got[0, at : at + len(x)], expected, atol=1e-6)
        at += len(x)


def test_rows_of_padding_weigh_nothing_whatever_they_hold():
    (logits, targets, weights), (positions, segments), _ = segments_of(6, width=8)
    empty = {"positions": np.full((2, 8), -1), "segments": np.zeros((2, 8), np.int32)}
    nothing, marks = np.zeros((2, 8), np.float32), np.zeros((2, 8), np.int32)

    def total(x):
        sums = losses.span_cross_entropy(x, marks, nothing, **empty)
        return sums["loss"][0], sums

    for value in (0.0, 1e30, -1e30, np.inf, np.nan):
        rows = np.full((2, 8, 2), value, np.float32)
        (found, sums), slope = jax.value_and_grad(total, has_aux=True)(rows)
        assert float(found) == 0.0 and not np.asarray(slope).any()
        assert float(sums["loss"][1]) == float(sums["accuracy"][0]) == 0.0
    # A row that fills up an evaluation batch has tokens, but no weight.
    loud = np.where(positions[..., None] >= 0, 1e30, logits)
    found = losses.span_cross_entropy(
        loud, targets, 0 * weights, positions=positions, segments=segments
    )
    assert float(found["loss"][0]) == 0.0


def test_packed_rows_of_a_model_have_the_loss_of_rows_apart():
    objective = make(length=24, stride=3)
    texts = ("abcdefghijklmnopqrstuvw", "the cat sat.", "a b", "some words here")
    given = [asked("who?", text, text[2:5]) for text in texts]
    rows = [row for one in given for row in objective.featurize(one, BYTE)]
    for row in rows:
        row.pop("cut", None)
    model = tiny.model("encoder", head="span", vocab=BYTE.size, token_types=2)
    params = tiny.draw(model)
    apart = pack.stack(rows, 24, 0, 0)
    bins = pack.plan(np.array([[len(r["tokens"])] for r in rows]), (48,))
    packed = pack.stack([pack.join([rows[i] for i in one]) for one in bins], 48, 0, 0)
    assert len(packed["tokens"]) < len(rows)

    def sums(batch):
        return objective.loss(lambda p, b, rng: model.apply(p, b), params, batch)

    one, other = jax.jit(sums)(apart), jax.jit(sums)(packed)
    for name in ("loss", "accuracy"):
        assert float(one[name][0]) == pytest.approx(float(other[name][0]), rel=1e-5)
        assert float(one[name][1]) == float(other[name][1]) == len(rows)
