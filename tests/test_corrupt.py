"""What is taken out of a text, in which sizes, and that it can be put back."""

import collections
import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import corrupt

BYTE = tokenizers.train("byte", (), sentinels=40)
MARKS = corrupt.marks_of(BYTE)
WIDE = 1 << 20
quickly = hypothesis.settings(max_examples=80, deadline=None)
# Ids that are no sentinel and no mask.
SENTINELS = np.arange(9999, 9000, -1)
MANY = corrupt.Marks(SENTINELS, 9000, *(np.zeros(10000, bool) for _ in "abc"))


def ids(size):
    """Return that many different ids."""
    return np.arange(100, 100 + size, dtype=np.int32)


# Sizes.


@pytest.mark.parametrize(
    ("source", "raw", "target", "counts"),
    [(512, 568, 114, (85, 28)), (1024, 1137, 229, (171, 57)), (256, 284, 58, (43, 14)),
     (128, 141, 29, (21, 7))],
)  # fmt: skip
def test_lengths_are_those_of_t5(source, raw, target, counts):
    spans = corrupt.Spans()
    assert spans.longest(source - 1, WIDE) == raw  # 1: the end-of-sequence
    assert spans.sizes(raw) == (source - 1, target - 1)
    assert spans.counts(raw) == counts


@pytest.mark.parametrize(
    ("rate", "mean", "raw", "target"),
    [(0.15, 8, 588, 100), (0.5, 3, 766, 512), (0.5, 8, 908, 512), (0.15, 64, 600, 92),
     (0.5, 64, 1006, 512)],
)  # fmt: skip
def test_lengths_are_those_of_ul2(rate, mean, raw, target):
    spans = corrupt.Spans(rate, mean)
    room = 511 if rate == 0.5 else WIDE  # both sides of 512, or as much as it takes
    assert spans.longest(511, room) == raw
    assert spans.sizes(raw)[1] + 1 == target


def test_halves_are_rounded_to_even_numbers():
    assert corrupt.Spans().counts(30) == (4, 1)
    assert corrupt.Spans().counts(31) == (5, 2)


@pytest.mark.parametrize("ends", corrupt.ENDS)
@quickly
@hypothesis.given(st.integers(2, 90), st.integers(2, 60))
def test_the_longest_text_fits_and_one_token_more_does_not(ends, source, target):
    spans = corrupt.Spans(0.3, 2.0, ends)
    longest = spans.longest(source, target)
    fits = lambda n: all(a <= b for a, b in zip(spans.sizes(n), (source, target)))
    assert longest == 0 or (fits(longest) and not fits(longest + 1))
    assert longest or not fits(2)


@pytest.mark.parametrize("rest", range(2, 30))
def test_no_token_is_left_alone(rest):
    taken = []
    while rest - sum(taken) > 1:
        taken.append(corrupt.size_of(rest - sum(taken), 7))
    assert sum(taken) == rest and max(taken) <= 7 and min(taken) > 1


# Masks.


def test_up_to_thirty_tokens_there_is_one_mask_its_end():
    for length in range(2, 31):
        taken, spans = corrupt.Spans().counts(length)
        assert spans == 1 and taken == max(round(0.15 * length), 1)
        rngs = (np.random.default_rng(seed) for seed in range(5))
        masks = [corrupt.span_mask(length, taken, spans, "noise", r) for r in rngs]
        wanted = np.arange(length) >= length - taken
        assert all((mask == wanted).all() for mask in masks)


@pytest.mark.parametrize("ends", corrupt.ENDS)
@quickly
@hypothesis.given(st.integers(2, 80), st.integers(0, 99))
def test_a_mask_has_as_many_tokens_and_spans_as_it_says(ends, length, seed):
    taken, spans = corrupt.Spans(0.3, 2.0).counts(length)
    rng = np.random.default_rng(seed)
    mask = corrupt.span_mask(length, taken, spans, ends, rng)
    runs = [key for key, _ in itertools.groupby(mask.tolist())]
    assert len(mask) == length and mask.sum() == taken and runs.count(True) == spans
    if ends == "noise":
        assert mask[-1] and not mask[0]


def test_every_division_into_spans_is_as_likely():
    # 3 of 6 tokens in 2 spans: 2 ways to divide the spans, 2 those between.
    rng, seen = np.random.default_rng(0), collections.Counter()
    for _ in range(4000):
        seen[
            "".join("01"[int(x)] for x in corrupt.span_mask(6, 3, 2, "noise", rng))
        ] += 1
    assert set(seen) == {"010011", "011001", "001011", "001101"}
    assert all(abs(n - 1000) < 120 for n in seen.values())


def test_any_span_may_begin_or_end_the_text():
    rng = np.random.default_rng(0)
    masks = [corrupt.span_mask(6, 2, 1, "any", rng) for _ in range(4000)]
    first = collections.Counter(int(np.flatnonzero(mask)[0]) for mask in masks)
    assert set(first) == {0, 1, 2, 3, 4}
    assert all(abs(n - 800) < 120 for n in first.values())


# The two sides.


def test_the_example_of_the_t5_paper():
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party"]
    words += ["last", "week"]
    mask = np.isin(words, ["for", "inviting", "last"])
    numbers = np.arange(len(words))
    source, target = corrupt.sides(numbers, mask, np.asarray([20, 21, 22]))
    names = dict(enumerate(words)) | {20: "<X>", 21: "<Y>", 22: "<Z>"}
    said = [" ".join(names[i] for i in side.tolist()) for side in (source, target)]
    assert said[0] == "Thank you <X> me to your party <Y> week"
    assert said[1] == "<X> for inviting <Y> last <Z>"


def test_the_sides_where_the_text_begins_and_ends_with_a_span():
    mask = np.asarray([1, 0, 1], bool)
    source, target = corrupt.sides(np.asarray([1, 2, 3]), mask, SENTINELS)
    assert source.tolist() == [9999, 2, 9998]
    assert target.tolist() == [9999, 1, 9998, 3]  # nothing follows: no sentinel closes
    _, target = corrupt.sides(np.asarray([1, 2, 3]), mask, SENTINELS, close=True)
    assert target.tolist() == [9999, 1, 9998, 3, 9997]


@pytest.mark.parametrize("ends", corrupt.ENDS)
@quickly
@hypothesis.given(st.integers(2, 80), st.integers(0, 99))
def test_both_sides_together_are_the_text_and_a_redraw_is_as_long(ends, length, seed):
    spans, rng = corrupt.Spans(0.3, 2.0, ends), np.random.default_rng(seed)
    given = ids(length)
    source, target = spans.draw(given, MANY, rng, (WIDE, WIDE))
    assert (len(source), len(target)) == spans.sizes(length)
    np.testing.assert_array_equal(corrupt.restored(source, target, SENTINELS), given)
    again = spans.redraw(source, target, MANY, rng)
    assert [len(x) for x in again] == [len(source), len(target)]
    np.testing.assert_array_equal(corrupt.restored(*again, SENTINELS), given)


def test_a_redraw_takes_out_other_tokens():
    spans, rng = corrupt.Spans(), np.random.default_rng(0)
    first = spans.draw(ids(100), MANY, rng, (WIDE, WIDE))
    again = spans.redraw(*first, MANY, rng)
    assert not np.array_equal(first[1], again[1])


def test_a_sentinel_without_a_span_stands_for_nothing_and_others_are_unheard():
    source = np.asarray([5, 9999, 6, 9998, 7])
    target = np.asarray([3, 9998, 8, 8, 9998, 4, 9990, 1])
    assert corrupt.restored(source, target, SENTINELS).tolist() == [5, 6, 8, 8, 7]


def test_a_target_without_sentinels_has_no_spans():
    assert corrupt.spans_of(np.asarray([1, 2]), SENTINELS) == {}
    assert corrupt.spans_of(np.zeros(0, np.int32), SENTINELS) == {}


# Beginnings.


@quickly
@hypothesis.given(st.integers(2, 40), st.integers(0, 99))
def test_a_prefix_and_its_rest_fit_and_are_the_text(length, seed):
    room = (30, 12)
    length = min(length, corrupt.Prefix().longest(*room))
    rng = np.random.default_rng(seed)
    head, tail = corrupt.Prefix().draw(ids(length), None, rng, room)
    np.testing.assert_array_equal(np.concatenate([head, tail]), ids(length))
    assert 1 <= len(head) <= room[0] and 1 <= len(tail) <= room[1]


def test_a_prefix_may_end_anywhere():
    rng = np.random.default_rng(0)
    draws = (corrupt.Prefix().draw(ids(5), None, rng, (5, 5)) for _ in range(2000))
    found = collections.Counter(len(head) for head, _ in draws)
    assert set(found) == {1, 2, 3, 4} and min(found.values()) > 400


# Infilling.


@quickly
@hypothesis.given(
    st.integers(2, 90), st.floats(0.05, 0.95), st.floats(0.01, 9), st.integers(0, 99)
)
def test_gaps_hide_the_share_of_the_text_and_fit(length, rate, mean, seed):
    rng = np.random.default_rng(seed)
    lengths = corrupt.gaps(length, rate, mean, rng)
    hidden = min(max(round(length * rate), 1), length - 1)
    assert lengths.sum() == hidden and 1 <= len(lengths) <= hidden
    shown = corrupt.infilled(ids(length), lengths, 9000, rng)
    assert len(shown) == length - hidden + len(lengths)
    kept = shown[shown != 9000]
    assert len(kept) == length - hidden and (np.diff(kept) > 0).all()
    assert not ((shown[1:] == 9000) & (shown[:-1] == 9000)).any()


def test_gaps_have_the_lengths_of_poisson():
    rng = np.random.default_rng(0)
    found = np.concatenate([corrupt.gaps(900, 0.3, 3.0, rng) for _ in range(200)])
    assert abs(found.mean() - 3) < 0.1 and abs(found.var() - 3) < 0.2
    assert abs((found == 0).mean() - np.exp(-3)) < 0.01


def test_a_gap_of_no_token_is_a_mask_between_two():
    lengths, rng = np.asarray([0, 2]), np.random.default_rng(3)
    shown = corrupt.infilled(ids(6), lengths, 9000, rng)
    masks = np.flatnonzero(shown == 9000)
    steps = [int(shown[i + 1] - shown[i - 1]) for i in masks if 0 < i < len(shown) - 1]
    assert len(shown) == 6 and set(steps) <= {1, 3}


@quickly
@hypothesis.given(st.integers(2, 80), st.integers(0, 99))
def test_the_target_of_infilling_is_the_text_and_a_redraw_is_as_long(length, seed):
    noise, rng = corrupt.Infill(permute=False), np.random.default_rng(seed)
    source, target = noise.draw(ids(length), MANY, rng, (WIDE, WIDE))
    np.testing.assert_array_equal(target, ids(length))
    again = noise.redraw(source, target, MANY, rng)
    assert len(again[0]) == len(source) <= length
    np.testing.assert_array_equal(again[1], ids(length))


# Sentences.


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", " Two!", " Three?"]),
        ("3.5 is e.g. small. Yes", ["3.5 is e.g.", " small.", " Yes"]),
        ("a title\na line. more", ["a title\n", "a line.", " more"]),
        ("none", ["none"]),
    ],
)
def test_sentences_change_places_whole(text, parts):
    given = np.asarray(BYTE.encode(text))
    rngs = (np.random.default_rng(seed) for seed in range(40))
    found = {BYTE.decode(corrupt.permuted(given, MARKS, rng)) for rng in rngs}
    assert found == {"".join(order) for order in itertools.permutations(parts)}
