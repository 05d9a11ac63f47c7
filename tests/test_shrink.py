"""A batch that is half done goes on as half a batch, and every row's result is kept."""

import dataclasses

import jax
import jax.numpy as jnp
import markov
import numpy as np
import pytest
import tiny

from lmtasks.decode import constraints
from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.decode import shrink
from lmtasks.models import soft

STOP, ROWS = 3, 64
MODEL = markov.Markov.drawn(v=8, seed=1)
PLANS = {
    "greedy": {},
    "top_k": {"temperature": 0.9, "top_k": 4, "texts": 2},
    "rules": {"temperature": 1.0, "min_tokens": 3, "repetition_penalty": 1.3},
    "groups": {"method": "beam", "beams": 4, "beam_groups": 2, "diversity": 0.5},
    "beam_rules": {
        "method": "beam",
        "beams": 2,
        "min_tokens": 3,
        "presence_penalty": 1,
    },
}


def count_down(start):
    """Return what each row counted, and the rows that each step had."""
    seen = []

    def body(carry, given):
        seen.append(carry["left"].shape[0])
        on = carry["left"] > 0
        return {
            "n": carry["n"] + 1,
            "left": carry["left"] - on,
            "sum": carry["sum"] + jnp.where(on, given["weight"], 0),
        }

    start = jnp.asarray(start)
    out = shrink.loop(
        body,
        {"n": jnp.int32(0), "left": start, "sum": jnp.zeros(len(start), jnp.int32)},
        {"weight": jnp.arange(len(start)), "scale": jnp.int32(2)},
        more=lambda carry: carry["n"] < 30,
        going=lambda carry: carry["left"] > 0,
        result=lambda carry: carry["sum"],
        halves=True,
    )
    return np.asarray(out), seen


@pytest.mark.parametrize("seed", range(5))
def test_every_rows_result_is_its_own(seed):
    start = np.random.default_rng(seed).integers(0, 40, ROWS)
    out, seen = count_down(start)
    np.testing.assert_array_equal(out, np.minimum(start, 30) * np.arange(ROWS))
    assert sorted(set(seen), reverse=True) == [64, 32, 16]


@pytest.mark.parametrize("start", [[0] * 64, [50] * 64, [1] * 63 + [29], [3] * 7])
def test_all_at_once_none_and_few(start):
    out, _ = count_down(start)
    np.testing.assert_array_equal(out, np.minimum(start, 30) * np.arange(len(start)))


def test_sizes_are_halves_and_whole_on_several_devices():
    assert shrink.sizes_of(64) == [64, 32, 16]
    assert shrink.sizes_of(16) == [16] and shrink.sizes_of(3) == [3]
    assert shrink.sizes_of(40) == [40, 20] and shrink.sizes_of(33) == [33]
    mesh = jax.make_mesh((4,), ("data",))
    with jax.set_mesh(mesh):
        assert shrink.sizes_of(64) == [64]
    with jax.set_mesh(jax.make_mesh((1,), ("data",))):
        assert shrink.sizes_of(64) == [64, 32, 16]


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize("kind", ["", "prompt", "prefix"])
@pytest.mark.parametrize("held", ["", "int8"])
def test_every_cache_of_a_model_has_its_rows_first(architecture, kind, held):
    one = tiny.usual(architecture)
    if kind:
        one = dataclasses.replace(one, soft=soft.Soft(kind, 3))
    one = dataclasses.replace(
        one, cfg=dataclasses.replace(one.cfg, scan_layers=not kind)
    )
    one = one.for_decoding(cache=held)
    rows = tiny.batch(*[3] * 11, architecture=architecture, sources=[4] * 11)
    _, cache = jax.eval_shape(lambda p: one.start(p, rows, 9), tiny.shapes(one))
    arrays = jax.tree.leaves(cache)
    assert len(arrays) > 4 and {x.shape[0] for x in arrays} == {11}


def drawn_prompts():
    """Return 64 prompts of one to three tokens."""
    rng = np.random.default_rng(0)
    return markov.prompts(
        *(rng.integers(0, MODEL.v, rng.integers(1, 4)).tolist() for _ in range(ROWS))
    )


def written(decode, rules, halves):
    """Return what is written, compiled anew."""
    batch, keys = drawn_prompts(), markov.keys(ROWS)
    given = {"decode": decode, "keys": keys, "rules": rules, "halves": halves}
    run = jax.jit(lambda: methods.write(MODEL.start, MODEL.step, batch, **given))
    return jax.device_get(run())


@pytest.mark.parametrize("name", PLANS)
def test_texts_are_those_of_the_whole_batch(name):
    decode = plan.Decode(max_tokens=24, stop_ids=(STOP,), **PLANS[name])
    # Each row has a forced beginning of its own, which has to go with it.
    forced = jnp.arange(ROWS, dtype=jnp.int32)[:, None] % MODEL.v
    rules = constraints.rules_of(decode, ROWS).replace(forced=forced)
    found, whole = (written(decode, rules, halves) for halves in (True, False))
    jax.tree.map(np.testing.assert_array_equal, found, whole)
    best = found.lengths[:, 0]
    assert len(set(best.tolist())) > 3, "rows that all end at once would prove little"
    np.testing.assert_array_equal(found.tokens[:, 0, 0], forced[:, 0])
