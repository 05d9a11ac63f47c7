"""Metrics equal their libraries, official definitions and the golden numbers."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from lmtasks.data import examples
from lmtasks.metrics import answers
from lmtasks.metrics import choice
from lmtasks.metrics import classification
from lmtasks.metrics import generation
from lmtasks.metrics import inputs
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


def turns(*golds):
    """Return a prompt with its completion and further references."""
    said = (examples.Turn("user", "q"), examples.Turn("assistant", golds[0]))
    return examples.Turns(said, golds[1:])


def texts(said, *golds):
    """Return predictions and examples of texts; one tuple of golds per text."""
    return [{"text": text} for text in said], [turns(*gold) for gold in golds]


def tagged(said, gold):
    """Return predictions and examples of tag sequences, written with spaces."""
    said = [{"tags": tags and tags.split()} for tags in said]
    gold = [tuple(tags.split()) for tags in gold]
    return said, [examples.Tagged(("w",) * len(tags), tags) for tags in gold]


def sacrebleu_sample(references=2):
    """Return the three sentences of sacrebleu's README with their references."""
    said = [
        "The dog bit the man.",
        "It wasn't surprising.",
        "The man had just bitten him.",
    ]
    golds = (
        ("The dog bit the man.", "The dog had bit the man."),
        ("It was not unexpected.", "No one was surprised."),
        ("The man bit him first.", "The man had bitten the dog."),
    )
    return texts(said, *(gold[:references] for gold in golds))


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


def test_calibration_without_scores_is_refused():
    with pytest.raises(ValueError, match='no "scores"'):
        classification.calibration(*labelled(["a"], ["a"]))


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


def test_squad_normalization_follows_the_official_rule():
    assert spans.normalize(" The  Steve, Jobs! ") == "steve jobs"
    assert spans.normalize("an-other the theatre") == "another theatre"
    assert spans.exact("The Steve Jobs!", "Steve Jobs") == 1.0
    assert spans.f1("The Steve Jobs!", "Steve Jobs") == 1.0
    assert spans.f1("Apple CEO Steve Jobs", "Steve Jobs") == pytest.approx(2 / 3)
    assert spans.f1("a b b", "b b b c") == pytest.approx(2 * 0.5 / (1 + 0.5))


def test_squad_v1_takes_the_best_of_the_golds():
    golds = examples.Span("q", "c", (("CEO Steve", 0), ("Steve Jobs", 0)))
    values = spans.squad_v1([{"text": "Apple CEO Steve Jobs"}], [golds])
    assert values == {"exact_match": 0.0, "f1": pytest.approx(100 * 2 / 3)}


def test_squad_v1_refuses_a_question_without_answer():
    with pytest.raises(ValueError, match="example 0 has no answer"):
        spans.squad_v1([{"text": ""}], [examples.Span("q", "c")])


def test_squad_v2_accepts_no_answer_only_where_there_is_none():
    blank, full = examples.Span("q", "c"), examples.Span("q", "c", (("Rome", 0),))
    said = [{"text": ""}, {"text": "Rome"}, {"text": ""}, {"text": "Rome"}]
    values = spans.squad_v2(said, [blank, blank, full, full])
    assert values == {
        "exact_match": 50.0,
        "f1": 50.0,
        "has_answer_exact_match": 50.0,
        "has_answer_f1": 50.0,
        "no_answer_exact_match": 50.0,
        "no_answer_f1": 50.0,
    }


def test_squad_v2_equals_v1_on_answerable_questions():
    golds = [examples.Span("q", "c", (("the red car", 0),))] * 2
    said = [{"text": "Red car"}, {"text": "a blue car"}]
    assert spans.squad_v2(said, golds) == spans.squad_v1(said, golds)


def test_bleu_chrf_and_ter_have_sacrebleus_numbers():
    sample = sacrebleu_sample()
    assert generation.bleu(*sample)["bleu"] == pytest.approx(48.530827, abs=1e-6)
    assert generation.chrf(*sample)["chrf"] == pytest.approx(59.727518, abs=1e-6)
    assert generation.ter(*sample)["ter"] == pytest.approx(40.0)
    first = sacrebleu_sample(references=1)
    assert generation.bleu(*first)["bleu"] == pytest.approx(45.067506, abs=1e-6)


def test_the_signature_names_the_settings():
    _, gold = sacrebleu_sample()
    start = "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:"
    assert generation.signature("bleu", gold).startswith(start)
    start = "nrefs:2|case:lc|tok:tercom|norm:no|punct:yes|asian:no"
    assert generation.signature("ter", gold).startswith(start)
    assert "nrefs:var" in generation.signature("chrf", [*gold, turns("one")])
    with pytest.raises(ValueError, match="'rouge' has no signature"):
        generation.signature("rouge", gold)


def test_bleu_accepts_examples_with_different_numbers_of_references():
    predictions, gold = texts(
        ["a b c d e", "f g h i j"], ("x", "a b c d e"), ("f g h i j",)
    )
    assert generation.bleu(predictions, gold)["bleu"] == pytest.approx(100.0)


def test_rouge_has_the_librarys_numbers():
    said = "The quick brown dog jumps on the log."
    gold = "The quick brown fox jumps over the lazy dog"
    values = generation.rouge(*texts([said], (gold,)))
    assert values["rouge1"] == pytest.approx(0.705882, abs=1e-6)
    assert values["rouge2"] == pytest.approx(0.266667, abs=1e-6)
    assert values["rougeL"] == pytest.approx(0.588235, abs=1e-6)


def test_rouge_lsum_compares_lines_and_splits_sentences():
    lines = texts(["e f g h\na b c d"], ("a b c d\ne f g h",))
    spaces = texts(["e f g h a b c d"], ("a b c d e f g h",))
    dots = texts(["e f g h. a b c d."], ("a b c d. e f g h.",))
    assert generation.rouge(*lines)["rougeL"] == pytest.approx(0.5)
    assert generation.rouge(*lines)["rougeLsum"] == pytest.approx(1.0)
    assert generation.rouge(*spaces)["rougeLsum"] == pytest.approx(0.5)
    assert generation.rouge(*dots)["rougeLsum"] == pytest.approx(1.0)


def test_rouge_takes_the_best_reference_and_refuses_other_scripts():
    assert generation.rouge(*texts(["a b"], ("c", "a b")))["rouge1"] == 1.0
    with pytest.raises(ValueError, match="use chrf for this language"):
        generation.rouge(*texts(["\u4f60\u597d"], ("\u4f60\u597d",)))


def test_exact_match_is_literal_and_token_f1_is_not():
    sample = texts([" Yes", "the Cat", ""], ("No", "Yes"), ("cat",), ("dog",))
    assert generation.exact_match(*sample) == {"exact_match": pytest.approx(1 / 3)}
    assert generation.token_f1(*sample) == {"token_f1": pytest.approx(2 / 3)}


def test_gold_texts_are_the_last_assistant_turn_and_the_references():
    assert inputs.gold_texts(turns("a", "b")) == ("a", "b")
    asked = examples.Turns((examples.Turn("user", "q"),), ("r",))
    assert inputs.gold_texts(asked) == ("r",)
    with pytest.raises(ValueError, match="a Turns without an answer text"):
        inputs.gold_texts(examples.Turns((examples.Turn("user", "q"),)))


def test_the_final_answer_is_found_in_written_reasoning():
    assert answers.extract("John has 5 - 2 = 3 apples. The answer is 3.") == "3"
    assert answers.extract("5-2=3\n#### 1,200") == "1,200"
    assert answers.extract("They meet at 5:00 PM after 7 hours") == "7"
    assert answers.extract("The answer is 5:00 PM.") == "5:00 PM"
    assert answers.extract("so it costs $2.50.") == "2.50"
    assert answers.extract("no idea") == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$1,200.00", "1200"),
        ("3/4 cup", "0.75"),
        ("5:00 PM", "5 p.m."),
        ("17:00", "5:00 pm"),
        ("16 miles", "16"),
        ("The red car", "red car"),
    ],
)
def test_answers_of_equal_value_are_equal(one, other):
    assert answers.value(one) == answers.value(other)


@pytest.mark.parametrize(
    ("one", "other"), [("5 AM", "5 PM"), ("-3", "3"), ("1/3", "0.33"), ("a", "b")]
)
def test_answers_of_other_value_differ(one, other):
    assert answers.value(one) != answers.value(other)


def test_answer_accuracy_reads_both_sides_and_counts_texts_without_answer():
    sample = texts(
        ["4 + 4 = 8. The answer is 8.", "7", "who knows"],
        ("<<4+4=8>>8\n#### 8",),
        ("#### 6",),
        ("#### 5",),
    )
    assert answers.accuracy(*sample) == {
        "answer_accuracy": pytest.approx(1 / 3),
        "unparsed": 1.0,
    }
