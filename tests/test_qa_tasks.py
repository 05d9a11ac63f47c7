"""The extractive QA tasks: their files, the catalogue, bad records, and their scores."""

import collections
import csv
import gzip
import importlib
import json
import pathlib
import random
import re
import string

import pytest

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import json_readers
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.metrics import spans
from lmtasks.objectives import base as objectives
from lmtasks.objectives import span
from lmtasks.tasks import extractive_qa
from lmtasks.tasks import subjqa

SHARED = pathlib.Path(__file__).parents[1].parent / "shared/data/extractive_qa"
NAMES = (
    "adversarial_qa", "extractive_qa", "squad", "squad_v2", "subjqa", "toy_span",
    "xquad",
)  # fmt: skip
here = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")


def task_of(name):
    """Return the TASK of a module."""
    return importlib.import_module(f"lmtasks.tasks.{name}").TASK


def opened(name, split, **options):
    """Return the records of a split, each one checked as a run does."""
    task = task_of(name)
    found = sources.DataOptions(**options)
    return sources.open_split(task.source, split, found, check=task.example)


def squad_file(path, *questions, context="Ida mended the clock."):
    """Write a file in SQuAD's form."""
    qas = [
        {"id": str(i), "question": question, "answers": answers}
        for i, (question, *answers) in enumerate(questions)
    ]
    data = [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]
    path.write_text(json.dumps({"version": "1.1", "data": data}))


IDA = {"text": "Ida", "answer_start": 0}


# Files and the catalogue.


@pytest.mark.parametrize("name", NAMES)
def test_samples_train_and_ask_the_same_rows(name):
    task, byte = task_of(name), tokenizers.train("byte", ())
    objective = span.Span(objectives.Setting("encoder", 200))
    assert task.objective == "span" and task.kind is examples.Span
    for sample in task.samples:
        example = task.example(sample)
        (taught,), (asked,) = (
            objective.featurize(example, byte),
            objective.query(example, byte),
        )
        assert taught["tokens"].tolist() == asked["tokens"].tolist()
        assert bool(example.answers) == (taught["targets"][0] == 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_answer_is_a_text_and_no_answer_is_none(name):
    task = task_of(name)
    example = task.example(task.samples[0])
    assert task.parse(" nine ", example, ()) == {"text": "nine"}
    assert task.parse("No answer.", example, ()) == {"text": ""}


@pytest.mark.parametrize(("name", "version"), [("squad", "1.1"), ("squad_v2", "2.0")])
def test_squad_is_read_under_its_published_names_and_ours(name, version, tmp_path):
    for folder, names in (
        ("published", (f"train-v{version}.json", f"dev-v{version}.json")),
        ("ours", ("train.json", "validation.json")),
    ):
        (tmp_path / folder).mkdir()
        squad_file(tmp_path / folder / names[0], ("Who?", IDA), ("When?", IDA))
        squad_file(tmp_path / folder / names[1], ("Who?", IDA))
        counts = [
            len(opened(name, split, dir=str(tmp_path / folder)))
            for split in ("train", "validation")
        ]
        assert counts == [2, 1]
        with pytest.raises(ValueError, match="no split 'test', but train, validation"):
            opened(name, "test", dir=str(tmp_path / folder))


@pytest.mark.parametrize(
    ("name", "split", "keys"),
    [
        ("squad", "train", ()),
        ("squad", "validation", ()),
        ("squad_v2", "train", ("is_impossible", "plausible_answers")),
        ("xquad", "test", ()),
    ],
)
def test_the_catalogue_has_the_fields_the_tasks_read(name, split, keys):
    import tensorflow_datasets as tfds

    policy = tfds.testing.MockPolicy.USE_CODE
    with tfds.testing.mock_data(num_examples=3, policy=policy):
        found = sources.open_split(task_of(name).source, split)
        records = [found[i] for i in range(3)]
    for record in records:
        usual = {"id", "title", "context", "question", "answers"}
        assert record.keys() == usual | set(keys)
        # The mock's places are random numbers: put them where the text begins.
        texts = [(record["context"][:3], 0) for _, at in record["answers"]]
        assert all(type(at) is int for _, at in record["answers"])
        example = task_of(name).example(record | {"answers": texts})
        assert example == examples.Span(
            record["question"], record["context"], tuple(texts)
        )


@here
@pytest.mark.parametrize(
    ("name", "folder", "counts"),
    [
        ("adversarial_qa", "adversarial_qa", (484, 58, 58)),
        ("xquad", "xquad_en", (829, 119, 130)),
        ("extractive_qa", "xquad_en", (829, 119, 130)),
    ],
)
def test_real_files_are_whole_and_every_answer_stands_at_its_place(
    name, folder, counts
):
    found = [opened(name, s, dir=str(SHARED / folder)) for s in sources.SPLITS]
    assert tuple(map(len, found)) == counts
    assert all(records.skipped == 0 for records in found)


# Bad records.


def test_an_answer_that_is_not_at_its_place_is_named_or_skipped(tmp_path):
    rows = [{"question": "Who?", "context": "by Ida", "answers": [["Ida", 3]]}] * 20
    rows[7] = {"question": "Who?", "context": "by Ida", "answers": [["Ida", 2]]}
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError) as error:
        opened("extractive_qa", "train", dir=str(tmp_path))
    said = str(error.value)
    assert f"{path}:8: " in said and "config.data.on_error=skip" in said
    assert "the answer 'Ida' is not at character 2 of the context, where ' Id'" in said
    found = opened("extractive_qa", "train", dir=str(tmp_path), on_error="skip")
    assert len(found) == 19 and found.skipped == 1


@pytest.mark.parametrize("start", [-3, -1, 99])
def test_a_place_outside_the_context_is_no_place(start, tmp_path):
    record = {"question": "?", "context": "by Ida", "answers": [("Ida", start)]}
    with pytest.raises(ValueError, match=f"is not at character {start} of"):
        extractive_qa.example(record)
    path = tmp_path / "train.json"
    squad_file(path, ("Who?", {"text": "Ida", "answer_start": start}), context="by Ida")
    ((_, row),) = json_readers.squad(str(path))
    assert isinstance(row, readers.Bad) and f"is not at {start}" in row.what


def test_an_answer_without_text_is_none():
    record = {"question": "?", "context": "by Ida", "answers": [(" ", 2), ("", 0)]}
    assert extractive_qa.example(record).answers == ()
    record = {"question": "?", "context": "by Ida", "answer": "Bo"}
    with pytest.raises(ValueError, match="'Bo' does not occur in the context"):
        extractive_qa.example(record)


# SubjQA.


def reviews(path, *rows):
    """Write (review, answer, indices) rows as SubjQA does, gzipped."""
    columns = ("q_review_id", "question", "review", "human_ans_spans")
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "human_ans_indices"])
        for i, (review, answer, indices) in enumerate(rows):
            writer.writerow([i, "How?", f"{review} ANSWERNOTFOUND", answer, indices])


def test_answers_of_reviews_are_found_with_other_spaces_and_signs(tmp_path):
    path = tmp_path / "tea_train.csv.gz"
    text = "Costs $11, well made. It's (very) well made, and costs $ 11."
    reviews(
        path,
        (text, "ANSWERNOTFOUND", "(61, 75)"),
        (text, "$ 11", "(6, 9)"),
        (text, "$11", "(55, 58)"),
        (text, "well made", "(40, 45)"),
        (text, "It 's very well made", "(22, 43)"),
        (text, "Costs made", "(0, 20)"),
        (text, "$11", "6-9"),
    )
    rows = [row for _, row in subjqa.read(str(path))]
    answers = [[t for t, _ in row["answers"]] for row in rows[:5]]
    assert answers == [[], ["$11"], ["$ 11"], ["well made"], ["It's (very) well made"]]
    for row in rows[:5]:
        assert row["context"] == text
        subjqa.TASK.example(row)
    assert [row["answers"][0][1] for row in rows[1:5]] == [6, 55, 34, 22]
    assert "'Costs made' does not occur in the review" in rows[5].what
    assert "'6-9' are no pair" in rows[6].what


def test_reviews_of_one_sort_are_chosen_by_their_file(tmp_path):
    for name, count in (("tea", 2), ("cups", 3)):
        row = ("Good tea.", "Good tea", "(0, 8)")
        reviews(tmp_path / f"{name}_train.csv.gz", *[row] * count)
    both = opened("subjqa", "train", dir=str(tmp_path))
    assert len(both) == 5
    one = opened("subjqa", "train", dir=str(tmp_path), files={"train": "tea_train.csv"})
    assert len(one) == 2 and one[0]["answers"] == [("Good tea", 0)]


def test_a_table_that_is_not_subjqas_says_what_is_missing(tmp_path):
    (tmp_path / "x_train.csv").write_text("question,text\na,b\n")
    with pytest.raises(ValueError, match="no column 'review' among question, text"):
        opened("subjqa", "train", dir=str(tmp_path))


@here
def test_few_answers_of_real_reviews_are_lost_and_those_are_counted():
    folder = str(SHARED / "subjqa")
    counts, skipped = [], []
    for split in sources.SPLITS:
        found = opened("subjqa", split, dir=folder, on_error="skip")
        counts.append(len(found))
        skipped.append(found.skipped)
    assert (counts, skipped) == ([4830, 535, 1233], [76, 11, 18])
    with pytest.raises(ValueError, match=r"csv.gz:224: .*config.data.on_error=skip"):
        opened("subjqa", "train", dir=folder)


# Scores.


def official_normal(text):
    """Return the text as the official script compares it, written anew from its rule."""
    kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", kept).split())


def official_f1(said, gold):
    """Return F1 by precision and recall; texts without words agree only mutually."""
    one, other = official_normal(said).split(), official_normal(gold).split()
    if not one or not other:
        return float(one == other)
    left, common = collections.Counter(other), 0
    for word in one:
        if left[word] > 0:
            left[word] -= 1
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall)


def official(said, golds):
    """Return (exact, F1) of one question, the best over its golds."""
    golds = [gold for gold in golds if official_normal(gold)] or [""]
    exact = max(float(official_normal(said) == official_normal(g)) for g in golds)
    return exact, max(official_f1(said, gold) for gold in golds)


def random_text(rng, least=0):
    """Return a few words with the signs, cases and articles that matter."""
    words = [
        "the",
        "a",
        "An",
        "Red",
        "red",
        "fox",
        "fox's",
        "1,904",
        "x-ray",
        "\u00e9t\u00e9",
    ]
    picked = [rng.choice(words) for _ in range(rng.randint(least, 4))]
    return rng.choice([" ", "  ", ", "]).join(picked) + rng.choice(["", ".", " !"])


def test_exact_match_and_f1_are_the_official_ones_on_random_answers():
    rng = random.Random(0)
    for _ in range(200):
        count = rng.randint(1, 6)
        golds = [
            tuple(random_text(rng, 1) for _ in range(rng.randint(0, 3)))
            for _ in range(count)
        ]
        said = [rng.choice([*gold, random_text(rng), ""]) for gold in golds]
        scored = [
            examples.Span("q", "c", tuple((g, 0) for g in gold)) for gold in golds
        ]
        found = spans.squad_v2([{"text": text} for text in said], scored)
        pairs = [official(text, gold) for text, gold in zip(said, golds, strict=True)]
        for name, column in (("exact_match", 0), ("f1", 1)):
            mean = 100 * sum(pair[column] for pair in pairs) / count
            assert found[name] == pytest.approx(mean)


def test_the_golden_values_of_squad():
    assert spans.exact("The Steve Jobs!", "Steve Jobs") == 1
    assert spans.f1("The Steve Jobs!", "Steve Jobs") == 1
    assert spans.f1("Apple CEO Steve Jobs", "Steve Jobs") == pytest.approx(0.666667)
    none, some = examples.Span("q", "c"), examples.Span("q", "c", (("Jobs", 0),))
    for said, example, value in (
        ("", none, 100), ("Jobs", none, 0), ("", some, 0), ("jobs", some, 100),
    ):  # fmt: skip
        found = spans.squad_v2([{"text": said}], [example])
        assert found == {"exact_match": value, "f1": value}


def predicted(text, margin):
    """Return a prediction of the objective whose "no answer" leads by a margin."""
    said = text if margin <= 0 else ""
    n_best = (
        [{"text": text}, {"text": ""}]
        if margin <= 0
        else [{"text": ""}, {"text": text}]
    )
    return {"text": said, "null_score": margin - 2.0, "span_score": -2.0,
            "n_best": n_best}  # fmt: skip


def official_best(answers, golds, margins, column):
    """Return the best score as the official script sweeps it, one question at a time."""
    current = best = sum(not gold for gold in golds)
    for i in sorted(range(len(golds)), key=lambda i: margins[i]):
        current += official(answers[i], golds[i])[column] if golds[i] else -1
        best = max(best, current)
    return 100 * best / len(golds)


def test_the_best_thresholds_are_the_official_ones_on_random_answers():
    rng = random.Random(1)
    seen = collections.Counter()
    for _ in range(200):
        count = rng.randint(2, 8)
        answers = [rng.choice(["red fox", "fox", "x-ray 1"]) for _ in range(count)]
        golds = [
            rng.choice([(), (), (rng.choice(["red fox", "fox"]),)])
            for _ in range(count)
        ]
        golds[:2] = [(), ("fox",)]
        margins = rng.sample([x / 4 for x in range(-40, 40)], count)
        said = [predicted(*pair) for pair in zip(answers, margins, strict=True)]
        scored = [
            examples.Span("q", "c", tuple((g, 0) for g in gold)) for gold in golds
        ]
        found = spans.squad_v2(said, scored)
        for column, name in ((0, "exact"), (1, "f1")):
            best = official_best(answers, golds, margins, column)
            assert found[f"best_{name}"] == pytest.approx(best)
            # The threshold does what it says, rounded too.
            threshold = round(found[f"best_{name}_thresh"], 3)
            texts = [
                "" if margin > threshold else text
                for text, margin in zip(answers, margins, strict=True)
            ]
            again = spans.squad_v2([{"text": text} for text in texts], scored)
            key = "exact_match" if name == "exact" else "f1"
            assert again[key] == pytest.approx(best)
            seen[texts.count("") in (0, count)] += 1
    assert min(seen.values()) > 20


def test_equal_margins_stand_or_fall_together():
    golds = (("fox",), (), ("fox",))
    scored = [examples.Span("q", "c", tuple((g, 0) for g in gold)) for gold in golds]
    said = [predicted("fox", 1.0), predicted("fox", 1.0), predicted("owl", 1.0)]
    found = spans.squad_v2(said, scored)
    assert found["best_exact"] == pytest.approx(100 / 3)
    assert found["best_exact_thresh"] == 0.0


def test_thresholds_need_scores_and_both_sorts_of_questions():
    none, some = examples.Span("q", "c"), examples.Span("q", "c", (("fox", 0),))
    plain = spans.squad_v2([{"text": "fox"}, {"text": ""}], [some, none])
    assert not any(name.startswith("best") for name in plain)
    alike = spans.squad_v2([predicted("fox", -1.0)], [some])
    assert alike.keys() == {"exact_match", "f1"}
    # What was not asked (an empty question) has no scores and no answer.
    mixed = spans.squad_v2([predicted("fox", -1.0), {"label": None, "text": ""}],
                           [some, none])  # fmt: skip
    assert mixed["best_f1"] == 100.0 and mixed["best_f1_thresh"] == 0.0
