"""The generating tasks: records of the catalogue, and what each makes of its records."""

import importlib
import json

import pytest

from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import generation

CATALOGUE = ("samsum", "xsum", "cnn_dailymail", "nq_open", "squad_gen", "sgd",
             "wmt14_de_en", "opus")  # fmt: skip


def task_of(name):
    """Return a task by its name."""
    return importlib.import_module(f"lmtasks.tasks.{name}").TASK


def said(name, record):
    """Return (role, text) of the turns of a record."""
    return [(turn.role, turn.text) for turn in task_of(name).example(record).turns]


@pytest.mark.parametrize("name", CATALOGUE)
def test_records_of_the_catalogue_are_what_the_task_reads(name):
    tfds = pytest.importorskip("tensorflow_datasets")
    policy = tfds.testing.MockPolicy.USE_CODE
    with tfds.testing.mock_data(num_examples=3, policy=policy):
        found = sources.open_split(task_of(name).source, "train")
        for record in found:
            turns = task_of(name).example(record).turns
            assert turns == () or turns[-1].role == "assistant"
    assert len(found)


def test_a_dialogue_ends_with_the_service():
    record = {"first_speaker": "SYSTEM", "utterances": ["Hi.", "A bus?", "At 9.", "Ok"]}
    roles = ["assistant", "user", "assistant"]
    assert [role for role, _ in said("sgd", record)] == roles


def test_the_best_ranked_reply_is_taken():
    sample = task_of("oasst").samples[0]
    assert said("oasst", sample) == [
        ("user", "Which wood floats?"), ("assistant", "Most do, oak too.")]  # fmt: skip
    alone = {"prompt": {"text": "Who?", "role": "prompter", "replies": []}}
    assert said("oasst", alone) == []
    gone = {"text": "No.", "role": "assistant", "rank": 0, "deleted": True}
    kept = {"text": "Yes.", "role": "assistant", "rank": None}
    tree = {"prompt": {"text": "Is it?", "role": "prompter", "replies": [gone, kept]}}
    assert said("oasst", tree)[-1] == ("assistant", "Yes.")


@pytest.mark.parametrize(
    ("prefix", "infix"),
    [
        ("+ 63 50", "63 + 50"),
        ("- + 2 3 4", "(2 + 3) - 4"),
        ("/ 15 + 2 3", "15 / (2 + 3)"),
        ("7", "7"),
    ],
)
def test_prefix_equations_become_infix(prefix, infix):
    module = importlib.import_module("lmtasks.tasks.asdiv")
    assert module.infix(prefix) == infix


@pytest.mark.parametrize("wrong", ("+ 1", "1 2", ""))
def test_what_is_no_equation_is_refused(wrong):
    module = importlib.import_module("lmtasks.tasks.asdiv")
    with pytest.raises(ValueError, match="no expression"):
        module.infix(wrong)


def test_stories_become_questions_with_worked_answers():
    assert said("asdiv", task_of("asdiv").samples[2]) == [
        ("user", "Question: 2 and 3 children share 15 pears . how many each ? Answer:"),
        ("assistant", "15 / (2 + 3) = 3. The answer is 3."),
    ]
    assert said("svamp", task_of("svamp").samples[0]) == [
        ("user", "Question: Lena had 8 plums and ate 3. How many are left? Answer:"),
        ("assistant", "8.0 - 3.0 = 5. The answer is 5."),
    ]


def test_a_literal_end_of_text_is_left_out():
    for name in ("t0_mixture", "context_qa", "chat"):
        record = {"prompt": "a", "completion": "b<|endoftext|>"}
        assert said(name, record) == [("user", "a"), ("assistant", "b")]


def test_texts_that_take_turns_and_instances():
    assert said("lima", {"conversations": ["a", "b", "c"]}) == [
        ("user", "a"), ("assistant", "b"), ("user", "c")]  # fmt: skip
    record = {"instruction": "a", "instances": [{"input": "b", "output": "c"}, {}]}
    assert said("self_instruct", record) == [("user", "a\nb"), ("assistant", "c")]


def test_further_summaries_are_accepted():
    for name, record in (
        ("scitldr", {"source": ["A.", "B."], "target": ["one", "two"]}),
        ("dialogsum", {"dialogue": "A. B.", "summary1": "one", "summary2": "two"}),
    ):
        example = task_of(name).example(record)
        assert example.turns[-1].text == "one" and example.references == ("two",)
        assert "A. B. Summary:" in example.turns[0].text


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [
        ("Ein Hund.", "13a"),
        ("\u4e00\u53ea\u72d7\u5728\u8dd1", "zh"),
        ("\u72ac\u304c\u8d70\u308b", "char"),
        ("\u0e2a\u0e38\u0e19\u0e31\u0e02", "char"),
        ("\u0441\u043e\u0431\u0430\u043a\u0430", "13a"),
        ("the word \u72ac alone", "13a"),
        ("", "13a"),
    ],
)
def test_bleu_is_tokenized_as_its_language_is(text, tokenizer):
    assert generation.tokenizer_of([text]) == tokenizer
    turns = (examples.Turn("user", "x"), examples.Turn("assistant", text))
    assert f"tok:{tokenizer}" in generation.signature("bleu", [examples.Turns(turns)])


def test_bleu_of_chinese_counts_characters():
    text = "\u4e00\u53ea\u72d7\u5728\u8dd1"
    turns = (examples.Turn("user", "x"), examples.Turn("assistant", text))
    one = examples.Turns(turns)
    close = generation.bleu([{"text": text[:4] + "\u8d70"}], [one])["bleu"]
    assert 30 < close < 100  # one word to 13a: 0


def test_dialogues_are_read_from_their_own_files(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for name, sample in zip(("001", "002"), task_of("sgd").samples[:2], strict=True):
        (folder / f"dialogues_{name}.json").write_text(json.dumps([sample]))
    options = sources.DataOptions(dir=str(tmp_path))
    found = sources.open_split(task_of("sgd").source, "train", options)
    assert [record["dialogue_id"] for record in found] == ["1_00000", "1_00001"]
