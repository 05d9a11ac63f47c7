"""Batches by position: hosts, epochs, resuming, and evaluation batches."""

import collections
import sys
import threading

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import pipeline
from lmtasks.data import records
from lmtasks.objectives import base
from lmtasks.objectives import clm
from lmtasks.objectives import generate

BYTE = tokenizers.train("byte", ())
quickly = hypothesis.settings(max_examples=40, deadline=None)
BATCH = 8
LENGTH = 40


def pieces(count=37, architecture="decoder"):
    """Return rows of questions whose bytes name their number, of many lengths."""
    rng = np.random.default_rng(0)
    turn = examples.Turn
    made = [
        examples.Turns(
            (turn("user", f"{i:03}" + "q" * rng.integers(28)), turn("assistant", "r"))
        )
        for i in range(count)
    ]
    setting = base.Setting(architecture, length=LENGTH, source_length=LENGTH)
    return features.Pieces(
        records.Records(made, "toy", "mark"),
        lambda x: x,
        generate.Generate(setting),
        BYTE,
    )


def stream():
    """Return rows cut from documents."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(7, 200, n).astype(np.int32) for n in (30, 5, 90, 41)]
    return pack.StreamRows(*pack.concatenate(documents, 1), length=8, seed=0, key="k")


def layouts():
    """Return name -> (rows, order, shape) of the three kinds of rows."""
    found = pieces()
    padded, packed, cut = (
        pack.PaddedRows(found),
        pack.PackedRows(found, 40, 40),
        stream(),
    )
    buckets = pack.default_buckets(LENGTH)
    return {
        "padded": (
            padded,
            pipeline.Grouped(found.tokens, BATCH, 0),
            pack.Shape(buckets, (), padded.weighted),
        ),
        "packed": (
            packed,
            pipeline.Shuffled(len(packed), 0),
            pack.Shape((40,), (), packed.weighted),
        ),
        "stream": (cut, pipeline.Shuffled(len(cut), 0), pack.Shape((8,))),
    }


LAYOUTS = layouts()
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def data(layout, index=0, count=1, batch_size=BATCH):
    """Return the training batches of a layout as one host sees them."""
    rows, order, shape = LAYOUTS[layout]
    host = pipeline.Host(index, count)
    return pipeline.TrainData(rows, order, batch_size, shape, host)


def equal(one, other):
    """Assert that two batches are the same, bit for bit."""
    assert one.keys() == other.keys()
    for key in one:
        assert one[key].dtype == other[key].dtype
        np.testing.assert_array_equal(one[key], other[key])


@each_layout
@pytest.mark.parametrize("hosts", (1, 2, 4, 8))
def test_the_global_batch_is_the_same_for_any_number_of_hosts(layout, hosts):
    for step in (0, 3, 11):
        whole = data(layout).batch(step)
        parts = [data(layout, i, hosts).batch(step) for i in range(hosts)]
        assert {len(part["tokens"]) for part in parts} == {BATCH // hosts}
        joined = {k: np.concatenate([part[k] for part in parts]) for k in whole}
        equal(joined, whole)


@each_layout
def test_resuming_on_another_number_of_hosts_goes_on_with_the_same_rows(layout):
    before = [
        np.concatenate([data(layout, i, 2).batch(step)["tokens"] for i in range(2)])
        for step in range(5)
    ]
    after = [data(layout).batch(step)["tokens"] for step in range(5, 9)]
    straight = [data(layout).batch(step)["tokens"] for step in range(9)]
    for one, other in zip([*before, *after], straight, strict=True):
        np.testing.assert_array_equal(one, other)


@each_layout
def test_a_batch_is_the_same_whether_reached_by_running_or_by_jumping(layout):
    steps = list(data(layout).batches(0, 12))
    for k in (11, 0, 5):
        equal(steps[k], data(layout).batch(k))


@each_layout
def test_batches_from_a_later_step_go_on_where_the_earlier_ended(layout):
    straight = list(data(layout).batches(0, 14, threads=2))
    first = list(data(layout).batches(0, 5, threads=3))
    second = list(data(layout).batches(5, 14, threads=1))
    assert len(straight) == 14
    for one, other in zip([*first, *second], straight, strict=True):
        equal(one, other)


def test_the_last_step_ends_the_batches():
    assert len(list(data("padded").batches(3, 3))) == 0
    assert len(list(data("padded").batches(3, 4))) == 1


@quickly
@hypothesis.given(
    count=st.integers(1, 120), seed=st.integers(0, 9), epoch=st.integers(0, 5)
)
def test_shuffled_rows_come_once_an_epoch(count, seed, epoch):
    order = pipeline.Shuffled(count, seed)
    rows = [order.row(epoch, i) for i in range(count)]
    assert sorted(rows) == list(range(count))


@quickly
@hypothesis.given(
    count=st.integers(1, 300),
    batch_size=st.integers(1, 17),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 5),
)
def test_grouped_rows_come_once_an_epoch(count, batch_size, seed, epoch):
    lengths = np.random.default_rng(seed).integers(1, 50, count)
    order = pipeline.Grouped(lengths, batch_size, seed)
    rows = [order.row(epoch, i) for i in range(count)]
    assert sorted(rows) == list(range(count))


def test_rows_come_once_in_more_than_one_window_of_batches():
    lengths = np.random.default_rng(0).integers(1, 50, 1000)
    order = pipeline.Grouped(lengths, 3, 0)
    assert sorted(order.row(1, i) for i in range(1000)) == list(range(1000))


@pytest.mark.parametrize("order", ("shuffled", "grouped"))
def test_epochs_and_seeds_differ_and_repeat(order):
    lengths = np.random.default_rng(0).integers(1, 50, 101)

    def rows(seed, epoch):
        made = {
            "shuffled": pipeline.Shuffled(101, seed),
            "grouped": pipeline.Grouped(lengths, 4, seed),
        }[order]
        return [made.row(epoch, i) for i in range(101)]

    assert rows(0, 0) == rows(0, 0) != list(range(101))
    assert rows(0, 0) != rows(0, 1) and rows(0, 0) != rows(1, 0)


def test_grouped_batches_hold_rows_of_like_length_in_random_order():
    lengths = np.random.default_rng(0).integers(1, 100, 640)
    order = pipeline.Grouped(lengths, 8, 0)
    rows = lengths[[order.row(0, i) for i in range(640)]].reshape(-1, 8)
    spread = (rows.max(axis=1) - rows.min(axis=1)).mean()
    assert spread < 8
    means = rows.mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


def test_threads_that_read_two_epochs_at_once_get_the_right_rows():
    lengths = np.random.default_rng(0).integers(1, 50, 64)
    right = pipeline.Grouped(lengths, 4, 0)
    wanted = {e: [right.row(e, i) for i in range(64)] for e in (0, 1)}
    order = pipeline.Grouped(lengths, 4, 0)
    wrong = []

    def read(epoch):
        for _ in range(30):
            found = [order.row(epoch, i) for i in range(64)]
            if found != wanted[epoch]:
                wrong.append(epoch)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        readers = [threading.Thread(target=read, args=(e,)) for e in (0, 1, 0, 1)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


@each_layout
def test_every_row_is_read_once_before_any_is_read_again(layout):
    train = data(layout)
    n = len(train.rows)
    places = [place for step in range(3 * n) for place in train.places(step)]
    for epoch in range(3):
        rows = [row for e, row in places[epoch * n : (epoch + 1) * n] if e == epoch]
        assert sorted(rows) == list(range(n))


def test_a_batch_larger_than_the_data_reads_several_epochs():
    found = pieces(3)
    rows, order = pack.PaddedRows(found), pipeline.Grouped(found.tokens, 8, 0)
    train = pipeline.TrainData(rows, order, 8, pack.Shape((LENGTH,)))
    epochs = collections.Counter(epoch for epoch, _ in train.places(0))
    assert epochs == {0: 3, 1: 3, 2: 2}
    assert train.batch(0)["tokens"].shape == (8, LENGTH)


@pytest.mark.parametrize("layout", ("padded", "packed"))
def test_the_examples_of_a_batch_are_named(layout):
    train = data(layout)
    for step in range(6):
        batch, ids = train.batch(step), train.example_ids(step)
        text = BYTE.decode(batch["tokens"][batch["positions"] >= 0])
        assert len(text.replace("q", "").split(" r")) - 1 == len(ids)
        for i in ids:
            assert f"{i:03}" in text


def test_the_documents_of_a_batch_are_named():
    train = data("stream")
    for step in range(4):
        ids, rows = train.example_ids(step), train.places(step)
        assert ids == [k for epoch, i in rows for k in train.rows.examples(epoch, i)]
        assert set(ids) <= {0, 1, 2, 3}


@pytest.mark.parametrize("hosts", (3, 5, 16))
def test_a_batch_that_does_not_divide_among_hosts_is_refused(hosts):
    with pytest.raises(ValueError, match=f"not divisible by {hosts} processes"):
        pipeline.Host(0, hosts).block(BATCH)


def test_padded_batches_are_only_as_long_as_their_rows_need():
    train, widths = data("padded"), set()
    for step in range(10):
        batch = train.batch(step)
        longest = (batch["positions"] >= 0).sum(axis=1).max()
        width = batch["tokens"].shape[1]
        assert width == min(b for b in pack.default_buckets(LENGTH) if b >= longest)
        widths.add(width)
    assert len(widths) > 1


@pytest.mark.parametrize("count", (1, 7, 8, 9, 37))
@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_evaluation_reads_each_row_exactly_once(count, architecture):
    found = pieces(count, architecture)
    source = (LENGTH,) if architecture == "encoder_decoder" else ()
    shape = pack.Shape(pack.default_buckets(LENGTH), source, 4)
    batches = list(pipeline.eval_batches(found, BATCH, shape))
    assert len(batches) == -(-count // BATCH)
    seen = collections.Counter()
    for batch in batches:
        assert len(batch["tokens"]) == BATCH and batch["valid"].dtype == np.float32
        for i in np.flatnonzero(batch["valid"]):
            example = int(batch["example"][i])
            seen[example, int(batch["piece"][i])] += 1
            mine = found[example].features
            for key, array in mine.items():
                np.testing.assert_array_equal(batch[key][i][: len(array)], array)
    assert seen == {(i, 0): 1 for i in range(count)}
    assert sum(batch["valid"].sum() for batch in batches) == count


def test_evaluation_keeps_all_windows_of_an_example_apart():
    writer = clm.Clm(base.Setting("decoder", length=4))
    texts = records.Records([examples.Text("abcdefghij"), examples.Text("k")], "t", "m")
    found = features.Pieces(texts, lambda x: x, writer, BYTE)
    batches = list(pipeline.eval_batches(found, 3, pack.Shape((4,))))
    seen = [
        (int(e), int(p))
        for b in batches
        for e, p, v in zip(b["example"], b["piece"], b["valid"], strict=True)
        if v
    ]
    assert sorted(seen) == [(0, 0), (0, 1), (0, 2), (1, 0)]


@pytest.mark.parametrize("hosts", (2, 4, 8))
def test_evaluation_is_the_same_for_any_number_of_hosts(hosts):
    found, shape = pieces(13), pack.Shape(pack.default_buckets(LENGTH), (), 4)
    whole = list(pipeline.eval_batches(found, BATCH, shape))
    parts = [
        list(pipeline.eval_batches(found, BATCH, shape, pipeline.Host(i, hosts)))
        for i in range(hosts)
    ]
    assert {len(part) for part in parts} == {len(whole)}
    for k, batch in enumerate(whole):
        joined = {
            key: np.concatenate([part[k][key] for part in parts]) for key in batch
        }
        equal(joined, batch)


def test_evaluation_batches_hold_rows_of_like_length():
    found, shape = pieces(64), pack.Shape(tuple(range(1, LENGTH + 1)))
    widths = [
        batch["tokens"].shape[1] for batch in pipeline.eval_batches(found, 8, shape)
    ]
    assert widths == sorted(widths) and widths[-1] == found.tokens.max()
    assert sum(widths) * 8 < 1.15 * found.tokens.sum()


def test_nothing_to_evaluate_gives_no_batches():
    empty = features.Pieces(
        records.Records([], "t", "m"),
        lambda x: x,
        clm.Clm(base.Setting("decoder")),
        BYTE,
    )
    assert list(pipeline.eval_batches(empty, 8, pack.Shape((4,)))) == []
