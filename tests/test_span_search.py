"""The best spans of two rows of scores, against all of them tried one by one."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks.objectives import span_search

quickly = hypothesis.settings(max_examples=100, deadline=None)


def brute(starts, ends, longest, allowed):
    """Return all valid spans, best first, then earliest, then shortest."""
    n = len(starts)
    found = [
        (float(starts[i]) + float(ends[j]), i, j)
        for i in range(n)
        for j in range(i, min(i + longest, n))
        if allowed[i] and allowed[j]
    ]
    return sorted(found, key=lambda one: (-one[0], one[1], one[2]))


@st.composite
def cases(draw):
    """Draw scores with many ties, where spans may stand, and the limits."""
    n = draw(st.integers(0, 12))
    score = st.sampled_from([-1e4, -2.5, -1.0, 0.0, 0.1, 1.0, 3.0])
    row = st.lists(score, min_size=n, max_size=n)
    allowed = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    numbers = [np.array(draw(row), np.float32) for _ in range(2)]
    return *numbers, np.array(allowed, bool), draw(st.integers(1, 14))


@quickly
@hypothesis.given(cases(), st.integers(1, 200))
def test_the_best_spans_are_those_of_trying_all(case, count):
    starts, ends, allowed, longest = case
    found = span_search.best_spans(
        starts, ends, longest=longest, count=count, allowed=allowed
    )
    assert found == brute(starts, ends, longest, allowed)[:count]


def test_the_best_spans_of_a_whole_window_are_those_of_trying_all():
    rng = np.random.default_rng(0)
    for _ in range(5):
        starts, ends = rng.normal(size=(2, 300)).astype(np.float32)
        found = span_search.best_spans(starts, ends, longest=30, count=20)
        assert found == brute(starts, ends, 30, np.ones(300, bool))[:20]


def test_the_best_valid_pair_is_taken_where_the_two_largest_cross():
    starts = np.array([0.1, 0.2, 0.3, 5.0, 1.0, 0.0])
    ends = np.array([0.0, 6.0, 0.1, 0.2, 2.5, 0.3])
    assert (np.argmax(starts), np.argmax(ends)) == (3, 1)
    (best, second), rest = (
        span_search.best_spans(starts, ends, longest=6, count=2),
        span_search.best_spans(starts, ends, longest=1, count=1),
    )
    assert best == (7.5, 3, 4)
    assert second == (pytest.approx(6.2), 1, 1)
    assert rest == [(pytest.approx(6.2), 1, 1)]


def test_what_has_no_valid_span_gives_none():
    nothing = np.zeros(0)
    assert span_search.best_spans(nothing, nothing, longest=3, count=2) == []
    nowhere = {"longest": 3, "count": 2, "allowed": np.zeros(4, bool)}
    assert span_search.best_spans(np.zeros(4), np.zeros(4), **nowhere) == []
    lost = np.full(3, np.nan)
    assert span_search.best_spans(lost, lost, longest=3, count=2) == []


def test_one_part_of_the_text_is_kept_once_with_its_best_score():
    found = [
        span_search.Found(0, 4, 1.0),
        span_search.Found(5, 9, 2.0),
        span_search.Found(0, 4, 3.0),
        span_search.Found(0, 9, 0.5),
    ]
    assert span_search.merged(found, 2) == [found[2], found[1]]
    assert span_search.merged(found, 9) == [found[2], found[1], found[3]]
