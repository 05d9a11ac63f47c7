"""The statistics of paired systems: exact where there is an exact answer, and honest
about chance where there is none.
"""

import numpy as np
import pytest
import sacrebleu
from sacrebleu import significance
from scipy import stats

from lmtasks.metrics import forms
from lmtasks.studies import compare
from lmtasks.studies import statistics

# Written before the simulations were first run.
SEED = 20261130
WORDS = [f"word{i}" for i in range(16)]


def texts(rng, gold, changed):
    """Return texts in which so many of the words are others."""
    out = []
    for one in gold:
        swap = rng.random(len(one)) < changed
        other = rng.choice(WORDS, len(one))
        out.append(" ".join(np.where(swap, other, one)))
    return out


@pytest.mark.parametrize("kind", ["bs", "ar"])
def test_p_values_of_bleu_are_sacrebleus(kind):
    rng = np.random.default_rng(0)
    gold = [rng.choice(WORDS, rng.integers(4, 20)) for _ in range(120)]
    systems = [texts(rng, gold, share) for share in (0.30, 0.34, 0.29)]
    references = [[" ".join(one) for one in gold]]
    bleu = sacrebleu.BLEU(references=references)
    named = [(f"system {i}", list(said)) for i, said in enumerate(systems)]
    test = significance.PairedTest(
        named, {"BLEU": bleu}, references=None, test_type=kind, n_samples=1000
    )
    _, theirs = test()
    rows = [
        np.array(sacrebleu.BLEU()._extract_corpus_statistics(said, references), float)
        for said in systems
    ]
    for i in (1, 2):
        score = theirs["BLEU"][i]
        if kind == "bs":
            a, b = statistics.bootstrap([rows[0], rows[i]], "bleu", 1000)
            apart = np.abs(b - a)
            chance = apart - apart.mean()
        else:
            first, second = statistics.randomized(
                rows[0][:, None], rows[i][:, None], "bleu", 1000
            )
            chance = np.abs(first - second)
        scores = [float(forms.score("bleu", x.sum(0))) for x in (rows[0], rows[i])]
        assert abs(scores[1] - score.score) < 1e-9
        assert statistics.p_value(chance, scores[1] - scores[0]) == score.p_value


def test_mcnemar_is_exact():
    assert round(statistics.mcnemar(5, 15), 7) == 0.0413895
    assert statistics.mcnemar(0, 0) == 1.0
    a = np.array([[1, 1]] * 5 + [[0, 1]] * 15 + [[1, 1]] * 80, float)
    b = np.array([[0, 1]] * 5 + [[1, 1]] * 15 + [[1, 1]] * 80, float)
    found = statistics.compare([a], [b], "ratio")
    assert round(found.p_exact, 7) == 0.0413895
    assert found.difference == pytest.approx(0.1)
    # Randomization draws from the same distribution: within 3 deviations of 10,000.
    assert 0.0354 < found.p < 0.0474 and found.low < 0.1 < found.high


def test_holm_corrects_for_how_many_there_are():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.2]) == [0.2] and statistics.holm([]) == []
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_blocks_of_draws_are_the_draws_at_once(monkeypatch):
    whole = np.concatenate(list(statistics.resamples(50, 300)))
    monkeypatch.setattr(statistics, "_AT_ONCE", 700)
    parts = list(statistics._drawn(50, 300, statistics.SEED))
    assert len(parts) > 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    drawn = np.random.default_rng(statistics.SEED).choice(50, size=(300, 50))
    np.testing.assert_array_equal(whole[7], np.bincount(drawn[7], minlength=50))


def right_or_wrong(rng, chances):
    """Return [n, 2] of answers that are right by chance."""
    return (
        np.stack([rng.random(len(chances)) < chances, np.ones(len(chances))], 1) * 1.0
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_identical_systems_are_seldom_called_different(seeds):
    """Two systems of one recipe: of 2,000 pairs, at most 6.2% with p < 5%."""
    rng, called, better = np.random.default_rng(SEED), 0, 0
    for trial in range(2000):
        chances = rng.beta(2, 1, 100)
        a, b = ([right_or_wrong(rng, chances) for _ in range(seeds)] for _ in "ab")
        found = statistics.compare(
            a, b, "ratio", count=99, seed=trial, paired_seeds=True
        )
        called += found.p < 0.05
        better += said_of(found) in ("better", "worse")
    assert called / 2000 <= 0.062 and better <= called


def said_of(found):
    """Return the verdict of a table with this one comparison."""
    row = compare.Row("accuracy", "a", "b", 100, found, found.p, found.p_seeds)
    return row.verdict


def test_recipes_that_vary_by_their_seed_are_seldom_called_different():
    """Models differ, recipes do not: the test over seeds has a say in the verdict."""
    rng, called, differ = np.random.default_rng(SEED), 0, 0
    for trial in range(400):
        chances = rng.beta(2, 1, 100)
        a, b = (
            [
                right_or_wrong(rng, np.clip(chances + rng.normal(0, 0.1), 0, 1))
                for _ in range(3)
            ]
            for _ in "ab"
        )
        found = statistics.compare(a, b, "ratio", count=99, seed=trial)
        differ += found.p < 0.05
        called += said_of(found) in ("better", "worse")
    assert called / 400 <= 0.062 and differ / 400 > 0.2


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    """Losses whose true difference is .1: 95% intervals hold it in 93-97% of 1,000."""
    rng, held = np.random.default_rng(SEED), 0
    for trial in range(1000):
        hard = rng.gamma(2, 1, 200)
        a, b = (
            np.stack([hard + by + rng.normal(0, 0.5, 200), np.ones(200)], 1)
            for by in (0, 0.1)
        )
        found = statistics.compare([a], [b], "ratio", count=300, seed=trial)
        held += found.low <= 0.1 <= found.high
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.parametrize(
    "seeds, scatter, shared, paired",
    [
        (3, 0.1, 0.0, True),
        pytest.param(3, 0.1, 0.0, False, marks=pytest.mark.slow),
        pytest.param(3, 0.0, 0.0, True, marks=pytest.mark.slow),
        pytest.param(3, 0.03, 0.7, False, marks=pytest.mark.slow),
        pytest.param(10, 0.1, 0.0, False, marks=pytest.mark.slow),
        pytest.param(10, 0.1, 0.7, True, marks=pytest.mark.slow),
    ],
)
def test_the_interval_holds_the_difference_of_recipes_too(
    seeds, scatter, shared, paired
):
    """Recipes whose true difference is .1, over seeds that scatter and examples that
    gain unlike: 93% at least, of many seeds 97% at most.
    """
    rng, held, trials = np.random.default_rng(SEED), 0, 400
    for trial in range(trials):
        hard, gain = rng.gamma(2, 1, 200), 0.1 + rng.normal(0, shared, 200)
        a, b = (
            [
                np.stack([
                    hard + by + rng.normal(0, scatter) + rng.normal(0, 0.5, 200),
                    np.ones(200),
                ], 1)
                for _ in range(seeds)
            ]
            for by in (0, gain)
        )  # fmt: skip
        found = statistics.compare(
            a, b, "ratio", count=200, seed=trial, paired_seeds=paired
        )
        held += found.low <= 0.1 <= found.high
    assert 0.93 <= held / trials <= (0.97 if seeds > 3 else 1.0)


def of_seeds(*values):
    """Return systems [n, 2] whose examples all score the same: seeds alone vary."""
    return [np.tile((value, 1.0), (20, 1)) for value in values]


def test_seeds_in_pairs_are_tested_as_scipy_does():
    a, b = (0.61, 0.64, 0.70), (0.66, 0.68, 0.77)
    given = of_seeds(*a), of_seeds(*b)
    paired = statistics.compare(*given, "ratio", count=2000, paired_seeds=True)
    apart = statistics.compare(*given, "ratio", count=2000)
    assert paired.p_seeds == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    welch = stats.ttest_ind(a, b, equal_var=False).pvalue
    assert apart.p_seeds == pytest.approx(welch, rel=1e-9)
    assert paired.p_seeds < 0.05 < apart.p_seeds
    # No example differs from another: the intervals are scipy's over seeds alone.
    theirs = stats.ttest_rel(b, a).confidence_interval()
    assert (paired.low, paired.high) == pytest.approx(tuple(theirs), rel=1e-9)
    theirs = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert (apart.low, apart.high) == pytest.approx(tuple(theirs), rel=1e-9)


def test_seeds_that_say_the_same_on_one_side_alone_are_tested():
    a, b = of_seeds(0.67, 0.67, 0.67), of_seeds(0.7, 0.71, 0.75)
    found = statistics.compare(a, b, "ratio", count=100)
    # Welch's t of 0.05 over sqrt(7e-4 / 3), two degrees of freedom.
    t = 0.05 / np.sqrt(7e-4 / 3)
    assert found.p_seeds == pytest.approx(2 * stats.t.sf(t, 2), rel=1e-6)
    shifted = statistics.compare(a, of_seeds(0.7, 0.7, 0.7), "ratio", count=100)
    assert shifted.p_seeds == 0.0


GOLD = """The mill by the river has been closed since the war.
She counted the stairs on her way up, as she had always done.
Two of the windows were broken and nobody had swept the floor.
My brother keeps bees behind the old railway station.
It rained so hard that the bus could not climb the hill.
They sold the piano to a teacher from the next village.
The letter came a week after he had left for the coast.
Nobody at the table wanted to speak about the money.
In winter the lake freezes and children skate to school.
He lost his keys, found his umbrella and missed the train.
The bread was still warm when we carried it home.
Her grandmother had painted every door a different blue.
We waited at the border until the guards had eaten.
The cat sleeps on the printer because it is warm there.
A small fire in the kitchen ended the party early.
The doctor asked him to walk in a straight line.
At noon the square is empty except for the pigeons.
You can see the lighthouse from the second floor.
The new bridge is shorter than the one it replaced.
He reads the last page first and then the whole book.""".splitlines()


def worse(every):
    """Return the sentences with two words of each `every`th exchanged or left out."""
    out = []
    for i, line in enumerate(GOLD):
        words = line.split()
        if i % every == 0:
            words[2:4] = words[3:1:-1]
        if i % every == 1:
            del words[4]
        out.append(" ".join(words))
    return out


@pytest.mark.parametrize("other", [2, 4])
def test_compare_says_what_sacrebleus_paired_bootstrap_says(other):
    systems = [worse(3), worse(other)]
    bleu = sacrebleu.BLEU(references=[GOLD])
    named = [("a", systems[0]), ("b", systems[1])]
    test = significance.PairedTest(
        named, {"BLEU": bleu}, references=None, test_type="bs", n_samples=1000
    )
    theirs = test()[1]["BLEU"]
    rows = [
        np.array(sacrebleu.BLEU()._extract_corpus_statistics(said, [GOLD]), float)
        for said in systems
    ]
    found = statistics.compare([rows[0]], [rows[1]], "bleu", count=1000)
    assert (found.a, found.b) == pytest.approx([one.score for one in theirs], abs=1e-9)
    assert found.p_bootstrap == theirs[1].p_value and 0 < found.p_bootstrap < 1
    assert (found.difference > 0) == (other == 4)


def test_the_smallest_difference_is_found_in_four_of_five_tries():
    rng, found = np.random.default_rng(SEED), 0
    for trial in range(300):
        hard = rng.gamma(2, 1, 200)
        rows = [
            np.stack([hard + by + rng.normal(0, 0.5, 200), np.ones(200)], 1)
            for by in (0, 0.14)
        ]
        seen = statistics.compare([rows[0]], [rows[1]], "ratio", count=400, seed=trial)
        found += seen.p < 0.05
        if not trial:  # .5 sqrt(2 / 200) = .05, times 1.96 + .84
            assert seen.smallest == pytest.approx(0.14, rel=0.2)
    assert 0.72 < found / 300 < 0.88


def test_seeds_are_tested_against_each_other():
    rng = np.random.default_rng(1)
    chances = rng.beta(2, 1, 400)

    def seeds(*shifts):
        return [right_or_wrong(rng, np.clip(chances + by, 0, 1)) for by in shifts]

    noisy = statistics.compare(
        seeds(0, 0.1, -0.1), seeds(0.12, -0.05, 0.02), "ratio", count=1000
    )
    assert noisy.p_seeds > 0.05 and noisy.p_exact is None
    clear = statistics.compare(
        seeds(0, 0, 0), seeds(0.3, 0.3, 0.3), "ratio", count=1000
    )
    assert clear.p_seeds < 0.05 and clear.p < 0.05 and clear.low > 0
    one = statistics.compare(seeds(0), seeds(0.3), "ratio", count=200)
    assert one.p_seeds is None and one.p_exact < 0.05


def test_systems_of_unequal_numbers_of_seeds_are_compared():
    rng = np.random.default_rng(1)
    chances = rng.beta(2, 1, 100)
    a = [right_or_wrong(rng, chances) for _ in range(3)]
    b = [right_or_wrong(rng, chances) for _ in range(2)]
    found = statistics.compare(a, b, "ratio", count=200)
    assert found.a == pytest.approx(np.mean([x[:, 0].mean() for x in a]))
    assert 0 < found.p <= 1


def test_equal_systems_have_no_difference():
    rows = right_or_wrong(np.random.default_rng(0), np.full(50, 0.5))
    found = statistics.compare([rows], [rows], "ratio", count=100)
    assert found.difference == found.low == found.high == 0 and found.p == 1
    twice = statistics.compare([rows] * 2, [rows] * 2, "ratio", count=100)
    assert twice.p_seeds == 1.0
