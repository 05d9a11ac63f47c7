"""`import lmtasks`: build, train, load, predict, generate, score on every architecture."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs

import lmtasks
from configs import base
from lmtasks import builder
from lmtasks.data import examples
from lmtasks.training import files

# (task, architecture): every way a model answers.
CELLS = [
    ("toy_labelled", "encoder"),
    ("toy_labelled", "decoder"),
    ("toy_labelled", "encoder_decoder"),
    ("toy_turns", "decoder"),
    ("toy_turns", "encoder_decoder"),
    ("toy_text", "decoder"),
]
WRITERS = [cell for cell in CELLS if cell[1] != "encoder"]
TEXT = "the cat stands behind the oak . is the oak in front ?"


def config_of(task, architecture):
    """Return a config of two steps on a toy task."""
    c = base.tiny(base.finetune())
    c.task, c.architecture = task, architecture
    c.tokenizer.kind, c.tokenizer.size = "word", 200
    c.data.limit, c.eval.limit = 32, 8
    c.train.steps = c.eval.every = c.checkpoint.every = 2
    c.train.batch_size = c.eval.batch_size = 8
    c.decode.max_tokens = 5
    return c


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(task, architecture) -> a trained run, loaded; each is trained once."""
    done = {}

    def get(cell):
        if cell not in done:
            folder = str(tmp_path_factory.mktemp("api") / "-".join(cell))
            lmtasks.train(config_of(*cell), folder)
            done[cell] = lmtasks.load(folder)
        return done[cell]

    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        yield get


def asked(cell):
    """Return examples without their answers, an empty one in the middle."""
    texts = [TEXT, "the red fox stands before the elm .", "", "the oak is in front ."]
    if cell[0] == "toy_labelled":
        return [examples.Labelled(text) for text in texts]
    if cell[0] == "toy_text":
        return [examples.Text(text) for text in texts if text]
    return [examples.Turns((examples.Turn("user", t),)) for t in texts if t]


@pytest.mark.parametrize("cell", CELLS)
def test_predict_answers_each_example_in_its_place(cell, loaded):
    run, given = loaded(cell), asked(cell)
    said = lmtasks.predict(run, given)
    assert len(said) == len(given)
    if cell[0] == "toy_labelled":
        assert [one is None for one in said] == [False, False, True, False]
        for one in (one for one in said if one):
            assert one["label"] in ("no", "yes")
            assert sum(one["scores"].values()) == pytest.approx(1, abs=1e-5)
    else:
        assert all(isinstance(one["text"], str) for one in said)
    # Alone and in company the answer is the same.
    (alone,) = lmtasks.predict(run, given[-1:])
    if "label" in alone:
        assert alone["scores"] == pytest.approx(said[-1]["scores"], abs=1e-5)
    else:
        assert alone == said[-1]


@pytest.mark.parametrize("cell", CELLS)
def test_a_loaded_run_is_whole(cell, loaded):
    run = loaded(cell)
    assert run.step == 2
    assert run.run.model.architecture == cell[1]
    shapes = jax.eval_shape(lambda: run.params)
    assert jax.tree.structure(shapes) == jax.tree.structure(run.params)
    leaves = jax.tree.leaves(run.params)
    assert all(bool(jnp.isfinite(x).all()) for x in leaves)
    assert run.run.tokenizer.size == run.run.model.cfg.vocab


@pytest.mark.parametrize("cell", CELLS)
def test_build_makes_the_model_without_training(cell, loaded):
    run = lmtasks.build(config_of(*cell))
    assert isinstance(run, builder.Run)
    assert run.config.objective in ("classify", "generate", "clm")
    assert run.model == loaded(cell).run.model
    assert run.tokenizer.fingerprint == loaded(cell).run.tokenizer.fingerprint


@pytest.mark.parametrize("cell", CELLS[2:4])
def test_train_resumes_what_is_there(cell, loaded, tmp_path):
    config = config_of(*cell)
    outcome = lmtasks.train(config, str(tmp_path / "work"))
    assert outcome.step == 2 and outcome.stopped == ""
    assert math.isfinite(outcome.metrics["loss"])
    again = lmtasks.train(config, str(tmp_path / "work"))
    assert dataclasses.asdict(again) == dataclasses.asdict(outcome)
    mine = lmtasks.load(str(tmp_path / "work")).params
    same = jax.tree.map(np.array_equal, mine, loaded(cell).params)
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("cell", WRITERS)
def test_generate_writes_a_text_after_each_prompt(cell, loaded):
    run = loaded(cell)
    said = lmtasks.generate(run, [TEXT, "the elm"])
    assert len(said) == 2 and all(isinstance(text, str) for text in said)
    if cell[0] != "toy_labelled":
        kind = examples.Text if cell[0] == "toy_text" else None
        prompts = [kind(p) if kind else examples.Turns((examples.Turn("user", p),))
                   for p in (TEXT, "the elm")]  # fmt: skip
        assert said == [one["text"] for one in lmtasks.predict(run, prompts)]


@pytest.mark.parametrize("cell", [("toy_text", "decoder"), ("toy_turns", "decoder")])
def test_greedy_text_is_the_argmax_of_the_whole_forward_pass(cell, loaded):
    run = loaded(cell)
    tokenizer, model = run.run.tokenizer, run.run.model
    ids = [tokenizer.bos_id, *tokenizer.encode("the elm")]
    if tokenizer.bos_id is None:
        ids = [tokenizer.eos_id, *ids[1:]]
    written = []
    for _ in range(run.run.decode.max_tokens):
        batch = {
            "tokens": np.asarray([ids], np.int32),
            "positions": np.arange(len(ids), dtype=np.int32)[None],
        }
        chosen = int(jnp.argmax(model.apply(run.params, batch)[0, -1]))
        if chosen == tokenizer.eos_id:
            break
        written.append(chosen)
        ids.append(chosen)
    text = tokenizer.decode(written)
    said = lmtasks.generate(run, ["the elm"])[0]
    assert said == (text if cell[0] == "toy_text" else text.removeprefix(" "))
    assert written


@pytest.mark.parametrize("cell", WRITERS)
def test_score_is_the_log_likelihood_of_the_target(cell, loaded):
    run = loaded(cell)
    pairs = [(TEXT, "yes"), (TEXT, "the oak ."), ("the elm", "no")]
    said = lmtasks.score(run, pairs)
    tokens = [len(run.run.tokenizer.encode(target)) + 1 for _, target in pairs]
    assert [row["tokens"] for row in said] == tokens
    assert all(-1e3 < row["log_prob"] < 0 for row in said)
    assert said[1]["log_prob"] < said[0]["log_prob"]  # a longer target


def test_the_scores_of_all_next_tokens_are_a_distribution(loaded):
    run = loaded(("toy_text", "decoder"))
    tokenizer, model = run.run.tokenizer, run.run.model
    prompt, target = "the elm", "the oak"
    start = [tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id]
    ids = [*start, *tokenizer.encode(prompt), *tokenizer.encode(target)]
    ids = [*ids, tokenizer.eos_id]
    batch = {
        "tokens": np.asarray([ids[:-1]], np.int32),
        "positions": np.arange(len(ids) - 1, dtype=np.int32)[None],
    }
    log_p = jax.nn.log_softmax(model.apply(run.params, batch)[0])
    picked = [float(log_p[i, ids[i + 1]]) for i in range(len(ids) - 1)]
    (said,) = lmtasks.score(run, [(prompt, target)])
    expected = sum(picked[-said["tokens"] :])
    assert said["log_prob"] == pytest.approx(expected, rel=1e-4)
    assert jnp.allclose(jnp.exp(log_p).sum(-1), 1, atol=1e-5)


def test_an_older_step_and_another_config_can_be_loaded(tmp_path, monkeypatch):
    runs.keep_cache(monkeypatch)
    config = config_of("toy_text", "decoder")
    config.checkpoint.every = 1
    folder = str(tmp_path / "work")
    lmtasks.train(config, folder)
    first, last = lmtasks.load(folder, step=1), lmtasks.load(folder)
    assert (first.step, last.step) == (1, 2)
    pairs = zip(
        jax.tree.leaves(first.params), jax.tree.leaves(last.params), strict=True
    )
    assert any(not np.array_equal(a, b) for a, b in pairs)
    with pytest.raises(ValueError, match="no checkpoint 7"):
        lmtasks.load(folder, step=7)
    changed = files.read_config(folder)
    changed["decode"]["max_tokens"] = 1
    from lmtasks import schema

    short = lmtasks.load(folder, config=schema.from_stored(changed))
    (text,) = lmtasks.generate(short, ["the elm"])
    assert len(short.run.tokenizer.encode(text)) <= 1


def test_the_callers_config_is_left_as_it_was(tmp_path):
    config = config_of("toy_labelled", "encoder")
    before = config.to_dict()
    lmtasks.build(config)
    assert config.to_dict() == before


def test_a_run_can_start_from_anothers_parameters(loaded, tmp_path, monkeypatch):
    runs.keep_cache(monkeypatch)
    first = loaded(("toy_text", "decoder"))
    folder = tmp_path / "first"
    lmtasks.train(config_of("toy_text", "decoder"), str(folder))
    config = config_of("toy_turns", "decoder")
    config.init, config.tokenizer.path = str(folder), str(folder / "tokenizer")
    config.optim.learning_rate, config.train.steps = 0.0, 1
    config.optim.weight_decay = 0.0
    lmtasks.train(config, str(tmp_path / "second"))
    second = lmtasks.load(str(tmp_path / "second"))
    same = jax.tree.map(np.array_equal, second.params, first.params)
    assert all(jax.tree.leaves(same))
