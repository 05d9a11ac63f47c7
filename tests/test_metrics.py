"""Metrics equal their libraries, official definitions and the golden numbers."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from lmtasks.data import examples
from lmtasks.metrics import answers
from lmtasks.metrics import choice
from lmtasks.metrics import classification
from lmtasks.metrics import generation
from lmtasks.metrics import regression
from lmtasks.metrics import spans
from lmtasks.metrics import tagging

EVERY = (
    answers.accuracy,
    choice.accuracy,
    classification.accuracy,
    classification.calibration,
    classification.mcc,
    classification.precision_recall_f1,
    generation.bleu,
    generation.chrf,
    generation.exact_match,
    generation.rouge,
    generation.ter,
    generation.token_f1,
    regression.correlation,
    regression.error,
    spans.squad_v1,
    spans.squad_v2,
    tagging.entities,
    tagging.token_accuracy,
)


def labelled(said, gold):
    """Return predictions and examples of labels."""
    return [{"label": a} for a in said], [examples.Labelled("x", b) for b in gold]


def tagged(said, gold):
    """Return predictions and examples of tag sequences, written with spaces."""
    said = [{"tags": tags and tags.split()} for tags in said]
    gold = [tuple(tags.split()) for tags in gold]
    return said, [examples.Tagged(("w",) * len(tags), tags) for tags in gold]


@pytest.mark.parametrize("metric", EVERY)
def test_empty_input_is_refused_with_a_sentence(metric):
    with pytest.raises(ValueError, match="no examples to score"):
        metric([], [])


@pytest.mark.parametrize("metric", EVERY)
def test_a_missing_prediction_is_refused(metric):
    with pytest.raises(ValueError, match="0 predictions for 1 examples"):
        metric([], [examples.Labelled("x", "a")])


def test_accuracy_counts_a_missing_label_as_wrong_and_unparsed():
    values = classification.accuracy(*labelled(["a", None, "b"], ["a", "b", "b"]))
    assert values == {"accuracy": pytest.approx(2 / 3), "unparsed": 1.0}


def test_f1_equals_scikit_learn():
    gold = list("aabbccdd")
    said = list("abbbcdda")
    values = classification.precision_recall_f1(*labelled(said, gold))
    for average in ("macro", "micro", "weighted"):
        found = sklearn_metrics.precision_recall_fscore_support(
            gold, said, average=average
        )
        for name, value in zip(("precision", "recall", "f1"), found):
            assert values[f"{name}_{average}"] == pytest.approx(value)


def test_an_unparsed_label_costs_recall_but_is_no_class():
    values = classification.precision_recall_f1(
        *labelled(["a", "b", None, None], ["a", "b", "a", "b"])
    )
    assert values["precision_macro"] == 1.0
    assert values["recall_macro"] == 0.5
    assert values["recall_micro"] == 0.5


def test_multi_label_scores_sets_of_names():
    said = [["b", "a"], ["a"], None]
    gold = [("a", "b"), ("a", "c"), ("c",)]
    assert classification.accuracy(*labelled(said, gold)) == {
        "accuracy": pytest.approx(1 / 3),
        "unparsed": 1.0,
    }
    values = classification.precision_recall_f1(*labelled(said, gold))
    assert values["precision_micro"] == 1.0
    assert values["recall_micro"] == pytest.approx(3 / 5)
    assert values["f1_macro"] == pytest.approx((1 + 1 + 0) / 3)


def test_mcc_has_the_golden_value():
    values = classification.mcc(*labelled(list("10101010"), list("11100010")))
    assert values == {"mcc": pytest.approx(0.5)}


def test_mcc_of_one_class_is_zero():
    assert classification.mcc(*labelled(["a", "a"], ["a", "a"])) == {"mcc": 0.0}


def test_mcc_refuses_several_labels():
    with pytest.raises(ValueError, match="one label per example"):
        classification.mcc(*labelled([["a"]], [("a",)]))


def test_calibration_error_is_the_gap_in_each_bin():
    # Bin (.8, .8667]: confidence .85, right in 1 of 2; bin (.6, .6667]: .65, right.
    scores = [{"a": 0.85, "b": 0.15}, {"a": 0.85, "b": 0.15}, {"a": 0.35, "b": 0.65}]
    predictions = [{"label": None, "scores": each} for each in scores]
    gold = [examples.Labelled("x", label) for label in "abb"]
    values = classification.calibration(predictions, gold)
    assert values["ece"] == pytest.approx((2 * 0.35 + 0.35) / 3)
    expected = (2 * 0.15**2 + 2 * 0.85**2 + 2 * 0.35**2) / 3
    assert values["brier"] == pytest.approx(expected)


def test_a_sure_and_right_model_is_calibrated():
    predictions = [{"label": "a", "scores": {"a": 1.0, "b": 0.0}}] * 3
    gold = [examples.Labelled("x", "a")] * 3
    values = classification.calibration(predictions, gold)
    assert values == {"ece": 0.0, "brier": 0.0}


def test_brier_equals_scikit_learn():
    drawn = np.random.default_rng(0).dirichlet(np.ones(3), size=20)
    gold = [list("abc")[i] for i in np.random.default_rng(1).integers(3, size=20)]
    predictions = [{"scores": dict(zip("abc", map(float, row)))} for row in drawn]
    found = classification.calibration(predictions, labelled([], gold)[1])
    expected = sklearn_metrics.brier_score_loss(
        gold, drawn, labels=list("abc"), scale_by_half=False
    )
    assert found["brier"] == pytest.approx(expected)


def test_calibration_is_left_out_where_nothing_has_scores():
    assert classification.calibration(*labelled(["a"], ["a"])) == {}
    assert classification.calibration(*labelled([["a"]], [("a",)])) == {}


def test_an_example_without_a_label_is_refused():
    with pytest.raises(ValueError, match="example 1 has no label"):
        classification.accuracy(*labelled(["a", "a"], ["a", None]))


def test_correlations_of_a_monotone_curve():
    gold = [0.0, 1.0, 2.0, 3.0]
    values = regression.correlation(*labelled([x**3 for x in gold], gold))
    assert values["spearman"] == pytest.approx(1.0)
    assert values["pearson"] == pytest.approx(
        np.corrcoef(gold, np.power(gold, 3))[0, 1]
    )
    assert values["unparsed"] == 0.0


def test_numbers_may_be_strings_in_gold_and_prediction():
    values = regression.correlation(*labelled(["1", "2", 3.5], ["0.5", "1.5", "3"]))
    assert values["spearman"] == pytest.approx(1.0)
    assert regression.error(*labelled(["1", "2"], ["0", "4"])) == {
        "mse": 2.5,
        "mae": 1.5,
    }


def test_an_unparsed_number_lowers_the_correlation():
    gold = [0.0, 1.0, 2.0, 5.0]
    whole = regression.correlation(*labelled(gold, gold))
    holed = regression.correlation(*labelled([0.0, 1.0, 2.0, "many"], gold))
    assert whole["pearson"] == pytest.approx(1.0)
    assert holed["pearson"] < 0.0
    assert holed["unparsed"] == 1.0


def test_constant_predictions_have_no_correlation():
    values = regression.correlation(*labelled([2.0, 2.0], [1.0, 3.0]))
    assert values == {"pearson": 0.0, "spearman": 0.0, "unparsed": 0.0}


def test_regression_refuses_class_names():
    with pytest.raises(ValueError, match="'b', which is not a number"):
        regression.correlation(*labelled([1.0, 2.0], [1.0, "b"]))


def test_choice_reports_the_normed_accuracy_where_predictions_carry_it():
    gold = [examples.Choice("c", ("x", "y"), 1)] * 2
    plain = [{"choice": 1}, {"choice": None}]
    assert choice.accuracy(plain, gold) == {"accuracy": 0.5, "unparsed": 1.0}
    normed = [{"choice": 0, "choice_norm": 1}, {"choice": 1, "choice_norm": 1}]
    assert choice.accuracy(normed, gold)["acc_norm"] == 1.0


def test_choice_without_a_known_answer_is_refused():
    with pytest.raises(ValueError, match="no known right option"):
        choice.accuracy([{"choice": 0}], [examples.Choice("c", ("x", "y"))])


def test_seqeval_sample_has_its_published_scores():
    said = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    gold = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    assert tagging.entities(*tagged(said, gold))["lenient_f1"] == 0.5
    assert tagging.token_accuracy(*tagged(said, gold))["token_accuracy"] == 0.8


def test_strict_scores_refuse_what_lenient_scores_accept():
    said = ["I-PER I-PER O B-LOC B-LOC"]
    gold = ["B-PER I-PER O B-LOC I-LOC"]
    values = tagging.entities(*tagged(said, gold))
    assert values["lenient_precision"] == pytest.approx(1 / 3)
    assert values["lenient_recall"] == pytest.approx(0.5)
    assert values["lenient_f1"] == pytest.approx(0.4)
    assert values["strict_precision"] == 0.0
    assert values["strict_recall"] == 0.0
    assert values["strict_f1"] == 0.0


@pytest.mark.parametrize("scheme", tagging.SCHEMES)
def test_a_perfect_prediction_scores_one_in_every_scheme(scheme):
    found = (("PER", 0, 2), ("LOC", 3, 4), ("LOC", 6, 7), ("LOC", 7, 9))
    tags = [" ".join(tagging.write(found, 9, scheme)), "O"]
    values = tagging.entities(*tagged(tags, tags))
    assert values["strict_f1"] == values["lenient_f1"] == 1.0


def test_bare_io_tags_are_scored_as_entities():
    values = tagging.entities(*tagged(["PER O LOC"], ["PER O O"]))
    assert values["strict_precision"] == 0.5
    assert values["strict_recall"] == 1.0


def test_parts_of_speech_have_no_entities():
    tags = ["DET NOUN VERB"]
    assert tagging.entities(*tagged(tags, tags)) == {}


def test_texts_without_entities_score_zero():
    values = tagging.entities(*tagged(["O O"], ["O O"]))
    assert set(values.values()) == {0.0}


def test_a_prediction_without_tags_is_wrong_on_every_word():
    predictions, gold = tagged(["O", None], ["O", "O B-PER"])
    assert tagging.token_accuracy(predictions, gold) == {
        "token_accuracy": pytest.approx(1 / 3),
        "unparsed": 1.0,
    }
    assert tagging.entities(predictions, gold)["strict_recall"] == 0.0


def test_too_few_tags_are_refused():
    with pytest.raises(ValueError, match="2 gold tags and 1 predicted"):
        tagging.entities(*tagged(["O"], ["O O"]))


def test_schemes_write_the_same_entities_in_their_own_way():
    found = (("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 6))
    written = {
        "IO": "I-PER I-PER O I-LOC I-LOC I-LOC",
        "IOB1": "I-PER I-PER O I-LOC B-LOC I-LOC",
        "IOB2": "B-PER I-PER O B-LOC B-LOC I-LOC",
        "IOBES": "B-PER E-PER O S-LOC B-LOC E-LOC",
    }
    for scheme, tags in written.items():
        assert tagging.write(found, 6, scheme) == tuple(tags.split())
        if scheme != "IO":
            assert tagging.chunks(tags.split()) == found
            assert tagging.scheme_of([tags.split()]) == scheme
    assert tagging.chunks(written["IO"].split()) == (("PER", 0, 2), ("LOC", 3, 6))


def test_one_wrong_tag_does_not_change_the_scheme():
    assert tagging.scheme_of([["B-PER", "O"], ["I-PER", "O"]]) == "IOB2"
    assert tagging.scheme_of([["I-PER", "B-PER"], ["I-LOC", "O"]]) == "IOB1"
    assert tagging.scheme_of([["O"]]) == "IOB2"


def test_conversion_between_reversible_schemes_is_an_identity():
    rng = np.random.default_rng(0)
    for _ in range(50):
        tags = rng.choice(["O", "B-A", "I-A", "B-B", "I-B"], size=8)
        first = tagging.convert(tags, "IOB2")
        for scheme in ("IOB1", "IOBES"):
            assert tagging.convert(tagging.convert(first, scheme), "IOB2") == first


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="'BILOU' is unknown; use one of IO, IOB1"):
        tagging.convert(["O"], "BILOU")
