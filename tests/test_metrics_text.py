"""Scores of texts equal their libraries, official definitions and golden numbers."""

import pytest

from lmtasks.data import examples
from lmtasks.metrics import answers
from lmtasks.metrics import generation
from lmtasks.metrics import inputs
from lmtasks.metrics import spans


def turns(*golds):
    """Return a prompt with its completion and further references."""
    said = (examples.Turn("user", "q"), examples.Turn("assistant", golds[0]))
    return examples.Turns(said, golds[1:])


def texts(said, *golds):
    """Return predictions and examples of texts; one tuple of golds per text."""
    return [{"text": text} for text in said], [turns(*gold) for gold in golds]


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


def test_examples_without_anything_to_compare_with_are_told_apart():
    asked = examples.Turns((examples.Turn("user", "q"),))
    without = (
        asked,
        examples.Choice("c", ("x", "y")),
        examples.Tagged(("w",)),
        examples.Labelled("x"),
    )
    assert not any(map(inputs.has_gold, without))
    # An unanswerable question has an answer to compare with: none.
    held = (turns("a"), examples.Labelled("x", "a"), examples.Span("q", "c"))
    assert all(map(inputs.has_gold, held))


def test_the_final_answer_is_found_in_written_reasoning():
    assert answers.extract("John has 5 - 2 = 3 apples. The answer is 3.") == "3"
    assert answers.extract("5-2=3\n#### 1,200") == "1,200"
    assert answers.extract("They meet at 5:00 PM after 7 hours") == "7"
    assert answers.extract("The answer is 5:00 PM.") == "5:00 PM"
    assert answers.extract("so it costs $2.50.") == "2.50"
    assert answers.extract(r"so \boxed{-3/4}.") == "-3/4"
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
