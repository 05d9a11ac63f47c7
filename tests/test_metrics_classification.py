"""Class and number metrics equal scikit-learn and scipy on 200 random cases each."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from lmtasks.data import examples
from lmtasks.metrics import classification
from lmtasks.metrics import regression
from lmtasks.tasks import relations

CASES = 200
NAMES = np.array(["air", "bus", "car", "day"])
AVERAGES = ("macro", "micro", "weighted")


def labelled(said, gold):
    """Return predictions and examples of labels."""
    return [{"label": a} for a in said], [examples.Labelled("x", b) for b in gold]


def drawn(seed):
    """Return (predicted classes, right classes) as numbers, some sure, some skewed."""
    rng = np.random.default_rng(seed)
    classes, count = rng.integers(2, 5), rng.integers(1, 40)
    odds = rng.dirichlet(np.full(classes, rng.choice([0.3, 3.0])))
    gold = rng.choice(classes, size=count, p=odds)
    said = np.where(rng.random(count) < 0.6, gold, rng.integers(classes, size=count))
    return said, gold


@pytest.mark.filterwarnings("ignore")
def test_precision_recall_and_f1_equal_scikit_learn():
    for seed in range(CASES):
        said, gold = drawn(seed)
        pair = labelled(NAMES[said].tolist(), NAMES[gold].tolist())
        found = classification.precision_recall_f1(*pair)
        for average in AVERAGES:
            wanted = sklearn_metrics.precision_recall_fscore_support(
                gold, said, average=average, zero_division=0
            )
            for name, value in zip(("precision", "recall", "f1"), wanted):
                assert found[f"{name}_{average}"] == pytest.approx(value)


@pytest.mark.filterwarnings("ignore")
def test_accuracy_mcc_and_f1_of_one_class_equal_scikit_learn():
    for seed in range(CASES):
        said, gold = drawn(seed)
        pair = labelled(NAMES[said].tolist(), NAMES[gold].tolist())
        found = classification.accuracy(*pair)
        wanted = sklearn_metrics.accuracy_score(gold, said)
        assert found == {"accuracy": pytest.approx(wanted), "unparsed": 0.0}
        wanted = sklearn_metrics.matthews_corrcoef(gold, said)
        assert classification.mcc(*pair) == {"mcc": pytest.approx(wanted)}
        wanted = sklearn_metrics.f1_score(gold == 1, said == 1, zero_division=0)
        assert classification.f1_of("bus", *pair) == {"f1": pytest.approx(wanted)}


def test_f1_and_mcc_equal_their_formulas():
    """Counted by hand, as the library is what computes them."""
    for seed in range(CASES):
        said, gold = (row % 2 for row in drawn(seed))
        tp, fp = ((said == 1) & (gold == g) for g in (1, 0))
        tn, fn = ((said == 0) & (gold == g) for g in (0, 1))
        tp, fp, tn, fn = (float(x.sum()) for x in (tp, fp, tn, fn))
        pair = labelled(NAMES[said].tolist(), NAMES[gold].tolist())
        f1 = 2 * tp / (2 * tp + fp + fn) if tp else 0.0
        assert classification.f1_of("bus", *pair)["f1"] == pytest.approx(f1)
        below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        mcc = (tp * tn - fp * fn) / below**0.5 if below else 0.0
        assert classification.mcc(*pair)["mcc"] == pytest.approx(mcc)


def test_mcc_of_the_golden_sample():
    pair = labelled(list("10101010"), list("11100010"))
    assert classification.mcc(*pair) == {"mcc": pytest.approx(0.5)}


@pytest.mark.filterwarnings("ignore")
def test_several_labels_are_scored_as_scikit_learn_scores_indicators():
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        gold = rng.random((rng.integers(1, 20), 4)) < 0.4
        said = gold ^ (rng.random(gold.shape) < 0.2)
        names = [[NAMES[row].tolist() for row in rows] for rows in (said, gold)]
        pair = labelled(names[0], map(tuple, names[1]))
        wanted = sklearn_metrics.accuracy_score(gold, said)
        assert classification.accuracy(*pair)["accuracy"] == pytest.approx(wanted)
        if not (gold | said).any():
            continue
        # A class that neither side has is none.
        there = (gold | said).any(axis=0)
        found = classification.precision_recall_f1(*pair)
        for average in AVERAGES:
            wanted = sklearn_metrics.precision_recall_fscore_support(
                gold[:, there], said[:, there], average=average, zero_division=0
            )
            for name, value in zip(("precision", "recall", "f1"), wanted):
                assert found[f"{name}_{average}"] == pytest.approx(value)


def test_texts_without_any_label_are_right_when_nothing_is_said():
    pair = labelled([[], []], [(), ()])
    assert classification.accuracy(*pair)["accuracy"] == 1.0
    assert set(classification.precision_recall_f1(*pair).values()) == {0.0}


def test_one_name_of_several_labels_is_a_set_of_one():
    pair = labelled([["a"], []], [("a",), ("a",)])
    found = classification.precision_recall_f1(*pair)
    assert found["recall_macro"] == found["recall_micro"] == 0.5
    pair = labelled(["ab", ["c"], ["ab", "c"]], [("ab",), "c", ("ab", "c")])
    assert classification.accuracy(*pair)["accuracy"] == 1.0
    assert classification.precision_recall_f1(*pair)["f1_macro"] == 1.0
    assert classification.calibration([{"scores": {"c": 1.0}}] * 3, pair[1]) == {}
    # All golds may be of one name; what is said tells that there may be several.
    pair = labelled([["ab"], []], ["ab", "c"])
    assert classification.accuracy(*pair)["accuracy"] == 0.5


def test_a_missing_label_is_wrong_for_the_f1_of_a_class():
    pair = labelled(["bus", None, "air"], ["bus", "bus", "air"])
    assert classification.f1_of("bus", *pair) == {"f1": pytest.approx(2 / 3)}
    pair = labelled(["air", "air"], ["air", "air"])
    assert classification.f1_of("bus", *pair) == {"f1": 0.0}


def scored(seed):
    """Return (probabilities float64[N, C], gold classes)."""
    rng = np.random.default_rng(seed)
    classes, count = rng.integers(2, 5), rng.integers(1, 60)
    p = rng.dirichlet(np.full(classes, rng.choice([0.2, 1.0, 5.0])), size=count)
    return p, rng.integers(classes, size=count)


def test_brier_equals_scikit_learn():
    for seed in range(CASES):
        p, gold = scored(seed)
        names = NAMES[: p.shape[1]]
        said = [{"scores": dict(zip(names, map(float, row)))} for row in p]
        found = classification.calibration(said, labelled([], NAMES[gold].tolist())[1])
        wanted = sklearn_metrics.brier_score_loss(
            names[gold], p, labels=names, scale_by_half=False
        )
        assert found["brier"] == pytest.approx(wanted)


def test_the_calibration_error_equals_its_definition():
    for seed in range(CASES):
        p, gold = scored(seed)
        said = [{"scores": dict(zip(NAMES, map(float, row)))} for row in p]
        found = classification.calibration(said, labelled([], NAMES[gold].tolist())[1])
        confidence, right = p.max(1), p.argmax(1) == gold
        wanted = 0.0
        for low in np.arange(15) / 15:
            inside = (confidence > low) & (confidence <= low + 1 / 15)
            if inside.any():
                gap = abs(right[inside].mean() - confidence[inside].mean())
                wanted += inside.mean() * gap
        assert found["ece"] == pytest.approx(wanted, abs=1e-12)


def test_correlations_and_errors_equal_scipy_and_scikit_learn():
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        gold = np.round(5 * rng.random(rng.integers(3, 40)), rng.integers(3))
        said = np.round(gold + rng.normal(size=len(gold)) * rng.choice([0.1, 2]), 1)
        if np.ptp(gold) == 0 or np.ptp(said) == 0:
            continue
        pair = labelled(said.tolist(), gold.tolist())
        found = regression.correlation(*pair)
        assert found["pearson"] == pytest.approx(stats.pearsonr(said, gold)[0])
        assert found["spearman"] == pytest.approx(stats.spearmanr(said, gold)[0])
        # By hand: Pearson's of the ranks, ties sharing theirs.
        ranks = [stats.rankdata(x) for x in (said, gold)]
        assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
        found = regression.error(*pair)
        assert found["mse"] == pytest.approx(np.mean((said - gold) ** 2))
        assert found["mae"] == pytest.approx(
            sklearn_metrics.mean_absolute_error(gold, said)
        )


def test_the_absence_of_a_relation_is_no_class():
    gold = ["born_in", "no_relation", "works_at", "no_relation", "born_in"]
    said = ["born_in", "works_at", "born_in", "no_relation", None]
    found = relations.relation_f1(*labelled(said, gold))
    # One of three that were said, one of three that are there.
    assert found == pytest.approx(
        {
            "relation_precision": 1 / 3,
            "relation_recall": 1 / 3,
            "relation_f1": 1 / 3,
        }
    )
    assert relations.relation_f1(*labelled(["Other"], ["Other"])) == {}
    perfect = relations.relation_f1(*labelled(gold, gold))
    assert set(perfect.values()) == {1.0}
