"""Which tokens are chosen, and what stands in their place: counts, shares, words."""

import collections
import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lmtasks import tokenizers
from lmtasks.data import noise

BYTE = tokenizers.train("byte", ())
quickly = hypothesis.settings(max_examples=60, deadline=None)
TEXTS = [
    "the weaver walked slowly and waved at the walkers",
    "walking and waving, the slow walker waited for a wave",
    "a wave of slowness weaves the water while walkers walk",
]


def trained(kind, size=60):
    """Return a small tokenizer of a kind, trained on TEXTS."""
    options = tokenizers.Options(exact=False)
    return tokenizers.train(kind, TEXTS, size=size, options=options)


def row(text, tokenizer=BYTE):
    """Return [CLS] text [SEP] as int32."""
    ids = [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id]
    return np.asarray(ids, np.int32)


def words(tokenizer, text):
    """Return the pieces of each word of a row, special tokens left out."""
    ids = row(text, tokenizer)
    units = noise.units_of(ids, tokenizer, "word")
    assert units[0] == units[-1] == -1
    found = collections.defaultdict(list)
    for id, unit in zip(ids.tolist(), units.tolist(), strict=True):
        found[unit].append(id)
    del found[-1]
    return [tokenizer.decode(found[k]).strip() for k in sorted(found)]


# How many.


@pytest.mark.parametrize(
    ("length", "rate", "wanted"),
    # The rate of all tokens, the two special ones counted; half goes to even.
    [(20, 0.15, 3), (128, 0.15, 19), (10, 0.15, 2), (30, 0.15, 4), (3, 0.15, 1),
     (4, 0.9, 2), (12, 0.5, 6)],
)  # fmt: skip
def test_as_many_are_chosen_as_bert_chooses(length, rate, wanted):
    ids = row("x" * (length - 2))
    units = noise.units_of(ids, BYTE, "token")
    assert noise.count(units, rate) == wanted
    rng = np.random.default_rng(0)
    _, chosen = noise.masked(ids, BYTE, noise.Noise(rate=rate), rng)
    assert chosen.sum() == wanted


@quickly
@hypothesis.given(
    text=st.text(st.sampled_from("ab \n"), min_size=1, max_size=80),
    rate=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31),
)
def test_special_tokens_are_never_chosen_and_the_count_is_exact(text, rate, seed):
    ids = row(text)
    rng = np.random.default_rng(seed)
    tokens, chosen = noise.masked(ids, BYTE, noise.Noise(rate=rate), rng)
    assert not chosen[[0, -1]].any()
    assert chosen.sum() == min(len(text), max(1, round(rate * len(ids))))
    np.testing.assert_array_equal(tokens[~chosen], ids[~chosen])


def test_a_row_of_special_tokens_alone_stays_as_it_is():
    ids = np.asarray([BYTE.cls_id, BYTE.unk_id, BYTE.sep_id], np.int32)
    for unit in noise.UNITS:
        rng = np.random.default_rng(0)
        tokens, chosen = noise.masked(ids, BYTE, noise.Noise(unit=unit), rng)
        assert not chosen.any()
        np.testing.assert_array_equal(tokens, ids)
    same = noise.shuffled(ids, BYTE, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(same, ids)


def test_every_token_is_chosen_equally_often():
    ids, rng = row("abcdefghijklmnopqr"), np.random.default_rng(0)
    draws = [noise.masked(ids, BYTE, noise.Noise(), rng)[1] for _ in range(3000)]
    share = np.mean(draws, axis=0)[1:-1]
    # 3 of 18; six deviations of a share of 3000 draws are .041.
    assert np.abs(share - 3 / 18).max() < 0.041


# What stands there.


@pytest.mark.parametrize("unit", noise.UNITS)
def test_four_fifths_are_hidden_a_tenth_replaced_and_a_tenth_kept(unit):
    tokenizer = trained("wordpiece")
    ids, rng = row(" ".join(TEXTS), tokenizer), np.random.default_rng(1)
    hidden = kept = other = 0
    for _ in range(400):
        tokens, chosen = noise.masked(ids, tokenizer, noise.Noise(unit=unit), rng)
        new = tokens[chosen]
        hidden += (new == tokenizer.mask_id).sum()
        kept += (new == ids[chosen]).sum()
        other += ((new != tokenizer.mask_id) & (new != ids[chosen])).sum()
        assert not np.isin(new, [*tokenizer.special_ids - {tokenizer.mask_id}]).any()
    shares = np.array([hidden, other, kept]) / (hidden + other + kept)
    # A random token is the one that was there once in 50.
    assert np.abs(shares - [0.8, 0.098, 0.102]).max() < 0.03


def test_other_shares_are_kept_to():
    ids, rng = row("abcdefgh" * 4), np.random.default_rng(0)
    always = noise.Noise(mask=1.0, random=0.0)
    tokens, chosen = noise.masked(ids, BYTE, always, rng)
    assert (tokens[chosen] == BYTE.mask_id).all()
    never = noise.Noise(mask=0.0, random=0.0)
    tokens, chosen = noise.masked(ids, BYTE, never, rng)
    np.testing.assert_array_equal(tokens, ids)
    assert chosen.any()


def test_a_random_token_may_be_any_of_the_vocabulary_but_no_special_one():
    ids, rng = row("a" * 200), np.random.default_rng(0)
    any_other = noise.Noise(rate=0.9, mask=0.0, random=1.0)
    seen = set()
    for _ in range(40):
        tokens, chosen = noise.masked(ids, BYTE, any_other, rng)
        seen |= set(tokens[chosen].tolist())
    assert seen == set(range(BYTE.size)) - BYTE.special_ids


def test_the_same_generator_draws_the_same_row():
    ids = row(" ".join(TEXTS))
    for unit in noise.UNITS:
        one, again, other = (
            noise.masked(ids, BYTE, noise.Noise(unit=unit), np.random.default_rng(s))
            for s in ((0, 3, 7), (0, 3, 7), (0, 4, 7))
        )
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one[1], other[1])


# Words.


@pytest.mark.parametrize("kind", ("wordpiece", "bytebpe", "bpe", "unigram", "word"))
def test_the_pieces_of_a_word_are_a_unit(kind):
    tokenizer = trained(kind, 60 if kind in ("wordpiece", "word") else 320)
    text = "the walkers waved slowly"
    assert words(tokenizer, text) == text.split()
    if kind != "word":
        assert len(tokenizer.encode(text)) > 4, "every word is a piece"


@pytest.mark.parametrize("kind", ("byte", "char"))
def test_bytes_and_characters_are_split_at_spaces_and_line_breaks(kind):
    tokenizer = BYTE if kind == "byte" else trained(kind)
    assert words(tokenizer, "the wave") == ["the", "wave"]
    if kind == "byte":
        found = words(tokenizer, "a bc\nde\tf")
        assert found == ["a", "bc", "", "de", "", "f"], "a line break is a unit, too"


def test_a_word_begins_after_a_special_token():
    letters = trained("char")
    the, unknown = letters.encode("the"), letters.unk_id
    ids = np.asarray([*the, unknown, *the], np.int32)
    units = noise.units_of(ids, letters, "word")
    assert units.tolist() == [0, 0, 0, -1, 1, 1, 1]


def test_the_example_of_the_docstring(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bass", "##oon", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    bert = tokenizers.load(tmp_path)
    ids = row("a bassoon.", bert)
    assert noise.units_of(ids, bert, "word").tolist() == [-1, 0, 1, 1, 2, -1]
    assert noise.units_of(ids, bert, "token").tolist() == [-1, 0, 1, 2, 3, -1]


@quickly
@hypothesis.given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    rate=st.floats(0.05, 0.6),
    unit=st.sampled_from(("word", "span")),
    seed=st.integers(0, 2**31),
)
def test_whole_words_stay_whole_and_their_number_is_the_same_in_every_draw(
    lengths, rate, unit, seed
):
    text = " ".join("x" * n for n in lengths)
    ids, rng = row(text), np.random.default_rng(seed)
    setting = noise.Noise(rate=rate, unit=unit)
    units = noise.units_of(ids, BYTE, unit)
    draws = [noise.masked(ids, BYTE, setting, rng)[1] for _ in range(4)]
    for chosen in draws:
        of_words = [chosen[units == k] for k in range(units.max() + 1)]
        assert all(word.all() or not word.any() for word in of_words)
        assert not chosen[units < 0].any()
    assert len({int(chosen.sum()) for chosen in draws}) == 1
    widths = np.bincount(units[units >= 0])
    most = max(noise.count(units, rate), widths.min())
    assert draws[0].sum() == max(sums(widths.tolist(), most))


def sums(lengths, most):
    """Return all sums of some of the lengths that are at most `most`."""
    found = {0}
    for length in lengths:
        found |= {s + length for s in found if s + length <= most}
    return found


def test_as_much_of_the_budget_is_used_as_whole_units_can_make_up():
    for lengths in itertools.product((1, 2, 3), repeat=4):
        for budget in range(1, 10):
            taken = noise.fill(np.array(lengths), budget)
            total = sum(n for n, t in zip(lengths, taken, strict=True) if t)
            assert total == max(sums(lengths, budget))


def test_units_are_taken_in_their_order_where_they_fit():
    def taken(lengths, budget):
        return noise.fill(np.array(lengths), budget).astype(int).tolist()

    assert taken([1, 1, 1, 1], 2) == [1, 1, 0, 0]
    assert taken([3, 2, 2, 1], 4) == [1, 0, 0, 1]
    assert taken([3, 2, 2], 4) == [0, 1, 1]
    assert taken([5, 2], 9) == [1, 1]


def test_a_text_of_words_too_long_for_the_budget_hides_its_shortest_whole():
    ids = row("abcdefgh abcd abcdefghij")
    units = noise.units_of(ids, BYTE, "word")
    assert noise.count(units, 0.1) == 3
    _, chosen = noise.masked(
        ids, BYTE, noise.Noise(rate=0.1, unit="word"), np.random.default_rng(0)
    )
    assert BYTE.decode(ids[chosen]) == " abcd"


# Spans.


def lines(count):
    """Return (ids of a row of `count` words of one letter, their unit numbers)."""
    ids = row(" ".join("x" * count))
    return ids, noise.units_of(ids, BYTE, "span")


def test_spans_have_the_lengths_of_a_geometric_distribution_that_is_cut_off():
    _, units = lines(4000)
    widths = collections.Counter()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        groups = noise.choose(units, 600, noise.Noise(unit="span"), rng)
        # Another span, or the last word of the budget, may end one early.
        chosen = collections.Counter(groups[groups >= 0].tolist())
        widths.update((n + 1) // 2 for n in chosen.values())
    assert max(widths) == 10
    share = np.array([widths[n] for n in range(1, 11)]) / widths.total()
    wanted = 0.8 ** np.arange(10) / (0.8 ** np.arange(10)).sum()
    assert np.abs(share - wanted).max() < 0.04
    mean = (share * np.arange(1, 11)).sum()
    assert mean == pytest.approx(3.8, abs=0.25)


def test_the_tokens_of_a_span_share_what_stands_in_their_place():
    ids, units = lines(300)
    hidden = kept = 0
    for seed in range(20):
        setting = noise.Noise(unit="span", mask=0.5, random=0.0)
        tokens, chosen = noise.masked(
            ids, BYTE, setting, np.random.default_rng((5, seed))
        )
        groups = noise.choose(
            units, noise.count(units, 0.15), setting, np.random.default_rng((5, seed))
        )
        np.testing.assert_array_equal(groups >= 0, chosen)
        for group in set(groups[chosen].tolist()):
            part = tokens[groups == group] == BYTE.mask_id
            assert part.all() or not part.any()
            hidden, kept = hidden + part.all(), kept + (not part.any())
    assert hidden > 50 and kept > 50


def test_a_longest_span_of_one_word_is_whole_word_masking():
    ids, units = lines(50)
    one = noise.Noise(unit="span", span_max=1)
    groups = noise.choose(units, 10, one, np.random.default_rng(0))
    assert max(collections.Counter(groups[groups >= 0].tolist()).values()) <= 2
    assert noise.masked(ids, BYTE, one, np.random.default_rng(0))[1].any()


# Replacements out of the row.


def test_replacements_are_tokens_of_the_row_and_no_special_ones():
    ids, rng = row("aaaaaaabbbcd" * 5), np.random.default_rng(0)
    changed, seen = 0, collections.Counter()
    for _ in range(300):
        tokens = noise.shuffled(ids, BYTE, 0.2, rng)
        assert tokens[0] == BYTE.cls_id and tokens[-1] == BYTE.sep_id
        assert set(tokens.tolist()) <= set(ids.tolist())
        differs = tokens != ids
        assert differs.sum() <= round(0.2 * len(ids))
        changed += differs.sum()
        seen.update(tokens[differs].tolist())
    # A token is drawn as often as it stands in the row; (7 + 3 + 1 + 1) / 12 each.
    stays = (7**2 + 3**2 + 1 + 1) / 12**2
    share = changed / (300 * round(0.2 * len(ids)))
    assert share == pytest.approx(1 - stays, abs=0.03)
    a, b, c, _ = (seen[i] for i in BYTE.encode("abcd"))
    assert a > b > c > 0
