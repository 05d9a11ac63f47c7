"""Runs that train adapters or soft prompts: resumed, evaluated, started from."""

import jax
import numpy as np
import pytest
import runs

from lmtasks import api
from lmtasks import builder
from lmtasks import schema
from lmtasks.training import begin
from lmtasks.training import loop
from lmtasks.training import masks
from lmtasks.training import parallel
from lmtasks.training import workdir

# Adapters with dropout under fsdp, micro-batches and averaged parameters.
LORA = {
    "lora__rank": 2, "lora__dropout": 0.3, "lora__also": "^top/",
    "train__steps": 4, "train__accumulate": 2, "train__ema": 0.5, "parallel__fsdp": 2,
    "train__batch_size": 16, "model__dropout": 0.1, "checkpoint__every": 4,
    "optim__learning_rate": 0.05,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    runs.keep_cache(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.data(tmp_path_factory.mktemp("lora") / "data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """A LoRA run that nothing disturbed."""
    work = tmp_path_factory.mktemp("whole") / "work"
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        assert runs.main.main(runs.classify(data, work, **LORA)) == 0
    return work


def flat(params):
    """Return {path: array}."""
    found = jax.tree.leaves_with_path(params)
    return {masks.name_of(path): np.asarray(x) for path, x in found}


def test_a_stopped_run_goes_on_with_the_same_bits(whole, data, tmp_path, capsys):
    work = tmp_path / "work"
    with runs.signal_at(loop.runtime.Clock, "count", 2):
        assert "preempted" in runs.good(capsys, *runs.classify(data, work, **LORA))
    assert "resumed at step 2" in runs.good(capsys, *runs.classify(data, work, **LORA))
    assert runs.sha(work) == runs.sha(whole)
    assert runs.numbers(work) == runs.numbers(whole)


def test_only_adapters_and_the_head_have_moved(whole):
    run = workdir.load_run(str(whole))
    old, _ = begun(run, parallel.make_mesh(run.parallel))
    state, step = runs.state_of(whole)
    new = flat(state.params)
    assert step == 4 and new.keys() == old.keys()
    moved = {name for name in new if not np.array_equal(new[name], old[name])}
    sides = {f"encoder/layers_0/attn/{w}/{s}" for w in ("query", "value") for s in "ab"}
    assert moved == sides | {name for name in new if name.startswith("top/")}
    mean = flat(state.ema)
    assert not np.array_equal(mean["top/out"], new["top/out"])
    table = (whole / "params.txt").read_text()
    assert "encoder/layers_0/attn/query/a" in table


def test_a_work_directory_is_used_with_its_adapters_merged(whole, capsys):
    loaded = api.load(str(whole))
    assert not any(name.endswith("/base") for name in flat(loaded.params))
    metrics, _ = api.evaluate(loaded, "validation")
    last = [r for r in runs.rows(whole) if r["split"] == "validation"][-1]
    assert metrics["loss"] == pytest.approx(last["loss"], rel=1e-4)
    assert "validation" in runs.good(capsys, "eval", f"--workdir={whole}")


def test_another_run_starts_from_the_merged_weights(whole, data, tmp_path, capsys):
    work = tmp_path / "work"
    changes = {"init": whole, "train__steps": 1, "optim__learning_rate": 0.0}
    out = runs.good(capsys, *runs.classify(data, work, **changes))
    merged = flat(api.load(str(whole)).params)
    assert f"init: {len(merged)} of {len(merged)} parameters" in out
    for name, x in flat(runs.state_of(work)[0].params).items():
        np.testing.assert_allclose(x, merged[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_a_decoder_learns_soft_vectors_and_writes(kind, data, tmp_path, capsys):
    work = tmp_path / "work"
    changes = {"soft__kind": kind, "soft__length": 3, "train__steps": 2}
    changes |= {"optim__learning_rate": 0.1, "objective": "generate"}
    argv = runs.classify(data, work, architecture="decoder", **changes)
    runs.good(capsys, *argv)
    names = {"prompt": {"soft/prompt"}, "prefix": {f"soft/decoder_{x}" for x in
             ("keys", "values")}}  # fmt: skip
    run = workdir.load_run(str(work))
    old, _ = begun(run, parallel.make_mesh(run.parallel))
    new = flat(runs.state_of(work)[0].params)
    assert {n for n in new if not np.array_equal(new[n], old[n])} == names[kind]
    loaded = api.load(str(work))
    assert len(api.generate(loaded, ["a fine film", "what a bore"])) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora__rank": -1}, "lora.rank=-1 must be at least 1"),
        ({"lora__rank": 2, "lora__targets": ""}, "needs lora.targets"),
        ({"lora__rank": 2, "lora__targets": "atn/quer"}, "lora.targets pattern"),
        ({"lora__rank": 2, "lora__also": "heads/"}, "lora.also pattern"),
        ({"lora__rank": 2, "train__only": "^top/"}, "lora.also"),
        ({"soft__kind": "suffix"}, "soft.kind='suffix' is not one of"),
        ({"soft__kind": "prompt", "soft__length": 0}, "soft.length=0"),
        ({"train__only": "tops/"}, "train.only pattern"),
        ({"train__freeze": "."}, "leaves no parameter to train"),
    ],
)
def test_a_run_that_cannot_work_says_so_in_a_line(
    changes, message, data, tmp_path, capsys
):
    said = runs.command(capsys, *runs.classify(data, tmp_path / "work", **changes))
    assert said.code and message in said.err and "Traceback" not in said.err


def built(data, **changes):
    """Return (run, its mesh) of a tiny classification by an encoder."""
    config = schema.load("own:classification,encoder")
    for flag in runs.classify(data, **changes)[2:]:
        key, _, value = flag.removeprefix("--config.").partition("=")
        schema.override(config, key, value)
    run = builder.build(config)
    return run, parallel.make_mesh(run.parallel)


def trained(data, **changes):
    """Return the names of what a run would train."""
    found = jax.tree.leaves_with_path(begin.recipe_of(*built(data, **changes)).frozen)
    return {masks.name_of(path) for path, held in found if not held}


def begun(run, mesh):
    """Return (the parameters before step 0 as {path: array}, what was said)."""
    recipe, said = begin.recipe_of(run, mesh), []
    like = begin.like_state(run, recipe, mesh)
    state = begin.fresh_state(run, recipe, mesh, like, said.append)
    return flat(state.params), [*said, begin.summary(recipe, like)]


def test_only_trains_nothing_else_and_tables_and_heads_can_be_frozen(data):
    head = trained(data, train__only="^top/")
    assert "top/out" in head and all(name.startswith("top/") for name in head)
    rest = trained(data, train__freeze="embed/tokens,^top/")
    assert "encoder/inputs/positions" in rest
    assert not {"embed/tokens", *head} & rest
    both = trained(data, train__only="^top/,attn/", train__freeze="bias")
    assert both and all("bias" not in name for name in both)


def test_a_soft_prompt_begins_as_rows_of_the_table_it_is_given(whole, data):
    soft = {"soft__kind": "prompt", "soft__length": 5}
    params, said = begun(*built(data, init=whole, **soft))
    rows, table = params["soft/prompt"], params["embed/tokens"]
    assert np.array_equal(table, flat(api.load(str(whole)).params)["embed/tokens"])
    assert all((table == row).all(axis=1).any() for row in rows)
    total = sum(x.size for x in params.values())
    assert f"trained: {rows.size:,} of {total:,} parameters" in said
    params, _ = begun(*built(data, **soft))
    assert not (params["embed/tokens"] == params["soft/prompt"][0]).all(axis=1).any()


def test_soft_vectors_of_another_run_that_find_no_place_are_named(
    data, tmp_path, capsys
):
    work = tmp_path / "work"
    soft = {"soft__kind": "prompt", "soft__length": 5, "train__steps": 1}
    runs.good(capsys, *runs.classify(data, work, **soft))
    old = flat(runs.state_of(work)[0].params)["soft/prompt"]
    params, _ = begun(*built(data, init=work, **soft))
    assert np.array_equal(params["soft/prompt"], old)
    _, said = begun(*built(data, init=work))
    assert "init: left out, not in this model: soft/prompt" in said
