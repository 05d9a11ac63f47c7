"""Records become examples task by task; what does not fit is refused."""

import doctest
import gzip

import pytest

from lmtasks.data import examples
from lmtasks.data import labels
from lmtasks.data import sources
from lmtasks.metrics import answers
from lmtasks.tasks import ag_news
from lmtasks.tasks import chat
from lmtasks.tasks import choice
from lmtasks.tasks import classification
from lmtasks.tasks import extractive_qa
from lmtasks.tasks import gsm8k
from lmtasks.tasks import rte
from lmtasks.tasks import sst2
from lmtasks.tasks import tagging
from lmtasks.tasks import wikitext2


def test_columns_of_a_csv_file_are_named_by_the_user(tmp_path):
    (tmp_path / "mine.csv").write_text("stars,review\n5,a gem\n1,a bore\n")
    options = sources.DataOptions(
        dir=str(tmp_path),
        files={"train": "mine.csv"},
        fields={"text": "review", "label": "stars"},
    )
    task = classification.TASK
    records = sources.open_split(task.source, "train", options)
    assert task.example(records[0]) == examples.Labelled("a gem", "5")


def test_label_names_come_from_numbers_and_names():
    names = ("no", "yes")
    assert labels.name(1, names) == labels.name("1", names) == "yes"
    assert labels.name("no", names) == labels.name("1", names, first=1) == "no"
    assert labels.name(-1, names) is labels.name(None, names) is labels.name("") is None
    assert labels.name(-1) == "-1"
    assert labels.each(["a", 2]) == ("a", "2")
    for wrong in (2, "maybe", 0.5):
        with pytest.raises(ValueError, match="is none of no, yes"):
            labels.name(wrong, names)


def test_the_docstring_examples_are_true():
    from lmtasks.metrics import tagging as tag_metrics

    for module in (labels, answers, tag_metrics):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def test_hidden_labels_of_tfds_are_no_labels():
    assert sst2.TASK.example({"sentence": "x", "label": -1}).label is None


def test_ag_news_counts_from_one_in_files_and_from_zero_in_tfds():
    record = {"title": "a", "description": "b"}
    for label in (1, "2"):
        example = ag_news.TASK.example({**record, "label": label})
        assert example == examples.Labelled("a b", "Sports")


def test_three_forms_of_chat_become_the_same_turns():
    wanted = examples.Turns(
        (
            examples.Turn("system", "Be kind."),
            examples.Turn("user", "Hi"),
            examples.Turn("assistant", "Hello"),
            examples.Turn("user", "Add\n2 and 3"),
            examples.Turn("assistant", "5"),
        )
    )
    said = ["Be kind.", "Hi", "Hello", "Add\n2 and 3", "5"]
    roles = ["system", "user", "assistant", "user", "assistant"]
    pairs = list(zip(roles, said, strict=True))
    others = {"system": "system", "user": "human", "assistant": "gpt"}
    forms = (
        {"messages": [{"role": role, "content": text} for role, text in pairs]},
        {"conversations": [{"from": others[r], "value": t} for r, t in pairs]},
        {
            "system": "Be kind.",
            "instruction": "Add",
            "input": "2 and 3",
            "output": "5",
            "history": [["Hi", "Hello"]],
        },
    )
    for form in forms:
        assert chat.TASK.example(form) == wanted


def test_an_instruction_without_output_ends_with_the_user():
    example = chat.TASK.example({"instruction": "Sing"})
    assert example.turns == (examples.Turn("user", "Sing"),)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"prompt": "a", "reply": "b"}, "takes messages .*conversations .*instruction"),
        ({"messages": [{"role": "cook", "content": "a"}]}, "'cook' is not one of"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "only text is read"),
        ({"messages": []}, "holds no turns"),
    ],
)
def test_other_forms_of_chat_are_refused(record, sentence):
    with pytest.raises(ValueError, match=sentence):
        chat.TASK.example(record)


@pytest.mark.parametrize(
    ("answer", "index"), [(1, 1), ("1", 1), ("B", 1), ("3", 0), ("4", 1), (-1, -1)]
)
def test_the_answer_of_a_choice_is_a_text_a_letter_or_a_number(answer, index):
    record = {"context": "1 + 2 =", "options": ["3", "4"], "answer": answer}
    assert choice.TASK.example(record).answer == index


def test_a_choice_without_options_or_with_a_strange_answer_is_refused():
    with pytest.raises(ValueError, match="1 options are no choice"):
        choice.TASK.example({"context": "c", "options": ["a"], "answer": 0})
    with pytest.raises(ValueError, match="'z' is none of the options a, b"):
        choice.TASK.example({"context": "c", "options": ["a", "b"], "answer": "z"})


def test_generated_text_is_read_as_an_option_or_an_answer():
    example = examples.Choice("c", ("red", "red wine"), 1)
    assert choice.TASK.parse(" Red wine.", example, ())["choice"] == 1
    assert choice.TASK.parse("blue", example, ())["choice"] is None
    span = examples.Span("q", "c")
    assert extractive_qa.TASK.parse(" No answer.", span, ())["text"] == ""
    assert extractive_qa.TASK.parse(" Rome", span, ())["text"] == "Rome"


def test_words_and_tags_of_different_number_are_refused():
    with pytest.raises(ValueError, match="2 words have 1 tags"):
        tagging.TASK.example({"words": "a b", "tags": "O"})


def test_an_answer_that_the_context_lacks_is_refused():
    record = {"question": "q", "context": "a b", "answer": "c"}
    with pytest.raises(ValueError, match="'c' does not occur"):
        extractive_qa.TASK.example(record)
    assert extractive_qa.TASK.example({**record, "answer": ""}).answers == ()


def test_gsm8k_steps_are_written_without_calculator_marks():
    record = {"question": "q?", "answer": "1+2=<<1+2=3>>3 cats.\n#### 1,003"}
    reply = gsm8k.TASK.example(record).turns[-1].text
    assert reply == "1+2=3 cats.\nThe answer is 1,003."
    assert answers.value(answers.extract(reply)) == ("number", 1003)


XML = """<?xml version="1.0" encoding="UTF-8"?>
<corpus>
<pair id="1" value="TRUE" task="IR">
  <t>A &amp; B met.</t>
  <h>They met.</h>
</pair>
<pair id="2" entailment="NO"><t>A left.</t><h>A came.</h></pair>
<pair id="3"><t>A left.</t><h></h></pair>
</corpus>
"""


def test_rte_reads_both_forms_of_xml_and_names_bad_pairs(tmp_path):
    with gzip.open(tmp_path / "train_a.xml.gz", "wt") as file:
        file.write(XML)
    rows = list(rte.read(str(tmp_path / "train_a.xml.gz")))
    assert rows[0] == (
        3, {"sentence1": "A & B met.", "sentence2": "They met.", "label": 0}
    )  # fmt: skip
    assert rows[1][0] == 7
    assert rte.TASK.example(rows[1][1]).label == "not_entailment"
    assert rows[2][0] == 8
    assert "not a pair" in rows[2][1].what


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('<!DOCTYPE c [<!ENTITY a "b">]><c>&a;</c>', "defines XML entities"),
        ("<c><pair>", "is no valid XML"),
    ],
)
def test_rte_refuses_entities_and_broken_xml(text, sentence, tmp_path):
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        list(rte.read(str(path)))


def test_wikitext_is_cut_at_titles_not_at_sections(tmp_path):
    path = tmp_path / "a.txt"
    lines = [" ", " = One = ", " ", " Text . ", " = = Part = = ", " More = less . "]
    lines += [" = Two = ", " End . "]
    path.write_text("\n".join(lines) + "\n")
    rows = list(wikitext2.read(str(path)))
    assert [number for number, _ in rows] == [2, 7]
    assert (
        rows[0][1]["text"] == "= One = \n \n Text . \n = = Part = = \n More = less .\n"
    )
    assert rows[1][1]["text"] == "= Two = \n End .\n"
