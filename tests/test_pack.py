"""Rows of fixed length: plans, joined rows, streams, and what stacking adds."""

import dataclasses
import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import generate

BYTE = tokenizers.train("byte", ())
CAPACITY = (16, 12, 5)
SIZES = st.lists(
    st.tuples(*(st.integers(0, limit) for limit in CAPACITY)), min_size=1, max_size=60
)
quickly = hypothesis.settings(max_examples=150, deadline=None)


def turns(prompt, reply):
    """Return a question with its answer."""
    return examples.Turns(
        (examples.Turn("user", prompt), examples.Turn("assistant", reply))
    )


def pieces_of(texts, objective, example_of):
    """Return the rows of texts."""
    found = records.Records(list(texts), "toy", "mark")
    return features.Pieces(found, example_of, objective, BYTE)


def written(count=40, architecture="decoder", length=48, source_length=40):
    """Return rows of questions and answers of many lengths."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 17, (count, 2))
    setting = base.Setting(architecture, length=length, source_length=source_length)
    return pieces_of(
        [turns("q" * a, "r" * b) for a, b in sizes],
        generate.Generate(setting),
        lambda example: example,
    )


def row(tokens, weights=None, **more):
    """Return one row of features."""
    n = len(tokens)
    return {
        "tokens": np.asarray(tokens, np.int32),
        "positions": np.arange(n, dtype=np.int32),
        "weights": np.ones(n, np.float32) if weights is None else np.float32(weights),
        **more,
    }


def test_a_plan_fills_the_oldest_bin_with_room_largest_first():
    sizes = np.array([[5], [3], [3], [2]])
    assert pack.plan(sizes, (8,)) == [[0, 1], [2, 3]]
    # 7 + 3, 6 + 4, 5 + 5, 1.
    sizes = np.array([[5], [4], [7], [6], [3], [5], [1]])
    assert pack.plan(sizes, (10,)) == [[2, 4], [3, 1], [0, 5], [6]]
    # The second dimension keeps the two small ones apart.
    sizes = np.array([[2, 3], [2, 3], [6, 1]])
    assert pack.plan(sizes, (10, 4)) == [[2, 0], [1]]


@quickly
@hypothesis.given(sizes=SIZES)
def test_a_plan_places_each_row_once_within_every_capacity(sizes):
    sizes = np.array(sizes)
    bins = pack.plan(sizes, CAPACITY)
    assert sorted(i for one in bins for i in one) == list(range(len(sizes)))
    for one in bins:
        assert one and (sizes[one].sum(axis=0) <= CAPACITY).all()


@quickly
@hypothesis.given(sizes=SIZES, most=st.integers(1, 6))
def test_a_bin_holds_no_more_rows_than_asked(sizes, most):
    bins = pack.plan(np.array(sizes), CAPACITY, most=most)
    assert sorted(i for one in bins for i in one) == list(range(len(sizes)))
    assert max(len(one) for one in bins) <= most


@quickly
@hypothesis.given(sizes=SIZES)
def test_a_plan_is_a_function_of_the_sizes_and_wastes_no_whole_bin(sizes):
    sizes = np.array(sizes)
    bins = pack.plan(sizes, CAPACITY)
    assert pack.plan(sizes, CAPACITY) == bins
    # First fit: the first row of a later bin fits into no earlier one.
    for k, one in enumerate(bins):
        for earlier in bins[:k]:
            before = [i for i in earlier if _larger(sizes, i, one[0])]
            load = sizes[before].sum(axis=0) + sizes[one[0]]
            assert (load > CAPACITY).any() or sizes[before].sum(axis=0)[0] == 16


def _larger(sizes, i, j):
    """Return whether row i is placed before row j."""
    return (-sizes[i].max(), i) < (-sizes[j].max(), j)


def test_a_plan_of_no_rows_has_no_bins():
    assert pack.plan(np.zeros((0, 3), np.int64), CAPACITY) == []


def test_many_open_bins_still_place_every_row():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, (5000, 1))
    bins = pack.plan(sizes, (16,))
    assert sorted(i for one in bins for i in one) == list(range(5000))
    assert max(sizes[one].sum() for one in bins) <= 16
    assert sizes.sum() / (16 * len(bins)) > 0.97


def test_joined_rows_stand_side_by_side_as_segments_from_one():
    joined = pack.join([row([7, 8]), row([4, 5, 6])])
    assert joined["tokens"].tolist() == [7, 8, 4, 5, 6]
    assert joined["segments"].tolist() == [1, 1, 2, 2, 2]
    assert joined["positions"].tolist() == [0, 1, 0, 1, 2]
    assert "source_segments" not in joined


def test_joined_sources_are_segments_of_their_own():
    def both(tokens, source):
        places = np.arange(len(source), dtype=np.int32)
        return row(tokens, source=np.int32(source), source_positions=places)

    joined = pack.join([both([1], [5, 6, 7]), both([2, 3], [8]), both([4], [9, 9])])
    assert joined["segments"].tolist() == [1, 2, 2, 3]
    assert joined["source"].tolist() == [5, 6, 7, 8, 9, 9]
    assert joined["source_segments"].tolist() == [1, 1, 1, 2, 3, 3]
    assert joined["source_positions"].tolist() == [0, 1, 2, 0, 0, 1]


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_packed_rows_hold_every_piece_once_and_fit(architecture):
    found = written(architecture=architecture)
    rows = pack.PackedRows(found, 48, 40)
    assert sorted(k for one in rows.bins for k in one) == list(range(len(found)))
    assert len(rows) < len(found)
    seen = []
    for i in range(len(rows)):
        one = rows.row(0, i)
        assert len(one["tokens"]) == rows.size(i)[0] <= 48
        assert len(one.get("source", ())) == rows.size(i)[1] <= 40
        assert np.count_nonzero(one["weights"]) <= rows.weighted
        assert one["segments"].max() == len(rows.examples(0, i))
        seen += rows.examples(0, i)
    assert sorted(seen) == list(range(len(found)))
    sizes = np.asarray([rows.size(i) for i in range(len(rows))])
    assert rows.widest == tuple(sizes.max(0))
    # An encoder-decoder's rows are as wide as their fullest one.
    width = 48 if architecture == "decoder" else sizes.max(0).sum()
    assert rows.fill == sizes.sum() / (width * len(rows))


def test_packed_rows_are_full_where_only_the_length_limits_them():
    rng = np.random.default_rng(0)
    setting = base.Setting("encoder", length=64, labels=("a", "b"))
    found = pieces_of(
        ["x" * n for n in rng.integers(3, 30, 400)],
        classify.ClassifyHead(setting),
        lambda text: examples.Labelled(text, "a"),
    )
    rows = pack.PackedRows(found, 64, 64)
    assert rows.fill > 0.9
    # What is gathered before the head stays a small part of the row.
    assert rows.weighted <= 64 // 4


def test_a_packed_row_is_the_same_in_every_epoch():
    rows = pack.PackedRows(written(), 48, 40)
    one, again = rows.row(0, 1), rows.row(7, 1)
    assert all(np.array_equal(one[k], again[k]) for k in one)


def test_padded_rows_are_the_pieces():
    found = written()
    rows = pack.PaddedRows(found)
    assert len(rows) == len(found)
    assert rows.row(3, 5) is found[5].features
    assert rows.size(5) == (len(found[5].features["tokens"]), 0)
    assert rows.examples(0, 5) == [5]
    assert rows.weighted == max(np.count_nonzero(p.features["weights"]) for p in found)


def stream(documents, start=None, length=3, seed=0):
    """Return rows of a stream of documents."""
    documents = [np.asarray(d, np.int32) for d in documents]
    return pack.StreamRows(
        *pack.concatenate(documents, start), length=length, seed=seed, key="k"
    )


A, B, C, D, E, END, START = 1, 2, 3, 4, 5, 8, 9


def test_the_worked_example_of_stream_rows_is_what_they_do():
    # stream ^ a b c $ ^ d e $, T = 3, offset 3:
    #     tokens c $ ^ | targets $ ^ d | ...
    lines = pack.StreamRows.__doc__.splitlines()
    at = next(i for i, line in enumerate(lines) if "offset " in line and ":" in line)
    names = {"a": A, "b": B, "c": C, "d": D, "e": E, "$": END, "^": START}
    said, _, rest = lines[at].strip().removeprefix("stream ").partition(", T = ")
    length, _, offset = rest.rstrip(":").partition(", offset ")
    documents = [part.split() for part in said.split("^")[1:]]
    documents = [[names[name] for name in one] for one in documents]
    # Another document, so that there is a row to cut.
    rows = stream([*documents, [D] * 9], start=START, length=int(length))
    rows._offset = lambda epoch: int(offset)
    found = rows.row(0, 0)
    for part in lines[at + 1].split("|"):
        key, *values = part.split()
        expected = [names[v] if v in names else float(v) for v in values]
        assert found[key].tolist() == expected, key


def test_a_stream_is_cut_into_rows_whose_targets_are_the_next_tokens():
    rows = stream([[A, B, C, END], [D, E, END], [A, A, A, A, A, END]], start=START)
    # ^ a b c $ ^ d e $ ^ a a a a a $: two rows from any offset below 3.
    whole = [START, A, B, C, END, START, D, E, END, START, A, A, A, A, A, END]
    assert rows.stream.tolist() == whole and rows.begins.tolist() == [0, 5, 9]
    assert len(rows) == 4
    rows._offset = lambda epoch: 2
    first, second = rows.row(0, 0), rows.row(0, 1)
    assert first["tokens"].tolist() == [B, C, END]
    assert first["targets"].tolist() == [C, END, START]
    assert first["weights"].tolist() == [1, 1, 0]
    assert first["segments"].tolist() == [1, 1, 1]
    assert first["positions"].tolist() == [0, 1, 2]
    assert second["tokens"].tolist() == [START, D, E]
    assert second["targets"].tolist() == [D, E, END]
    assert second["weights"].tolist() == [1, 1, 1]
    third = rows.row(0, 2)
    assert third["tokens"].tolist() == [END, START, A]
    assert third["segments"].tolist() == [1, 2, 2]
    assert third["positions"].tolist() == [0, 0, 1]
    assert third["weights"].tolist() == [0, 1, 1]


DOCUMENTS = st.lists(
    st.lists(st.integers(10, 20), min_size=1, max_size=9).map(lambda d: [*d, END]),
    min_size=6,
    max_size=12,
)


@quickly
@hypothesis.given(
    documents=DOCUMENTS,
    start=st.sampled_from([None, START]),
    length=st.integers(1, 5),
    epoch=st.integers(0, 9),
)
def test_a_token_is_a_target_at_most_once_and_never_across_documents(
    documents, start, length, epoch
):
    rows = stream(documents, start, length)
    begins = {0}
    for document in documents:
        begins.add(max(begins) + len(document) + (start is not None))
    seen = []
    offset = rows._offset(epoch)
    for i in range(len(rows)):
        one = rows.row(epoch, i)
        at = offset + i * length + np.arange(length)
        np.testing.assert_array_equal(one["tokens"], rows.stream[at])
        np.testing.assert_array_equal(one["targets"], rows.stream[at + 1])
        for place, weight in zip(at + 1, one["weights"], strict=True):
            # A document's first token has nothing before it to be predicted from.
            assert weight == (place not in begins)
        seen += (at + 1).tolist()
        crossing = np.flatnonzero([place in begins for place in at])
        steps = np.diff(one["segments"], prepend=one["segments"][0])
        assert np.flatnonzero(steps).tolist() == crossing[crossing > 0].tolist()
        assert (one["positions"][crossing] == 0).all() and one["positions"][0] == 0
    assert len(set(seen)) == len(seen)
    # No more than two rows' worth of tokens is left out of an epoch.
    assert len(rows.stream) - 1 - len(seen) < 2 * length


def test_positions_count_within_a_document_and_restart_in_the_next():
    rows = stream([range(10, 14), range(20, 29)], length=6)
    for epoch in range(4):
        one = rows.row(epoch, 0)
        for segment in set(one["segments"].tolist()):
            places = one["positions"][one["segments"] == segment]
            np.testing.assert_array_equal(places, np.arange(len(places)))


def test_every_token_with_something_before_it_is_a_target_in_some_epoch():
    documents = [[*range(10 * k, 10 * k + 7)] for k in range(1, 5)]
    rows = stream(documents, length=4)
    seen = set()
    for epoch in range(40):
        for i in range(len(rows)):
            one = rows.row(epoch, i)
            seen |= set(one["targets"][one["weights"] > 0].tolist())
    inner = {t for d in documents for t in d[1:]}
    # Those after the last whole row of even the latest cut are never reached.
    assert inner - seen <= set(documents[-1][-4:])


def test_epochs_cut_the_stream_at_other_places():
    rows = stream([range(10, 90)], length=8)
    firsts = {int(rows.row(epoch, 0)["tokens"][0]) for epoch in range(30)}
    assert len(firsts) > 4 and firsts <= set(range(10, 18))
    again = stream([range(10, 90)], length=8)
    assert [again._offset(e) for e in range(9)] == [rows._offset(e) for e in range(9)]
    other = stream([range(10, 90)], length=8, seed=1)
    assert [other._offset(e) for e in range(9)] != [rows._offset(e) for e in range(9)]


def test_the_documents_of_a_row_are_named():
    rows = stream([range(4), range(3), range(9)], length=5)
    rows._offset = lambda epoch: 3
    assert rows.examples(0, 0) == [0, 1, 2]
    assert rows.examples(0, 1) == [2]


def test_a_text_too_short_for_one_row_says_what_to_do():
    with pytest.raises(ValueError, match="5 tokens.*data.length=3"):
        stream([range(5)], length=3)
    assert len(stream([range(7)], length=3)) == 1


def test_stacked_rows_are_padded_with_what_empty_means():
    both = {
        "source": np.int32([5]),
        "source_positions": np.int32([0]),
        "token_types": np.int32([1, 1]),
        "prefix": np.array([True, True]),
    }
    long = {
        "source": np.int32([6, 7]),
        "source_positions": np.int32([0, 1]),
        "token_types": np.int32([1, 1, 1]),
        "prefix": np.array([True, False, True]),
    }
    rows = [row([3, 4], [0, 1], **both), row([1, 2, 3], [1, 0, 0.5], **long)]
    batch = pack.stack(rows, 4, 3, 0)
    assert batch["tokens"].tolist() == [[3, 4, 0, 0], [1, 2, 3, 0]]
    assert batch["positions"].tolist() == [[0, 1, -1, -1], [0, 1, 2, -1]]
    assert batch["weights"].tolist() == [[0, 1, 0, 0], [1, 0, 0.5, 0]]
    assert batch["source"].tolist() == [[5, 0, 0], [6, 7, 0]]
    assert batch["source_positions"].tolist() == [[0, -1, -1], [0, 1, -1]]
    assert batch["token_types"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch["prefix"].tolist() == [
        [True, True, False, False],
        [True, False, True, False],
    ]
    kinds = {key: value.dtype for key, value in batch.items()}
    assert kinds.pop("weights") == np.float32 and kinds.pop("prefix") == np.bool_
    assert set(kinds.values()) == {np.dtype(np.int32)}
    assert "at" not in batch


@quickly
@hypothesis.given(
    weights=st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=9),
        min_size=1,
        max_size=4,
    ),
    spare=st.integers(0, 3),
)
def test_gathered_places_are_exactly_the_weighted_ones(weights, spare):
    rows = [row(range(1, len(w) + 1), w) for w in weights]
    size = max(np.count_nonzero(w) for w in weights) + spare
    batch = pack.stack(rows, 10, 0, size or 1)
    for i, one in enumerate(rows):
        at = batch["at"][i]
        assert at[at < 10].tolist() == np.flatnonzero(one["weights"]).tolist()
        assert (at[len(at[at < 10]) :] == 10).all()


def test_packed_batches_gather_all_targets_of_all_their_rows():
    rows = pack.PackedRows(written(), 48, 40)
    chosen = [rows.row(0, i) for i in range(len(rows))]
    batch = pack.stack(chosen, 48, 0, rows.weighted)
    for i in range(len(rows)):
        at = batch["at"][i]
        np.testing.assert_array_equal(
            batch["targets"][i][at[at < 48]],
            batch["targets"][i][batch["weights"][i] > 0],
        )


def test_a_batch_takes_the_smallest_bucket_that_holds_all_rows():
    shape = pack.Shape(buckets=(8, 16, 32), source_buckets=(4, 12))
    assert shape.of([(3, 2), (8, 4)]) == (8, 4)
    assert shape.of([(9, 1), (2, 5)]) == (16, 12)
    assert shape.of([(32, 12)]) == (32, 12)
    alone = dataclasses.replace(shape, source_buckets=())
    assert alone.of([(17, 0)]) == (32, 0)


def test_default_buckets_grow_by_halves_up_to_the_length():
    assert pack.default_buckets(128) == (16, 24, 32, 48, 64, 96, 128)
    assert pack.default_buckets(100) == (16, 24, 32, 48, 64, 96, 100)
    assert pack.default_buckets(16) == (16,)
    assert pack.default_buckets(7) == (7,)
    for length in (33, 512, 4097):
        buckets = pack.default_buckets(length)
        assert buckets[-1] == length and list(buckets) == sorted(set(buckets))
        pairs = itertools.pairwise(buckets)
        assert all(b <= 1.5 * a for a, b in pairs)
