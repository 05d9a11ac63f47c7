"""Mixtures of tasks: their rates, their order, and what each scores."""

import collections
import json

import numpy as np
import pytest
import runs
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from test_builder import config
from test_builder import refused

from lmtasks import api
from lmtasks import builder
from lmtasks import mixing
from lmtasks.data import examples
from lmtasks.data import mixture
from lmtasks.training import evaluate
from lmtasks.training import feed


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, (0.9, 0.1)),
        ({"temperature": 2.0}, (0.75, 0.25)),
        ({"limit": 300}, (0.75, 0.25)),
        ({"given": (1, 3)}, (0.25, 0.75)),
    ],
)
def test_rates_are_by_size_tempered_limited_or_given(options, rates):
    assert mixture.rates_of((900, 100), **options) == pytest.approx(rates)


@pytest.mark.parametrize(
    "options", ({"given": (1,)}, {"given": (1, 0)}, {"temperature": 0.5}, {"limit": -1})
)
def test_rates_that_cannot_be(options):
    with pytest.raises(ValueError, match="mix\\."):
        mixture.rates_of((900, 100), **options)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=5),
    st.integers(0, 2**31),
    st.data(),
)
def test_a_cycle_holds_each_set_by_its_rate_and_each_row_in_turn(sizes, seed, data):
    shares = data.draw(
        st.lists(st.floats(0.01, 1), min_size=len(sizes), max_size=len(sizes))
    )
    rates = mixture.rates_of(sizes, given=shares)
    mixed = mixture.Mixed(tuple(sizes), rates, seed)
    counts = collections.Counter(mixed.part(p)[0] for p in range(mixture.CYCLE))
    for number, rate in enumerate(rates):
        assert abs(counts[number] - rate * mixture.CYCLE) <= 1 + len(sizes)
    begins = np.cumsum([0, *sizes])
    seen: collections.Counter = collections.Counter()
    drawn: collections.Counter = collections.Counter()
    for position in range(200):
        epoch, row = mixed.place(position)
        number = mixed.part(position)[0]
        assert begins[number] <= row < begins[number + 1]
        assert epoch == drawn[number] // sizes[number]
        drawn[number] += 1
        seen[epoch, row] += 1
    assert max(seen.values()) == 1  # a row comes once an epoch


def test_epochs_are_counted_and_the_order_goes_on():
    mixed = mixture.Mixed((10, 30), (0.25, 0.75), 3)
    assert mixed.epochs(400) == [10.0, 10.0]
    first, second = mixed.part(mixture.CYCLE - 1), mixed.part(mixture.CYCLE)
    counts = collections.Counter(mixed.part(p)[0] for p in range(mixture.CYCLE))
    assert second[1] == counts[second[0]]
    assert first[1] < mixture.CYCLE
    assert mixed.place(25_000) == mixture.Mixed((10, 30), (0.25, 0.75), 3).place(25_000)


TASKS = ("toy_turns", "toy_sums", "toy_labelled")


def mixed(**changes):
    """Return the config of a mixture of toy tasks."""
    tasks = changes.pop("tasks", TASKS)
    given = {"task": "mixture", "architecture": "decoder", "tokenizer__kind": "word"}
    return config(**(given | {"mix__tasks": repr(tuple(tasks))} | changes))


@pytest.mark.parametrize("packing", (True, False))
@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_batches_hold_rows_of_one_task_each_at_their_rates(architecture, packing):
    run = builder.build(
        mixed(
            architecture=architecture, data__packing=packing, train__steps=100,
            mix__rates="(1, 2, 1)",
        )
    )  # fmt: skip
    found = feed.read(run)
    steps = 40
    parts = collections.Counter()
    for step in range(steps):
        batch = found.train.batch(step)
        assert batch["tokens"].shape[0] == run.config.train.batch_size
        for epoch, row in found.train.places(step):
            held = {number for number, _ in found.train.rows.examples(epoch, row)}
            assert len(held) == 1
            parts.update(held)
    total = steps * run.config.train.batch_size
    assert abs(parts[1] / total - 0.5) < 0.05
    lines = found.summary.splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == list(TASKS)
    assert "rate 0.5000" in lines[2] and "epochs" in lines[2]


def test_plain_texts_are_mixed_as_streams(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [{"text": f"{name} document {i} of some words"} for i in range(40)]
        runs.write_jsonl(tmp_path / name / "train.jsonl", rows)
    dirs = (str(tmp_path / "a"), str(tmp_path / "b"))
    run = builder.build(
        mixed(tasks=("text", "text"), mix__dirs=repr(dirs), tokenizer__kind="byte")
    )
    found = feed.read(run)
    assert run.task.kind is examples.Text and run.config.objective == "clm"
    texts = {run.tokenizer.decode(row)[0] for row in found.train.batch(0)["tokens"]}
    assert found.train.batch(0)["segments"].max() > 1 and texts


def test_a_mixture_trains_resumes_and_scores_each_task_alone(tmp_path, capsys):
    flags = [
        *runs.settings(tokenizer__kind="word", data__limit=60, eval__limit=6),
        "--config.task=mixture", f"--config.mix.tasks={TASKS!r}",
    ]  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train = ("train", "--config=own:chat", *flags)
    runs.good(capsys, *train, f"--workdir={whole}")
    stop = [*train, f"--workdir={parts}", "--config.train.steps=4"]
    runs.good(capsys, *stop)
    assert runs.sha(whole) == runs.sha(parts)
    runs.good(capsys, "eval", f"--workdir={whole}", "--split=test")
    row = json.loads((whole / "eval.jsonl").read_text())
    assert {"toy_turns/exact_match", "toy_sums/answer_accuracy"} <= row.keys()
    assert "toy_labelled/accuracy" in row
    said = (whole / "predictions-test.jsonl").read_text().splitlines()
    assert len(said) == 6 * len(TASKS)
    assert json.loads(said[-1]).keys() >= {"label", "text"}
    assert "answer" in json.loads(said[6])


def test_one_task_twice_is_scored_twice_and_a_prompt_of_nobodys_is_answered(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [{"source": f"{name} {i}", "target": f"{i}"} for i in range(6)]
        for split in ("train", "validation"):
            runs.write_jsonl(tmp_path / name / f"{split}.jsonl", rows)
    dirs = repr((str(tmp_path / "a"), str(tmp_path / "b")))
    loaded = runs.untrained(
        "mixture", "decoder", mix__tasks="('seq2seq', 'seq2seq')", mix__dirs=dirs
    )
    assert [part.name for part in loaded.run.parts] == ["seq2seq", "seq2seq_2"]
    metrics, said = api.evaluate(loaded, "validation")
    assert {"seq2seq/bleu", "seq2seq_2/bleu"} <= metrics.keys() and len(said) == 12
    asked = api.read_input(loaded.run.task.kind, loaded.run.task, {"prompt": "a 1"})
    assert api.predict(loaded, [asked])[0].keys() == {"text"}


def test_every_task_has_a_loss_of_its_own(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [{"source": f"{name} {i}", "target": name * (i + 2)} for i in range(5)]
        for split in ("train", "validation"):
            runs.write_jsonl(tmp_path / name / f"{split}.jsonl", rows)

    def measured(*names):
        dirs = repr(tuple(str(tmp_path / name) for name in names))
        loaded = runs.untrained(
            "mixture", "decoder", mix__tasks="('seq2seq', 'seq2seq')", mix__dirs=dirs,
            tokenizer__kind="byte", eval__batch_size=4,
        )  # fmt: skip
        split = evaluate.read_split(loaded.run, "validation", predict=False)
        return api.evaluate(loaded, "validation")[0], split.pieces.weighted

    both, weighted = measured("a", "b")
    twice, _ = measured("a", "a")
    one, two = both["seq2seq/loss"], both["seq2seq_2/loss"]
    assert one == twice["seq2seq/loss"] == twice["seq2seq_2/loss"] and one != two
    np.testing.assert_allclose(twice["loss"], one, rtol=1e-6)
    shares = weighted[:5].sum(), weighted[5:].sum()
    np.testing.assert_allclose(both["loss"], np.average([one, two], weights=shares))
    np.testing.assert_allclose(both["seq2seq/perplexity"], np.exp(one), rtol=1e-6)
    assert "seq2seq/token_accuracy" in both and "seq2seq/accuracy" not in both


def test_malformed_records_of_every_task_are_counted(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [{"source": f"{name} {i}", "target": f"{i}"} for i in range(30)]
        for split in ("train", "validation"):
            wrong = [{"source": "no target"}] * (split == "validation")
            runs.write_jsonl(tmp_path / name / f"{split}.jsonl", rows + wrong)
    dirs = repr((str(tmp_path / "a"), str(tmp_path / "b")))
    loaded = runs.untrained(
        "mixture", "decoder", mix__tasks="('seq2seq', 'seq2seq')", mix__dirs=dirs,
        data__on_error="skip",
    )  # fmt: skip
    split = evaluate.read_split(loaded.run, "validation", predict=False)
    assert "2 malformed records skipped" in split.pieces.summary("validation")


def test_scores_are_those_of_each_tasks_own_metrics():
    run = builder.build(mixed())
    parts = run.parts
    gold = [
        mixing.turned(parts, n, part.task.samples[0]) for n, part in enumerate(parts)
    ]
    said = [one.turns[-1].text for one in gold]
    right = [
        run.task.parse(text, one, ()) for text, one in zip(said, gold, strict=True)
    ]
    found = run.task.metrics[0](right, gold)
    assert found["toy_turns/exact_match"] == found["toy_labelled/accuracy"] == 1
    wrong = [*right[:2], run.task.parse("nonsense", gold[2], ())]
    found = run.task.metrics[0](wrong, gold)
    assert found["toy_sums/answer_accuracy"] == 1
    assert found["toy_labelled/accuracy"] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "mixture"}, "names its tasks in mix.tasks"),
        ({"mix__tasks": "('toy_turns',)"}, "a mixture has task='mixture'"),
        ({"task": "mixture", "mix__tasks": "('toy_turns',)"}, "two tasks or more"),
        (
            {"task": "mixture", "mix__tasks": "('toy_turns', 'toy_text')"},
            "toy_text is plain text",
        ),
        (
            {"task": "mixture", "mix__tasks": "('toy_turns', 'tagging')"},
            "tagging finds its tags",
        ),
        ({"task": "mixture", "mix__tasks": "('toy_turns', 'nope')"}, "'nope' is none"),
        (
            {"task": "mixture", "mix__tasks": repr(TASKS), "mix__dirs": "('a',)"},
            "a folder for each of the 3",
        ),
        (
            {"task": "mixture", "mix__tasks": repr(TASKS), "data__format": "csv"},
            "data.format is for one task",
        ),
        (
            {"task": "mixture", "mix__tasks": repr(TASKS), "prompt__text": "{text}"},
            "prompt.text is for one task",
        ),
        (
            {
                "task": "mixture",
                "mix__tasks": repr(TASKS),
                "mix__rates": "(1, 1, 1)",
                "mix__temperature": 2.0,
            },
            "are fixed; leave mix.temperature",
        ),
        ({"mix__temperature": 2.0}, "mix.temperature does nothing without mix.tasks"),
        (
            {"task": "mixture", "mix__tasks": "('toy_turns', 'classification')"},
            "classification finds its labels",
        ),
    ],
)
def test_mixtures_that_cannot_be(changes, said):
    assert said in refused(**({"architecture": "decoder"} | changes))
