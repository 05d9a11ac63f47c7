"""Options, verdicts and zero-shot labels are those of lm-eval's rule and transformers.

The fixture is recorded by tests/choice_peer.py.
"""

import functools
import importlib
import json

import choice_peer as peer
import jax
import numpy as np
import pytest
import test_reference
from reference import values

from configs import base
from lmtasks import api
from lmtasks import builder
from lmtasks import tokenizers
from lmtasks import zero_shot
from lmtasks.data import examples
from lmtasks.data import pack
from lmtasks.metrics import choice as metrics
from lmtasks.objectives import base as objectives
from lmtasks.objectives import choice
from lmtasks.training import imports
from lmtasks.training import parallel

WANTED = json.loads(peer.FIXTURE.read_text())
# What sums in another order differ by.
NEAR = {"rel": 1e-4, "abs": 1e-5}


def asked():
    """Return (task, example) of each question."""
    out = []
    for name, sample, *_ in peer.QUESTIONS:
        task = importlib.import_module(f"lmtasks.tasks.{name}").TASK
        out.append((task, task.example(task.samples[sample])))
    return out


def predicted(model, params, made, tokenizer):
    """Return the answers of one batch of [(objective, example)]."""
    rows = [objective.query(example, tokenizer)[0] for objective, example in made]
    assert not any(row.pop("cut") for row in rows)
    most = max(int(row["weights"].sum()) for row in rows)
    width = max(len(row["tokens"]) for row in rows)
    batch = pack.stack(rows, width, 0, most)
    predict = jax.jit(functools.partial(made[0][0].predict, model))
    said = jax.device_get(predict(params, batch))
    return [
        objective.answer([{k: v[i] for k, v in said.items()}], example, tokenizer)
        for i, (objective, example) in enumerate(made)
    ]


@functools.cache
def decoded(name, folder):
    """Return our answers to all questions with a decoder."""
    values.write(folder, WANTED[name])
    _, model, params = test_reference.read(folder)
    made = [
        (choice.make(objectives.Setting("decoder", peer.SIZE, prompt=task.prompt)), one)
        for task, one in asked()
    ]
    return predicted(model, params, made, tokenizers.load(str(folder)))


@pytest.fixture(params=("gpt2", "llama"))
def decoder(request, tmp_path_factory):
    """(what transformers says, our answers) of a decoder."""
    folder = tmp_path_factory.getbasetemp() / f"choice-{request.param}"
    return WANTED[request.param]["answers"], decoded(request.param, folder)


def test_the_likelihood_of_each_option_is_that_of_the_harness(decoder):
    wanted, said = decoder
    for row, answer, question in zip(
        wanted["log_probs"], said, peer.QUESTIONS, strict=True
    ):
        assert answer["log_probs"] == pytest.approx(row, rel=1e-4), question[0]


def test_accuracy_is_acc_and_acc_norm_of_the_harness(decoder):
    wanted, said = decoder
    found = metrics.accuracy(said, [example for _, example in asked()])
    assert found["accuracy"] == wanted["acc"]
    assert found["acc_norm"] == wanted["acc_norm"]
    assert wanted["acc"] != wanted["acc_norm"]


def test_the_questions_are_what_the_tasks_make_of_their_samples():
    for (_, example), (_, _, _, options, gold) in zip(
        asked(), peer.QUESTIONS, strict=True
    ):
        assert example.answer == gold
        assert example.options == options or options == tuple("ABCDE")[: len(options)]


@functools.cache
def loaded_from(name, folder, task, labels=()):
    """Return the run of a task on an encoder checkpoint, every tensor taken from it."""
    c = base.finetune()
    c.task, c.architecture, c.data.length = task, "encoder", peer.SIZE
    c.init, c.data.labels = str(values.write(folder, WANTED[name])), labels
    run = builder.build(c)
    mesh, notes = parallel.make_mesh(run.parallel), []
    params = imports.params_of(run, mesh, jax.random.key(0), notes.append)
    assert not any("fresh" in note for note in notes), notes
    return api.Loaded(run, params, 0, mesh, None)


def nli(factory):
    """Return the run of the NLI checkpoint."""
    folder = factory.getbasetemp() / "choice-nli"
    return loaded_from("nli", folder, "pairs", peer.NLI)


def test_an_encoder_scores_options_as_transformers_multiple_choice(tmp_path):
    loaded = loaded_from("choice", tmp_path, "choice")
    said = api.predict(loaded, [examples.Choice(*pair) for pair in peer.PAIRS])
    for answer, logits in zip(said, WANTED["choice"]["answers"]["logits"], strict=True):
        wanted = np.exp(logits) / np.exp(logits).sum()
        assert answer["scores"] == pytest.approx(list(wanted), **NEAR)
        assert answer["choice"] == int(np.argmax(logits))


@pytest.mark.parametrize("several", (False, True))
@pytest.mark.parametrize("number", range(len(peer.TEMPLATES)))
def test_zero_shot_scores_are_those_of_the_pipeline(number, several, tmp_path_factory):
    loaded = nli(tmp_path_factory)
    said = zero_shot.classify(
        loaded,
        peer.TEXTS,
        peer.LABELS,
        template=peer.TEMPLATES[number],
        multi_label=several,
    )
    wanted = WANTED["nli"]["answers"]["scores"][number][several]
    for row, scores in zip(said, wanted, strict=True):
        assert row["scores"] == pytest.approx(scores, **NEAR)
        assert row["label"] == max(scores, key=scores.get)
        assert row["score"] == row["scores"][row["label"]]


def test_one_label_alone_is_held_against_its_contradiction(tmp_path_factory):
    loaded = nli(tmp_path_factory)
    said = zero_shot.classify(loaded, peer.TEXTS, peer.LABELS[:1])
    wanted = WANTED["nli"]["answers"]["scores"][0][True]
    for row, scores in zip(said, wanted, strict=True):
        assert row["score"] == pytest.approx(scores[peer.LABELS[0]], **NEAR)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", peer.CASES)
def test_the_fixture_is_what_transformers_says(name, tmp_path):
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    found = peer.answers(name, values.write(tmp_path, WANTED[name]))
    wanted = WANTED[name]["answers"]
    flat, also = jax.tree.flatten(found), jax.tree.flatten(wanted)
    assert flat[1] == also[1]
    np.testing.assert_allclose(flat[0], also[0], rtol=1e-4, atol=1e-5)
