"""Prompts by name and by text, and solved examples before them."""

import dataclasses

import pytest
import runs
from test_builder import config
from test_builder import refused

from lmtasks import api
from lmtasks import builder
from lmtasks import shots
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.tasks import gsm8k
from lmtasks.tasks import mbpp
from lmtasks.tasks import mmlu
from lmtasks.tasks import multi30k
from lmtasks.tasks import sst2
from lmtasks.tasks import translation
from lmtasks.tasks import wnut17
from lmtasks.tasks import xsum

QUESTIONS = [
    {"question": f"What is {n} + {n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"}
    for n in range(1, 9)
]


def test_three_shots_are_these_bytes():
    task = shots.with_shots(gsm8k.TASK, QUESTIONS, 3, seed=0)
    example = gsm8k.TASK.example({"question": "What is {x}?", "answer": "#### 1"})
    asked = chat.as_turns(example, task.prompt).turns[0].text
    assert asked == (
        "Question: What is 3 + 3? Answer: 3+3=6\nThe answer is 6.\n\n"
        "Question: What is 5 + 5? Answer: 5+5=10\nThe answer is 10.\n\n"
        "Question: What is 4 + 4? Answer: 4+4=8\nThe answer is 8.\n\n"
        "Question: What is {x}? Answer:"
    )


def test_the_seed_says_which_and_nothing_else_does():
    prompts = {
        seed: shots.with_shots(gsm8k.TASK, QUESTIONS, 2, seed).prompt
        for seed in range(5)
    }
    assert len(set(prompts.values())) > 2
    assert prompts[3] == shots.with_shots(gsm8k.TASK, QUESTIONS, 2, 3).prompt
    longer = shots.with_shots(gsm8k.TASK, QUESTIONS, 4, 3).prompt
    assert longer.startswith(prompts[3].removesuffix(gsm8k.TASK.prompt))


@pytest.mark.parametrize("module", (sst2, mmlu, wnut17, translation))
def test_every_kind_of_example_can_be_a_shot(module):
    task = module.TASK
    if not task.labels and task.kind is examples.Tagged:
        task = dataclasses.replace(task, labels=("B-person", "I-person", "O"))
    first = task.example(task.samples[0])
    text = shots.shot(first, task)
    turns = chat.as_turns(first, task.prompt, task.labels).turns
    assert text == f"{turns[0].text} {turns[1].text}"
    found = shots.with_shots(task, list(task.samples), 1, 0).prompt
    assert found.endswith("\n\n" + task.prompt)


def test_records_without_an_answer_are_no_shots():
    rows = [{"sentence": f"text {i}", "label": -1} for i in range(5)]
    rows.append({"sentence": "a {fine} film", "label": 1})
    found = shots.with_shots(sst2.TASK, rows, 1, 0)
    filled = found.prompt.format(text="x", pair="")
    assert filled == "Review: a {fine} film Sentiment: positive\n\nReview: x Sentiment:"
    with pytest.raises(ValueError, match="2: the training split has 1 records"):
        shots.with_shots(sst2.TASK, rows, 2, 0)


def test_answers_with_empty_lines_are_set_apart_by_more():
    rows = [
        {
            "text": f"Add {i}.",
            "code": f"def f(x):\n\n    return x + {i}",
            "test_list": [],
        }
        for i in range(3)
    ]
    found = shots.with_shots(mbpp.TASK, rows, 2, 0)
    assert found.decode["stop"] == ("\n\n###\n\n",)
    assert found.prompt.count("\n\n###\n\n") == 2


def test_shots_come_from_the_training_split_and_stop_the_text(tmp_path):
    runs.write_jsonl(tmp_path / "train.jsonl", QUESTIONS)
    loaded = runs.untrained(
        "gsm8k", "decoder", data__dir=tmp_path, prompt__shots=2, data__length=400
    )
    run = loaded.run
    assert run.task.prompt.count("What is ") == 2
    assert run.decode.stop == ("\n\n",)
    example = run.task.example({"question": "What is 9 + 9?", "answer": "#### 18"})
    ids = run.objective.query(example, run.tokenizer)[0]["tokens"]
    text = run.tokenizer.decode(ids)
    assert text == chat.prompt_text(example, run.task.prompt)
    assert api.predict(loaded, [example])[0].keys() == {"text", "answer"}


def test_shots_are_before_label_words_too(tmp_path):
    rows = [{"sentence": f"film {i}", "label": i % 2} for i in range(6)]
    runs.write_jsonl(tmp_path / "train.jsonl", rows)
    loaded = runs.untrained(
        "classification", "decoder", data__dir=tmp_path, prompt__shots=2,
        data__fields__text="sentence",
    )  # fmt: skip
    said = api.predict(loaded, [examples.Labelled("film 9")])[0]
    assert set(said["scores"]) == {"0", "1"}
    assert loaded.run.task.prompt.count("Class:") == 3


def test_a_prompt_is_known_by_its_name():
    run = builder.build(config(
        task="gsm8k", architecture="decoder", prompt__text="letters",
        tokenizer__kind="byte",
    ))  # fmt: skip
    assert run.task.prompt == "Q: {question}\nA:"
    example = run.task.example(gsm8k.TASK.samples[1])
    row = run.objective.query(example, run.tokenizer)[0]
    text = run.tokenizer.decode(row["tokens"])
    assert text == "Q: A bus carries 40 people. How many buses carry 120?\nA:"


def test_the_fields_of_a_prompt_are_enough_to_ask():
    row = {"question": "What is 1 + 1?"}
    asked = api.read_input(examples.Turns, gsm8k.TASK, row)
    assert asked.turns == (examples.Turn("user", "Question: What is 1 + 1? Answer:"),)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt__shots": -1}, "prompt.shots=-1 must be at least 0"),
        ({"prompt__shots": 2}, "an encoder reads one example"),
        (
            {"prompt__shots": 2, "task": "toy_turns", "architecture": "decoder"},
            "prompt.shots=2 does nothing for task='toy_turns'",
        ),
        (
            {"prompt__text": "{answer}", "task": "gsm8k", "architecture": "decoder"},
            "has the fields {question}",
        ),
    ],
)
def test_shots_and_prompts_that_cannot_be(changes, said):
    assert said in refused(**changes)


def test_a_record_without_its_reply_asks_as_in_training():
    row = {"source": "A dog runs.", "source_language": "en", "target_language": "fr"}
    asked = api.read_input(examples.Turns, translation.TASK, row)
    trained = translation.TASK.example(row | {"target": "Un chien court."})
    assert asked.turns == trained.turns[:1]
    codes = translation.TASK.prompts["codes"]
    assert chat.as_turns(asked, codes).turns[0].text == "en_XX A dog runs. fr_XX"
    asked = api.read_input(examples.Turns, multi30k.TASK, {"source": "A dog."})
    assert asked.turns[0].text == "translate English to German: A dog."
    asked = api.read_input(examples.Turns, xsum.TASK, {"text": "It rained."})
    assert asked.turns[0].text.endswith("article: It rained. Summary:")
    with pytest.raises(ValueError, match="keys other is not understood"):
        api.read_input(examples.Turns, multi30k.TASK, {"other": "A dog."})


def test_languages_are_named_by_code_or_name():
    turns = translation.TASK.example(
        {"source": "a", "target": "b", "source_language": "French",
         "target_language": "Klingon"}
    )  # fmt: skip
    assert chat.prompt_text(turns, translation.TASK.prompts["codes"]) == (
        "fr_XX a Klingon"
    )


def test_translation_says_both_languages():
    sample = translation.TASK.samples[0]
    turns = translation.TASK.example(sample).turns
    assert turns[0].text == "translate French to English: Un chien court."
    prompts = translation.TASK.prompts
    example = translation.TASK.example(sample)
    assert chat.prompt_text(example, prompts["codes"]) == "fr_XX Un chien court. en_XX"
    with pytest.raises(ValueError, match="no target_language, and no file name"):
        translation.TASK.example(sample | {"target_language": ""})
