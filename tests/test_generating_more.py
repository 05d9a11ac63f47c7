"""Slots, functions, small programs, sums: what the tasks read and how they are scored."""

import ast
import collections
import json

import numpy as np
import pytest
import runs

from lmtasks import api
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import functions
from lmtasks.data import sources
from lmtasks.data import toy_code
from lmtasks.data import toy_sums
from lmtasks.decode import automaton
from lmtasks.metrics import answers
from lmtasks.metrics import code
from lmtasks.metrics import diversity
from lmtasks.metrics import generation
from lmtasks.metrics import json_records
from lmtasks.metrics import programs
from lmtasks.tasks import arc_easy
from lmtasks.tasks import extraction
from lmtasks.tasks import gsm8k
from lmtasks.tasks import sgd_slots
from lmtasks.tasks import toy_code as toy_code_task
from lmtasks.tasks import toy_steps
from lmtasks.tasks import toy_sums as toy_sums_task
from lmtasks.training import evaluate


def gold(text):
    """Return Turns whose right reply is the text."""
    return examples.Turns(
        (examples.Turn("user", "x"), examples.Turn("assistant", text))
    )


# Information extraction.


def test_slots_are_counted_over_all_records():
    golds = [
        gold('{"city": ["San Jose", "Rome"], "day": ["Friday"]}'),
        gold('{"city": ["Oslo"]}'),
        gold("{}"),
        gold("{}"),
    ]
    said = [
        {"text": '{"city": ["rome", "the San Jose"], "day": ["Monday"]}'},
        {"text": '{"city": ["Oslo"'},
        {"text": "{}"},
        {"text": '{"city": ["Bonn"]}'},
    ]
    assert json_records.scores(said, golds) == {
        "slot_precision": 2 / 4,
        "slot_recall": 2 / 4,
        "slot_f1": 2 / 4,
        "exact_record": 1 / 4,
        "valid_json": 3 / 4,
    }


def test_slot_scores_agree_with_counting_by_hand():
    rng = np.random.default_rng(0)
    keys, values = ("a", "b", "c"), ("x", "y", "z w")
    pick = lambda options: options[rng.integers(len(options))]
    for _ in range(200):
        pairs = [
            [
                {pick(keys): [pick(values) for _ in range(rng.integers(1, 3))]}
                for _ in range(4)
            ]
            for _ in range(2)
        ]
        found = json_records.scores(
            [{"text": json.dumps(one)} for one in pairs[0]],
            [gold(json.dumps(one)) for one in pairs[1]],
        )
        right = sizes = 0
        for one, other in zip(*pairs, strict=True):
            flat = [
                [(k, v) for k, vs in record.items() for v in vs]
                for record in (one, other)
            ]
            sizes += len(flat[0]) + len(flat[1])
            for pair in flat[0]:
                if pair in flat[1]:
                    flat[1].remove(pair)
                    right += 1
        assert found["slot_f1"] == pytest.approx(2 * right / sizes)


def test_what_a_user_says_becomes_slots_in_order(tmp_path):
    turn = {
        "speaker": "USER",
        "utterance": "Thai in Oslo or Bergen",
        "frames": [
            {
                "slots": [
                    {"slot": "cuisine", "start": 0, "exclusive_end": 4},
                    {"slot": "city", "start": 8, "exclusive_end": 12},
                    {"slot": "city", "start": 16, "exclusive_end": 22},
                ]
            }
        ],
    }
    other = {"speaker": "SYSTEM", "utterance": "Oslo?", "frames": [{"slots": []}]}
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "dialogues_001.json").write_text(json.dumps([{"turns": [turn, other]}]))
    options = sources.DataOptions(dir=str(tmp_path))
    found = sources.open_split(sgd_slots.TASK.source, "train", options)
    wanted = {"city": ["Oslo", "Bergen"], "cuisine": ["Thai"]}
    assert [found[i] for i in range(len(found))] == [
        {"text": "Thai in Oslo or Bergen", "record": wanted}
    ]
    reply = sgd_slots.TASK.example(found[0]).turns[1].text
    assert json.loads(reply) == wanted


def test_right_records_are_what_the_schema_admits():
    tokenizer = tokenizers.train("byte", ())
    pieces = automaton.pieces_of(tokenizer, tokenizer.size)
    machine = automaton.json_schema(sgd_slots.SCHEMA, pieces, (tokenizer.eos_id,))
    table = np.asarray(machine.next)
    for sample in sgd_slots.TASK.samples:
        state = 0
        text = sgd_slots.TASK.example(sample).turns[1].text
        for id in [*tokenizer.encode(text), tokenizer.eos_id]:
            assert table[state, id] >= 0
            state = table[state, id]


def test_an_untrained_model_writes_records_that_parse():
    schema = (
        '{"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}'
    )
    loaded = runs.untrained(
        "extraction", "decoder", decode__json_schema=schema, decode__max_tokens=24
    )
    example = extraction.TASK.example(extraction.TASK.samples[0])
    said = api.predict(loaded, [example] * 2)
    assert json_records.scores(said, [example] * 2)["valid_json"] == 1


def test_a_record_that_is_no_object_is_refused():
    with pytest.raises(ValueError, match="no JSON object"):
        extraction.example({"text": "a", "record": ["b"]})


# Code.


def test_functions_are_split_by_module_and_are_python():
    found = {
        split: functions.records(split, 0) for split in ("train", "validation", "test")
    }
    modules = {
        split: {one["name"].rpartition(".")[0] for one in rows}
        for split, rows in found.items()
    }
    assert not modules["train"] & (modules["validation"] | modules["test"])
    assert len(found["train"]) > 500 and len(found["test"]) > 20
    for row in found["validation"]:
        tree = ast.parse(row["code"])
        assert ast.get_docstring(tree.body[0]) is None
        assert row["code"] == f"{row['head']}\n{row['body']}" and row["doc"]


def test_small_programs_compute_the_same_in_both_languages():
    data = toy_code.toy_code("train", 0)
    kinds = collections.Counter()
    for i in range(200):
        row = data[i]
        texts = {
            row["source_language"]: row["source"],
            row["target_language"]: row["target"],
        }
        for language, text in texts.items():
            values = [programs.run(text, language, *one) for one in programs.INPUTS]
            assert values == row["results"]
        names: dict = {}
        exec(texts[programs.PYTHON], names)  # noqa: S102 - the generator's own program
        assert [names["f"](*one) for one in programs.INPUTS] == row["results"]
        kinds.update(word for word in ("if", "else", "while") if word in row["source"])
    assert min(kinds[word] for word in ("if", "else", "while")) > 20


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("def f(a, b):\n    while 1 > 0:\n        a = a + 1\n    return a", "Python"),
        ("def f(a, b):\n    return c", "Python"),
        ("def f(a, b):\n    return __import__('os')", "Python"),
        ("def f(a):\n    return a", "Python"),
        ("import os", "Python"),
        (
            "def f(a, b):\n    c = 9\n    while c > 0:\n        c = c * c\n    return c",
            "Python",
        ),
        ("def f(a, b):\n    a = a + 1", "Python"),
        ("", "Python"),
        ("function f(a, b) {\n    return a;", "JavaScript"),
        ("function f(a, b) {\n    alert(a);\n}", "JavaScript"),
        ("def f(a, b):\n    return a", "JavaScript"),
    ],
)
def test_what_is_no_such_program_computes_nothing(text, language):
    assert programs.run(text, language, 1, 2) is None


def test_programs_are_scored_by_their_results():
    example = toy_code_task.TASK.example(toy_code_task.TASK.samples[1])
    other = (
        "def f(a, b):\n    if a < b:\n        return b - a + 1\n    return a - b + 1"
    )
    wrong = "def f(a, b):\n    return a - b + 1"
    said = [{"text": other}, {"text": wrong}, {"text": ""}]
    assert code.equal_results(said, [example] * 3) == {"equal_results": 1 / 3}


# Reasoning.


def test_the_steps_of_a_sum_are_true_and_end_in_the_answer():
    data = toy_sums.toy_sums("train", 0)
    for i in range(200):
        row = data[i]
        steps = [step.strip() for step in row["steps"].split(" .") if step.strip()]
        for step in steps:
            left, right = step.split(" = ")
            assert eval(left) == int(right) >= 0
        assert steps[-1].endswith(f"= {row['answer']}")
        assert 2 <= len(steps) <= toy_sums.MOST_CHANGES
        for task in (toy_steps.TASK, toy_sums_task.TASK):
            said = task.example(row).turns[-1].text
            assert answers.extract(said) == row["answer"]


def test_votes_are_over_answers_and_told():
    loaded = runs.untrained(
        "gsm8k", "decoder", decode__texts=5, decode__choose="vote",
        decode__temperature=1.0,
    )  # fmt: skip
    evaluator = evaluate.Evaluator(loaded.run, loaded.mesh)
    texts = ["5 - 2 = 3. The answer is 3.", "I think 4", "so 3", "no idea", "3.0"]
    said = {"text": texts[0], "texts": texts, "scores": [0.1, 0.9, 0.5, 2.0, 0.3]}
    example = gsm8k.TASK.example(gsm8k.TASK.samples[0])
    found = evaluator.parsed(said, example)
    assert found["votes"] == {"3": 3, "4": 1}
    assert found["answer"] == "3" and found["text"] == "so 3"
    assert found["texts"] == texts


def test_the_first_of_the_options_has_its_votes():
    loaded = runs.untrained(
        "arc_easy", "decoder", objective="generate", decode__texts=3,
        decode__choose="vote", decode__temperature=1.0, prompt__text="letters",
    )  # fmt: skip
    evaluator = evaluate.Evaluator(loaded.run, loaded.mesh)
    example = loaded.run.task.example(arc_easy.TASK.samples[0])
    said = {"text": "B", "texts": ["A", "A", "B"], "scores": [0.1, 0.2, 0.9]}
    found = evaluator.parsed(said, example)
    assert found["choice"] == 0 and found["votes"] == {"0": 2, "1": 1}


def test_an_answer_in_a_box_is_found_in_any_sentence():
    said = {
        r"so the answer is $\boxed{18}$.": "18",
        r"\boxed{\frac{1}{2}}": "1/2",
        r"\boxed{-3/4} and \boxed{x^{2}}": "x^{2}",
        r"\boxed{7": "7",
    }
    assert {text: answers.extract(text) for text in said} == said
    assert answers.plain("$1,000.00") == answers.plain("1000") == "1000"
    assert answers.plain("") == ""


# Intervals and variety.


def test_rouge_intervals_hold_the_mean_and_are_the_same_every_time():
    golds = [gold(f"the cat {i} sat") for i in range(40)]
    said = [{"text": f"the cat {i} ran off" if i % 2 else "a dog"} for i in range(40)]
    mean = generation.rouge(said, golds)
    found = generation.rouge_interval(said, golds)
    assert found == generation.rouge_interval(said, golds)
    for name, value in mean.items():
        assert found[f"{name}_low"] < value < found[f"{name}_high"]
    # The standard error of the mean, twice in each direction.
    each = [
        generation.rouge([a], [b])["rouge1"] for a, b in zip(said, golds, strict=True)
    ]
    width = 2 * 1.96 * np.std(each) / len(each) ** 0.5
    assert found["rouge1_high"] - found["rouge1_low"] == pytest.approx(width, rel=0.1)


def test_variety_is_over_all_texts():
    said = [{"text": "a b a b"}, {"text": "a b c d e"}]
    found = diversity.diversity(said, [gold("x")] * 2)
    assert found == {"distinct1": 5 / 9, "distinct2": 5 / 7, "repetition4": 0.0}
