"""Scores as sums over examples are the scores of the metrics themselves."""

import functools

import numpy as np
import pytest
import sacrebleu

from lmtasks.data import examples
from lmtasks.metrics import classification
from lmtasks.metrics import forms
from lmtasks.metrics import generation
from lmtasks.metrics import regression
from lmtasks.metrics import retrieval
from lmtasks.metrics import spans
from lmtasks.metrics import sums
from lmtasks.metrics import tagging

RNG = np.random.default_rng(3)
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "house",
    "tree",
    "runs",
    "sleeps",
    "is",
    "was",
    "red",
    "big",
    "old",
]


def draw(names, n, none=0.0):
    return [None if RNG.random() < none else str(x) for x in RNG.choice(names, n)]


def labelled(n=60):
    said = [{"label": x} for x in draw(["x", "y", "z"], n, none=0.1)]
    return said, [examples.Labelled("t", x) for x in draw(["x", "y", "z", "w"], n)]


def written(n=25):
    def text():
        return " ".join(RNG.choice(WORDS, RNG.integers(0, 9)))

    def example():
        turns = (examples.Turn("user", "q"), examples.Turn("assistant", text() + " a"))
        return examples.Turns(turns, references=(text() + " b",))

    return [{"text": text()} for _ in range(n)], [example() for _ in range(n)]


def tagged(n=30):
    names = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    sizes = RNG.integers(1, 9, n)

    def tags(size):
        return tuple(str(x) for x in RNG.choice(names, size))

    gold = [examples.Tagged(("w",) * k, tags(k)) for k in sizes]
    said = [{"tags": tags(k) if RNG.random() < 0.9 else None} for k in sizes]
    return said, gold


def numbers(n=40):
    said = [{"label": float(x)} for x in RNG.normal(size=n)]
    return said, [examples.Labelled("t", float(x)) for x in RNG.normal(size=n)]


def rated(n=40):
    said = [{"similarity": float(x)} for x in RNG.uniform(-1, 1, n)]
    del said[0]["similarity"]  # an empty text
    scores = [None if i % 7 == 3 else float(x) for i, x in enumerate(RNG.random(n))]
    return said, [examples.Pair("a", "b", score=score) for score in scores]


METRICS = [
    (classification.accuracy, labelled, {"accuracy"}),
    (classification.precision_recall_f1, labelled,
     {"f1_macro", "f1_micro", "f1_weighted"}),
    (functools.partial(classification.f1_of, "x"), labelled, {"f1"}),
    (classification.mcc, labelled, {"mcc"}),
    (generation.bleu, written, {"bleu"}),
    (generation.chrf, written, {"chrf"}),
    (generation.ter, written, {"ter"}),
    (generation.rouge, written, {"rouge1", "rouge2", "rougeL", "rougeLsum"}),
    (generation.exact_match, written, {"exact_match"}),
    (spans.squad_v1, written, {"exact_match", "f1"}),
    (tagging.entities, tagged,
     {f"{a}_{b}" for a in ("strict", "lenient") for b in ("f1", "precision", "recall")}),
    (tagging.token_accuracy, tagged, {"token_accuracy"}),
    (regression.correlation, numbers, {"pearson"}),
    (regression.error, numbers, {"mse", "mae"}),
    (retrieval.similarity, rated, {"pearson"}),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "make", "names"), METRICS)
def test_a_metric_is_a_function_of_its_sums_on_any_resample(metric, make, names):
    said, gold = make()
    found = sums.of([metric], said, gold)
    assert found.keys() == names
    for resample in (np.arange(len(said)), RNG.integers(len(said), size=len(said))):
        if metric in (regression.correlation, regression.error):
            assert len({e.label for e in gold}) > 2  # unparsed ones need the extremes
        again = metric([said[i] for i in resample], [gold[i] for i in resample])
        for name, parts in found.items():
            [rows] = forms.arrays([parts])
            value = forms.score(parts.form, rows[resample].sum(0))
            np.testing.assert_allclose(value, again[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_the_formulas_of_sacrebleu_hold_for_any_sums(name):
    scorer = generation._SACREBLEU[name]()
    rows = RNG.integers(0, 30, (200, {"bleu": 10, "chrf": 18, "ter": 2}[name]))
    rows[RNG.random(rows.shape) < 0.2] = 0
    if name == "bleu":  # not more right than there are
        rows[:, 2:6] = np.minimum(rows[:, 2:6], rows[:, 6:])
    ours = forms.score(name, rows.astype(float))
    theirs = [scorer._compute_score_from_stats(list(row)).score for row in rows]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert sacrebleu.__version__


def test_classes_of_two_systems_share_their_columns():
    a = forms.Sums("mcc", [("x", "x"), ("y", None)])
    b = forms.Sums("mcc", [("x", "z"), ("y", "y")])
    one, two = forms.arrays([a, b])
    assert one.shape == two.shape == (2, 12)


def test_what_is_found_is_a_mean_over_queries():
    """Texts are sought among all of the split, however often a resample has them."""
    gold = [
        examples.Pair(f"q{i}", f"t{i}", score=(None, 1, 0)[i % 3]) for i in range(30)
    ]
    said = [
        {"vector": v.tolist(), "other": (v + 0.7 * RNG.normal(size=4)).tolist()}
        for v in RNG.normal(size=(30, 4))
    ]
    del said[1]["vector"]
    whole, found = (
        retrieval.retrieval(said, gold),
        sums.of([retrieval.retrieval], said, gold),
    )
    assert found.keys() == {"recall@1", "recall@5", "recall@10", "mrr"}
    for name, parts in found.items():
        [rows] = forms.arrays([parts])
        np.testing.assert_allclose(forms.score("ratio", rows.sum(0)), whole[name])
        assert rows[:, 1].sum() == 20 and not rows[2].any()
    assert 0.1 < whole["mrr"] < 1 and whole["unparsed"] == 1
    # 1 / rank of one query is that of its cosines with all seconds.
    cosines = [
        np.dot(said[0]["vector"], s["other"]) / np.linalg.norm(s["other"]) for s in said
    ]
    rank = sum(c >= cosines[0] for c in cosines)
    assert found["mrr"].rows[0] == [1 / rank, 1.0]


def test_counts_are_no_scores():
    gold = [examples.Labelled("t", "x")] * 3
    said = [{"label": "x"}] * 3
    assert sums.of([classification.accuracy], said, gold).keys() == {"accuracy"}

    def counting(predictions, scored):
        return {"unparsed": 0.0, "right": 1.0}

    assert sums.of([counting], said, gold).keys() == {"right"}


def test_what_sums_do_not_decide_is_left_out():
    said, gold = numbers()

    def middle(predictions, scored):
        value = float(np.median([p["label"] for p in predictions]))
        return {
            "median": value,
            "mean": float(np.mean([p["label"] for p in predictions])),
        }

    assert sums.of([middle], said, gold).keys() == {"mean"}


def test_a_metric_that_refuses_single_examples_is_left_out():
    said, gold = numbers()

    def needs_many(predictions, scored):
        if len(predictions) < 2:
            raise ValueError("too few")
        return {"x": 1.0}

    assert sums.of([needs_many], said, gold) == {}
