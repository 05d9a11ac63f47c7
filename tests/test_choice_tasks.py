"""The multiple-choice tasks: the forms of their records, their files, and TFDS."""

import dataclasses
import doctest
import importlib
import json
import pathlib

import numpy as np
import pytest
import runs

from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import sources
from lmtasks.tasks import arc_easy
from lmtasks.tasks import choice
from lmtasks.tasks import commonsense_qa
from lmtasks.tasks import copa
from lmtasks.tasks import hellaswag
from lmtasks.tasks import mmlu
from lmtasks.tasks import openbookqa
from lmtasks.tasks import piqa
from lmtasks.tasks import race
from lmtasks.tasks import winogrande

PUBLISHED = {
    "hellaswag": "hellaswag_val.jsonl",
    "arc_easy": "ARC-Easy-Dev.jsonl",
    "arc_challenge": "ARC-Challenge-Dev.jsonl",
    "winogrande": "dev.jsonl",
    "copa": "val.jsonl",
    "openbookqa": "dev.jsonl",
    "commonsense_qa": "dev_rand_split.jsonl",
}
# What tfds.testing.mock_data draws at random and the real data sets do not hold.
MOCKED = {
    "hellaswag": ({"context", "endings", "activity_label", "label"}, {"label": 1}),
    "piqa": ({"goal", "sol1", "sol2", "label"}, {}),
    "arc_easy": ({"question", "choices", "answerKey"}, {}),
    "arc_challenge": ({"question", "choices", "answerKey"}, {}),
    "winogrande": (
        {"sentence", "option1", "option2", "label"},
        {"sentence": "a b _ c."},
    ),
    "openbookqa": ({"question", "answerKey"}, {}),
    "race": ({"article", "questions", "options", "answers"}, {}),
}


def task_of(name):
    """Return a task by its name."""
    return importlib.import_module(f"lmtasks.tasks.{name}").TASK


def opened(name, folder, split="validation"):
    """Return the examples of a split of local files."""
    task = task_of(name)
    options = sources.DataOptions(dir=str(folder))
    found = sources.open_split(task.source, split, options, check=task.example)
    return [task.example(found[i]) for i in range(len(found))]


@pytest.mark.parametrize("name", MOCKED)
def test_records_of_tfds_have_the_form_the_task_reads(name):
    import tensorflow_datasets as tfds

    keys, real = MOCKED[name]
    task = task_of(name)
    with tfds.testing.mock_data(
        num_examples=1, policy=tfds.testing.MockPolicy.USE_CODE
    ):
        for split in task.source.splits:
            record = sources.open_split(task.source, split)[0]
            assert keys <= record.keys()
    if name.startswith("arc"):
        # The labels of a real record are in order, and the key is among them.
        choices = [{**one, "label": i} for i, one in enumerate(record["choices"][:4])]
        real = {"choices": choices, "answerKey": 2}
    if name == "race":
        several = np.asarray(record["options"])[:2, :4]
        real = {"questions": ["q?", "r?"], "options": several, "answers": ["A", "D"]}
    example = task.example({**record, **real})
    assert len(example.options) >= 2 and all(type(o) is str for o in example.options)
    assert 0 <= example.answer < len(example.options)


def test_copa_is_super_glues_whose_builder_needs_tensorflow():
    assert copa.TASK.source.tfds == "super_glue/copa"
    with pytest.raises(ValueError, match="tensorflow"):
        sources.open_split(copa.TASK.source, "train")


@pytest.mark.parametrize("name", ("mmlu", "commonsense_qa"))
def test_what_tfds_lacks_asks_for_files(name):
    with pytest.raises(ValueError, match=r"config\.data\.dir .* config\.data\.files"):
        sources.open_split(task_of(name).source, "train")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_under_their_own_names(name, tmp_path):
    task = task_of(name)
    runs.write_jsonl(tmp_path / PUBLISHED[name], task.samples)
    assert opened(name, tmp_path) == [task.example(one) for one in task.samples]


@pytest.mark.parametrize("name", [*PUBLISHED, "piqa", "mmlu", "race"])
def test_plainly_named_files_are_read_too(name, tmp_path):
    task = task_of(name)
    runs.write_jsonl(tmp_path / "validation.jsonl", task.samples)
    assert opened(name, tmp_path) == [task.example(one) for one in task.samples]


def test_the_endings_of_hellaswag_are_tidied_as_in_the_harness():
    first, second, third = map(hellaswag.example, hellaswag.TASK.samples)
    assert first.context.endswith("a dog in it. He")
    assert second.context.startswith("Cooking and Baking: How to boil an egg. Fill")
    assert second.options[0] == " Cover the egg with it."
    assert second.options[2] == "Eggs are birds.. Sing."
    assert third.context.endswith("over the net. her friend")
    hidden = {k: v for k, v in hellaswag.TASK.samples[0].items() if k != "label"}
    assert hellaswag.example(hidden).answer == -1


def test_piqa_takes_its_labels_from_the_file_beside(tmp_path):
    rows = [dict(one) for one in piqa.TASK.samples]
    labels = [str(row.pop("label")) for row in rows]
    for name in ("train", "valid"):
        runs.write_jsonl(tmp_path / f"{name}.jsonl", rows)
        (tmp_path / f"{name}-labels.lst").write_text("\n".join(labels) + "\n")
    runs.write_jsonl(tmp_path / "tests.jsonl", rows)
    wanted = [piqa.example(one) for one in piqa.TASK.samples]
    assert opened("piqa", tmp_path, "train") == wanted
    assert opened("piqa", tmp_path) == wanted
    assert [one.answer for one in opened("piqa", tmp_path, "test")] == [-1] * 3
    (tmp_path / "valid-labels.lst").write_text("0\n1\n0\n0\n")
    with pytest.raises(ValueError, match="4 labels for the 3 records"):
        opened("piqa", tmp_path)
    (tmp_path / "valid-labels.lst").write_text("0\n1\n")
    with pytest.raises(ValueError, match=r"valid-labels.lst:3: .*has no line for it"):
        opened("piqa", tmp_path)


def test_mmlu_reads_its_subjects_from_the_names_of_its_files(tmp_path):
    (tmp_path / "val").mkdir()
    text = 'What is 1 + 1?,1,2,3,4,B\n"A, or B?",A,B,C,D,D\n'
    (tmp_path / "val" / "college_mathematics_val.csv").write_text(text)
    about = "The following are multiple choice questions (with answers) about "
    intro = f"{about}college mathematics.\n\n"
    assert opened("mmlu", tmp_path) == [
        examples.Choice(f"{intro}What is 1 + 1?", ("1", "2", "3", "4"), 1),
        examples.Choice(f"{intro}A, or B?", ("A", "B", "C", "D"), 3),
    ]
    (tmp_path / "auxiliary_train").mkdir()
    path = tmp_path / "auxiliary_train" / "other_exam.csv"
    path.write_text("question,A,B,C,D,answer\nq,a,b,c,d,C\n")
    (only,) = opened("mmlu", tmp_path, "train")
    assert only == examples.Choice("q", ("a", "b", "c", "d"), 2)
    path.write_text("q,a,b,C\n")
    with pytest.raises(ValueError, match="other_exam.csv:1: 4 columns instead of 6"):
        opened("mmlu", tmp_path, "train")


@pytest.mark.parametrize("module", (mmlu, commonsense_qa))
def test_exams_list_their_options_and_are_answered_by_letters(module):
    task = module.TASK
    example = task.example(task.samples[0])
    said = chat.as_turns(example, task.prompt).turns
    lines = said[0].text.splitlines()
    assert lines[-1] == "Answer:" and lines[-2].startswith(("D. ", "E. "))
    assert f"{said[1].text}. {example.options[example.answer]}" in lines


def test_race_asks_the_last_question_after_the_others_with_their_answers():
    asked = race.example(race.TASK.samples[1])
    assert asked.context.endswith(
        "Question: What did he find?\nAnswer: a kitten\nThe kitten's name was  _  ."
    )
    # What TFDS keeps of lists of lists, and a question whose blank was filled before.
    given = dict(race.TASK.samples[1])
    given["questions"] = given["questions"][::-1]
    given["answers"] = given["answers"][::-1]
    given["options"] = np.array(given["options"][::-1], np.bytes_)
    again = race.example(given)
    assert again.context.endswith("\n\n _  .Ash\nWhat did he find?")
    assert again.options == ("a kitten", "a shed", "a bus", "a ring")


def test_the_articles_of_race_are_read_question_by_question(tmp_path):
    folder = tmp_path / "dev" / "high"
    folder.mkdir(parents=True)
    article = race.TASK.samples[1]
    (folder / "1.txt").write_text(json.dumps(article))
    first, second = opened("race", tmp_path)
    assert first.context.endswith("\n\nWhat did he find?") and first.answer == 0
    assert second.options[second.answer] == "Ash"
    short = {**article, "answers": ["A"]}
    (folder / "2.txt").write_text(json.dumps(short))
    with pytest.raises(ValueError, match="2.txt:1: .*lists of other lengths"):
        opened("race", tmp_path)


def test_both_names_of_winogrande_go_on_to_the_end_of_the_sentence():
    example = winogrande.example(winogrande.TASK.samples[0])
    assert example.context == "Mia lent Lea her coat because"
    assert example.options == ("Mia was cold.", "Lea was cold.")
    record = {"option1": "a", "option2": "b", "answer": ""}
    assert winogrande.example({"sentence": "I _.", **record}).answer == -1
    for sentence in ("No blank.", "_ came."):
        with pytest.raises(ValueError, match="no blank _ behind its first words"):
            winogrande.example({"sentence": sentence, **record})
    with pytest.raises(ValueError, match="'3' is neither 1 nor 2"):
        winogrande.example({"sentence": "I _.", **record, "answer": "3"})


def test_the_premise_of_copa_goes_on_by_its_question():
    first, second, _ = map(copa.example, copa.TASK.samples)
    assert first.context == "The street was wet because"
    assert second.context == "The lamp broke therefore"
    assert second.options[1] == "the room was dark."
    with pytest.raises(ValueError, match="neither cause nor effect"):
        copa.example({**copa.TASK.samples[0], "question": "why"})


def test_the_key_of_a_school_question_is_one_of_its_labels():
    columns = {"label": ["1", "2", "3"], "text": ["a", "b", "c"]}
    record = {"question": "q?", "choices": columns, "answerKey": " 3"}
    assert arc_easy.example(record).answer == 2
    assert arc_easy.example({**record, "answerKey": ""}).answer == -1
    with pytest.raises(ValueError, match="'4' is none of 1, 2, 3"):
        arc_easy.example({**record, "answerKey": "4"})


@pytest.mark.parametrize(("key", "answer"), [("C", 2), (2, 2), (-1, -1), (None, -1)])
def test_openbookqa_reads_the_columns_of_tfds(key, answer):
    record = dict(openbookqa.TASK.samples[1])
    record["answerKey"] = key
    if key is None:
        del record["answerKey"]
    example = openbookqa.example(record)
    assert example.answer == answer
    assert example.options == ("a nail", "a leaf", "a glass", "a cork")


def test_an_answer_that_reads_like_an_option_is_still_its_number():
    # Options that are numbers or letters themselves.
    options = ["2", "1", "0", "3"]
    record = {"question": "1 + 0 =", "choices": options, "answer": "0"}
    assert mmlu.example(record).answer == 0
    vitamins = {"label": ["A", "B", "C"], "text": ["C", "D", "A"]}
    record = {"question": "q?", "choices": vitamins, "answerKey": "A"}
    assert arc_easy.example(record).answer == 0


def test_the_docstring_examples_are_true():
    found = doctest.testmod(letters)
    assert found.attempted == 2 and not found.failed


def test_an_empty_option_is_refused():
    with pytest.raises(ValueError, match="an option is empty"):
        choice.example({"context": "c", "options": ["a", " "], "answer": 0})


def test_letters_are_read_in_what_a_model_writes():
    example = examples.Choice("q", ("cold", "hot", "A bit"), 0)

    def read(text):
        return choice.parse(text, example, ())["choice"]

    assert [read(t) for t in ("B", "(C)", "B. hot", " A: cold", "C) A bit")] == [
        1, 2, 1, 0, 2
    ]  # fmt: skip
    assert read("A bit warm") == 2 and read("Hot") == 1
    assert [read(t) for t in ("A warm day", "b", "D", "", "As", "Banana")] == [None] * 6


def test_the_samples_of_a_task_are_told_apart_from_one_another():
    folder = pathlib.Path(choice.__file__).parent
    for name in (*PUBLISHED, "piqa", "mmlu", "race"):
        assert (folder / f"{name}.py").is_file()
        task = task_of(name)
        found = [task.example(sample) for sample in task.samples]
        assert len({dataclasses.astuple(one) for one in found}) == len(found)
        assert len({one.answer for one in found}) > 1, name
