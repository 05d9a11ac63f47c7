"""METEOR by its formula, and that synonyms are another score."""

import random

import pytest

from lmtasks.data import examples
from lmtasks.metrics import meteor


def scored(said, *golds):
    """Return the score of one text."""
    turns = (examples.Turn("user", "x"), examples.Turn("assistant", golds[0]))
    example = examples.Turns(turns, golds[1:])
    return meteor.meteor([{"text": said}], [example])["meteor"]


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        ("a b c d e f", "a b c d e f", 0.997685),
        ("f e d c b a", "a b c d e f", 0.5),
        ("a b x c d e f", "a b c d e f", 0.965392),  # 6 of 7 in two pieces
        ("x y", "a b", 0.0),
        ("", "a b", 0.0),
    ],
)
def test_the_formula(said, gold, value):
    assert scored(said, gold) == pytest.approx(value, abs=1e-6)


def test_stems_match_case_does_not_matter_and_the_best_gold_counts():
    assert scored("Cats SAT", "cat sat") == pytest.approx(scored("a b", "a b"))
    assert scored("a b", "x y", "a b") == scored("a b", "a b") > 0.9
    assert scored("dog", "hound") == 0.0  # a synonym


def fraction(said, gold):
    """Return the score by the paper's formula where every word is another one."""
    common = [word for word in said if word in gold]
    if not common:
        return 0.0
    places = [gold.index(word) for word in common]
    starts = [said.index(word) for word in common]
    chunks = 1 + sum(
        (b - a, y - x) != (1, 1)
        for a, b, x, y in zip(places, places[1:], starts, starts[1:], strict=False)
    )
    p, r = len(common) / len(said), len(common) / len(gold)
    mean = p * r / (0.9 * p + 0.1 * r)
    return mean * (1 - 0.5 * (chunks / len(common)) ** 3)


@pytest.mark.parametrize("seed", range(200))
def test_it_is_the_formula_on_random_texts(seed):
    rng, letters = random.Random(seed), list("abcdefghijkl")
    said = rng.sample(letters, rng.randint(1, 8))
    gold = rng.sample(letters, rng.randint(1, 8))
    expected = fraction(said, gold)
    assert scored(" ".join(said), " ".join(gold)) == pytest.approx(expected, abs=1e-9)


def test_synonyms_need_wordnet_and_have_another_name():
    example = examples.Turns((examples.Turn("assistant", "dog"),))
    try:
        found = meteor.meteor_wordnet([{"text": "dog"}], [example])
    except ValueError as error:
        assert "WordNet" in str(error) and "use meteor" in str(error)
    else:
        assert set(found) == {"meteor_wordnet"}
