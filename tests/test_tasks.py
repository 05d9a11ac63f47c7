"""Every task maps its samples to examples, and reads its files as they are."""

import collections
import importlib
import json
import pathlib
import pkgutil

import numpy as np
import pytest

from lmtasks import tasks
from lmtasks.cli import tasks as verb
from lmtasks.data import chat as rendering
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.metrics import inputs

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "data"
NAMES = [m.name for m in pkgutil.iter_modules(tasks.__path__) if m.name != "base"]
MADE = [name for name in NAMES if name.startswith("toy_")] + [
    "pydocs",
    "python_docs",
    "python_functions",
]
GENERIC = [
    "chat", "choice", "classification", "extractive_qa", "pairs", "seq2seq", "tagging",
    "text", "relations", "retrieval_pairs", "translation",
    "extraction", "extractive_summary",
]  # fmt: skip
# Not among the local data sets: TFDS, or files of the published form.
ELSEWHERE = [
    "arc_challenge", "arc_easy", "boolq", "cnn_dailymail", "cola", "commonsense_qa",
    "conll2003", "copa", "dialogsum", "dolly", "hellaswag", "humaneval", "imdb", "mmlu",
    "mnli", "mrpc", "oasst", "openbookqa", "opus", "piqa", "qnli", "qqp", "race",
    "samsum", "snli", "squad", "squad_v2", "stsb", "svamp", "winogrande", "wmt14_de_en",
    "wnli", "xsum",
]  # fmt: skip
# Task -> (folder, records of the training split).
LOCAL = {
    "adversarial_qa": ("extractive_qa/adversarial_qa", 484),
    "aeslc": ("summarization/aeslc", 14436),
    "ag_news": ("text_classification/ag_news", 5600),
    "btc": ("ner/btc", 4138),
    "alpaca": ("instruction/alpaca_gpt4", 799),
    "lima": ("instruction/lima", 829),
    "self_instruct": ("instruction", 175),
    "t0_mixture": ("instruction/t0_mixture", 2971),
    "sgd": ("dialogue/sgd", 2175),
    "sgd_slots": ("dialogue/sgd", 20304),
    "scitldr_sentences": ("summarization/scitldr_a", 1992),
    "scitldr": ("summarization/scitldr_a", 1992),
    "nq_open": ("generative_qa/nq_open", 2610),
    "context_qa": ("generative_qa/context_qa", 960),
    "mbpp": ("code/mbpp", 374),
    "asdiv": ("math/asdiv_a", 979),
    "squad_gen": ("extractive_qa/xquad_en", 829),
    "sick_relatedness": ("nli/sick", 4500),
    "sts": ("sts/semeval", 9092),
    "sts_pairs": ("sts/semeval", 9092),
    "subjqa": ("extractive_qa/subjqa", 4830),
    "ud_pos": ("pos/ud_english_ewt", 12544),
    "banking77": ("text_classification/banking77", 9003),
    "c4": ("lm/c4_en_sample", 1000),
    "chat": ("instruction/lima", 829),
    "gsm8k": ("math/gsm8k", 6973),
    "multi30k": ("translation/multi30k", 29000),
    "rte": ("nli/rte", 1767),
    "sick": ("nli/sick", 4500),
    "sst2": ("sentiment/sst2", 6920),
    "tiny_shakespeare": ("lm/tinyshakespeare", 1),
    "ud_ewt": ("pos/ud_english_ewt", 12544),
    "webquestions": ("generative_qa/webquestions", 2834),
    "wikitext2": ("lm/wikitext2", 54),
    "wikitext_mlm": ("lm/wikitext2", 54),
    "wnut17": ("ner/wnut17", 3394),
    "xquad": ("extractive_qa/xquad_en", 829),
}


def module_of(name):
    """Return the module of a task."""
    return importlib.import_module(f"lmtasks.tasks.{name}")


def check_example(task, example):
    """Assert that an example is what the task says and can be trained on."""
    assert isinstance(example, task.kind)
    assert inputs.has_gold(example)
    if isinstance(example, examples.Labelled) and task.labels:
        named = example.label if isinstance(example.label, tuple) else (example.label,)
        assert set(named) <= set(task.labels)
    if isinstance(example, examples.Tagged):
        assert len(example.words) == len(example.tags)
        assert not task.labels or set(example.tags) <= set(task.labels)
    if isinstance(example, examples.Span):
        for text, start in example.answers:
            assert example.context[start : start + len(text)] == text
    if isinstance(example, examples.Choice):
        assert 0 <= example.answer < len(example.options)
    code = ("tests", "opening")  # of turns that are run
    texts = {k: v for k, v in vars(example).items() if isinstance(v, str)}
    assert all(text for key, text in texts.items() if key not in code)


def perfect(example):
    """Return the prediction that is right for an example."""
    if isinstance(example, examples.Labelled):
        return {"label": example.label, "scores": {example.label: 1.0}}
    if isinstance(example, examples.Tagged):
        return {"tags": list(example.tags)}
    if isinstance(example, examples.Choice):
        return {"choice": example.answer}
    if isinstance(example, examples.Pair):
        rng = np.random.default_rng(list(example.second.encode()))
        vector = rng.normal(size=8).tolist()  # another direction for each
        return {"vector": vector, "other": vector, "similarity": example.score or 1.0}
    return {"text": (*inputs.gold_texts(example), "")[0]}


def test_the_lists_of_this_file_cover_all_tasks():
    assert set(NAMES) == {*MADE, *GENERIC, *ELSEWHERE, *LOCAL}


@pytest.mark.parametrize("name", NAMES)
def test_samples_become_examples_of_the_kind(name):
    module = module_of(name)
    assert 3 <= len(module.TASK.samples) <= 6
    for sample in module.TASK.samples:
        check_example(module.TASK, module.TASK.example(sample))


@pytest.mark.parametrize("name", NAMES)
def test_a_task_says_what_it_is_in_one_sentence(name):
    first = module_of(name).__doc__.splitlines()[0]
    assert first.endswith((".", "?", ")"))
    assert not verb._about(module_of(name)).endswith("..")


@pytest.mark.parametrize("name", NAMES)
def test_samples_fill_the_prompt(name):
    task = module_of(name).TASK
    assert task.prompt or task.kind is examples.Turns
    for sample in task.samples:
        example = task.example(sample)
        text = rendering.prompt_text(example, task.prompt)
        assert bool(text) == bool(task.prompt)
        if task.prompt and task.kind is examples.Turns:
            assert rendering.as_turns(example, task.prompt) == example
        for other in task.prompts.values():
            assert rendering.prompt_text(example, other) not in ("", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_predictions_have_the_best_scores(name):
    task = module_of(name).TASK
    gold = [task.example(sample) for sample in task.samples]
    # Where there is nothing wrong, or lower is better.
    lowest = {"unparsed", "ter", "ece", "brier", "missed", "mse", "mae"}
    for metric in task.metrics:
        values = metric([perfect(example) for example in gold], gold)
        assert values or task.kind is examples.Pair  # pairs without scores
        values.pop("candidates", None)  # how many there are
        assert values.pop("meteor", 1.0) > 0.9  # of n words in one piece 1 - .5 / n^3
        for key, value in values.items():
            best = (0.0,) if key in lowest else (1.0, 100.0)
            assert value == pytest.approx(best[0]) or value == pytest.approx(best[-1])


@pytest.mark.parametrize(
    "name", [n for n in NAMES if module_of(n).TASK.kind is examples.Labelled]
)
def test_samples_show_every_label_about_as_often(name):
    task = module_of(name).TASK
    counts = collections.Counter(task.example(s).label for s in task.samples)
    assert len(counts) >= 2
    assert set(task.labels) <= set(counts)
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("name", MADE)
def test_what_a_task_makes_has_the_form_of_its_samples(name):
    task = module_of(name).TASK
    keys = set(task.samples[0])
    for split in sources.SPLITS:
        records = sources.open_split(task.source, split)
        for i in range(min(20, len(records))):
            assert set(records[i]) == keys
            check_example(task, task.example(records[i]))


@pytest.mark.parametrize("name", LOCAL)
def test_local_files_are_read_as_they_are(name):
    folder, count = LOCAL[name]
    if not (SHARED / folder).is_dir():
        pytest.skip("the shared data sets are not here")
    task = module_of(name).TASK
    skip = "skip" if name == "subjqa" else "raise"  # answers that are not there
    options = sources.DataOptions(dir=str(SHARED / folder), on_error=skip)
    there = [s for s in sources.SPLITS if sources.has_split(task.source, s, options)]
    assert "train" in there
    for split in there:
        records = sources.open_split(task.source, split, options)
        assert len(records) == count or split != "train"
        for i in range(min(20, len(records))):
            check_example(task, task.example(records[i]))


@pytest.mark.parametrize("name", GENERIC)
def test_a_generic_task_without_data_says_which_keys_to_set(name):
    with pytest.raises(ValueError, match=r"config\.data\.dir .* config\.data\.files"):
        sources.open_split(module_of(name).TASK.source, "train")


@pytest.mark.parametrize("name", GENERIC)
def test_a_generic_task_reads_its_samples_from_a_file(name, tmp_path):
    task = module_of(name).TASK
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, task.samples)))
    records = sources.open_split(
        task.source, "train", sources.DataOptions(dir=str(tmp_path))
    )
    found = [task.example(record) for record in records]
    assert found == [task.example(sample) for sample in task.samples]
