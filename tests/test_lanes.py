"""Several samples of one prompt, pieces of one text, and caches of every kind."""

import collections
import functools
import math
import re

import jax
import jax.numpy as jnp
import markov
import numpy as np
import pytest
import scipy.stats
import tiny

from lmtasks.decode import constraints
from lmtasks.decode import loop
from lmtasks.decode import methods
from lmtasks.decode import plan
from lmtasks.decode import sampling as samplers
from lmtasks.families import gpt2
from lmtasks.models import layout
from lmtasks.models import model as models

MODEL = markov.Markov.drawn(v=5, seed=2)
PROMPTS = ([0, 1], [2, 1, 1, 0], [1])


@functools.partial(jax.jit, static_argnums=1)
def _table(batch, decode, keys):
    return methods.write(MODEL.start, MODEL.step, batch, decode=decode, keys=keys)


def test_a_sample_does_not_depend_on_how_many_there_are():
    keys = markov.keys(3)
    batch = markov.prompts(*PROMPTS)
    values = {"max_tokens": 6, "temperature": 1.2, "stop_ids": (4,)}
    many = _table(batch, plan.Decode(texts=4, **values), keys)
    one = _table(batch, plan.Decode(texts=1, **values), keys)
    np.testing.assert_array_equal(many.tokens[:, :1], one.tokens)
    np.testing.assert_allclose(many.log_probs[:, :1], one.log_probs, atol=1e-6)
    texts = {tuple(text) for text in np.asarray(many.tokens[0]).tolist()}
    assert len(texts) > 1


def test_samples_of_one_prompt_have_the_distribution_of_the_table():
    rows, lanes = 2000, 4
    decode = plan.Decode(max_tokens=2, temperature=1.0, texts=lanes)
    batch = markov.prompts(*[[0, 1]] * rows)
    got = np.asarray(_table(batch, decode, markov.keys(rows)).tokens).reshape(-1, 2)
    p = np.exp(MODEL.log_p)
    wanted = (p[0, 1][:, None] * p[1]).ravel() * rows * lanes
    counts = np.bincount(got[:, 0] * 5 + got[:, 1], minlength=25)
    likely = wanted >= 5
    groups = [[*x[likely], x[~likely].sum() + 1e-9] for x in (counts, wanted)]
    assert scipy.stats.chisquare(*groups).pvalue > 1e-4


@pytest.mark.parametrize("pieces", [[1, 2, 9], [3, 3, 3, 3], [9]])
def test_a_text_written_in_pieces_is_the_whole_one(pieces):
    decode = plan.Decode(max_tokens=9, temperature=0.9, stop_ids=(4,))
    batch, keys = markov.prompts(*PROMPTS), markov.keys(3)
    given = {
        "sampling": samplers.sampling_of(decode, 3),
        "keys": keys,
        "rules": constraints.rules_of(decode, 3),
    }
    begin = jax.jit(lambda b: loop.begin(MODEL.start, b, decode=decode, **given))
    advance = jax.jit(lambda s, limit: loop.advance(MODEL.step, s, limit, **given))
    state = begin(batch)
    for limit in np.cumsum(pieces):
        state = advance(state, jnp.int32(min(limit, 9)))
    whole = _table(batch, decode, keys)
    np.testing.assert_array_equal(state.written.tokens, whole.tokens)


def _pair(one, params, **kwargs):
    start = functools.partial(one.start, params, **kwargs)
    return start, functools.partial(one.step, params)


def _written(one, params, rows, decode, **kwargs):
    @jax.jit
    def run(params, rows):
        return methods.write(
            *_pair(one, params, **kwargs), rows, decode=decode, keys=markov.keys(2)
        )

    return jax.device_get(run(params, rows))


SAMPLED = {"temperature": 1.0, "texts": 2}
SEARCHED = {"method": "beam", "beams": 3, "texts": 3, "length_penalty": "none"}


@pytest.mark.parametrize(
    "architecture, kind, values",
    [
        ("decoder", "learned", SEARCHED),
        ("decoder", "rotary", SAMPLED),
        ("decoder", "alibi", SEARCHED),
        ("encoder_decoder", "t5", SEARCHED),
        ("encoder_decoder", "sinusoidal", SAMPLED),
    ],
)
def test_beams_and_samples_of_a_model_score_as_it_reads_them(
    architecture, kind, values
):
    """Every lane's log-probs are those of the full forward pass over its own text."""
    one = tiny.model(
        architecture, positions={"kind": kind}, tied=False, layers=1,
        attention={"kv_heads": 2, "window": (4,)},
    )  # fmt: skip
    params = tiny.draw(one)
    rows = tiny.batch(5, 2, architecture=architecture, sources=[3, 6])
    decode = plan.Decode(max_tokens=5, **values)
    got = _written(one, params, rows, decode)
    for b, n in enumerate((5, 2)):
        texts = [[*rows["tokens"][b, :n], *t] for t in got.tokens[b]]
        whole = markov.prompts(*texts)
        whole |= {
            k: np.repeat(v[b : b + 1], len(texts), 0)
            for k, v in rows.items()
            if "source" in k
        }
        log_p = np.asarray(jax.nn.log_softmax(tiny.logits(one, params, whole)))
        for w in range(len(texts)):
            mine = log_p[w, n - 1 + np.arange(5), got.tokens[b, w]]
            np.testing.assert_allclose(got.log_probs[b, w], mine, atol=2e-4)
        if decode.method == "beam":
            assert (np.diff(np.asarray(got.scores[b])) <= 1e-5).all()


@pytest.mark.parametrize("chunk", [3, 7])
def test_a_prompt_read_in_chunks_is_the_same_prompt(chunk):
    one = tiny.model(positions={"kind": "rotary"}, attention={"window": (3, 0)})
    params, rows = tiny.draw(one), tiny.batch(8, 4, 1)
    decode = plan.Decode(max_tokens=4)

    @functools.partial(jax.jit, static_argnums=1)
    def run(params, chunk):
        pair = _pair(one, params, chunk=chunk)
        logits, _ = pair[0](rows, 12)
        return logits, methods.write(*pair, rows, decode=decode, keys=markov.keys(3))

    (whole, text), (cut, again) = run(params, 0), run(params, chunk)
    np.testing.assert_allclose(cut, whole, atol=1e-4)
    np.testing.assert_array_equal(again.tokens, text.tokens)


def test_a_short_prompt_read_in_chunks_takes_less_memory_than_at_once():
    one = tiny.model(positions={"size": 600})
    params, rows = tiny.draw(one), tiny.batch(512)

    def temporaries(chunk):
        run = jax.jit(lambda p, b: one.start(p, b, 520, chunk=chunk)[0])
        return run.lower(params, rows).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(32) < temporaries(0) / 2


def _deviation(x):
    return float(np.std(np.asarray(x)))


@pytest.mark.parametrize("cache, limit", [("bfloat16", 0.02), ("int8", 0.02)])
@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_rounded_cache_is_small_and_near(architecture, cache, limit):
    one = tiny.model(architecture, positions={"kind": "rotary"}, layers=2)
    params = tiny.draw(one)
    rows = tiny.batch(6, 4, architecture=architecture, sources=[3, 6])
    rounded = one.for_decoding(cache=cache)
    slot = np.array([6, 4], np.int32)
    tokens = np.array([[3], [5]], np.int32)

    def run(model):
        @jax.jit
        def both(params):
            first, held = model.start(params, rows, 8)
            return first, model.step(params, tokens, slot[:, None], held, slot)[0], held

        return both(params)

    exact, near = run(one), run(rounded)
    for a, b in zip(exact[:2], near[:2], strict=True):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() < limit * 10 * _deviation(a)
        assert _deviation(np.asarray(a) - np.asarray(b)) < limit * _deviation(a)
        assert (np.asarray(a) != np.asarray(b)).any()
    layer = near[2].own[0]
    assert layer.keys.dtype == layer.values.dtype == cache
    assert (layer.key_scale is not None) == (cache == "int8")


@pytest.mark.parametrize(
    "architecture, tied, weights, limit",
    [
        ("decoder", True, "bfloat16", 0.03),
        ("decoder", False, "int8", 0.06),
        ("encoder_decoder", True, "int8", 0.06),
    ],
)
def test_rounded_weights_give_near_logits_and_one_row_as_two(
    architecture, tied, weights, limit
):
    one = tiny.model(
        architecture, positions={"kind": "learned"}, tied=tied, gated=True, layers=1
    )
    params = tiny.draw(one)
    rows = tiny.batch(6, 4, architecture=architecture, sources=[3, 6])
    small = layout.for_decoding(params, models.logical_axes(one), weights)
    rounded = one.for_decoding(weights=weights)
    kind = {"bfloat16": jnp.bfloat16, "int8": jnp.int8}[weights]
    assert small["embed"]["tokens"].values.dtype == kind
    if weights == "int8":
        assert small["embed"]["tokens"].values.dtype == jnp.int8
        layer = small["decoder"]["layers_0"]
        assert layer["attn"]["query"].values.dtype == jnp.int8
        assert layer["mlp"]["up"].shape == (32, 48)
    start = jax.jit(lambda m, p, b: m.start(p, b, 8)[0], static_argnums=0)
    exact, near = start(one, params, rows), start(rounded, small, rows)
    error = _deviation(np.asarray(exact) - np.asarray(near))
    assert 0 < error < limit * _deviation(exact)
    # One row takes the way of two.
    alone = {k: v[:1] for k, v in rows.items()}
    one_row = start(rounded, small, alone)
    np.testing.assert_allclose(one_row[0], near[0], atol=0.02 * _deviation(exact))
    decode = plan.Decode(max_tokens=3)
    text = _written(rounded, small, rows, decode)
    assert (text.tokens >= 0).all()


@pytest.mark.parametrize(
    "rows, decode",
    [(1, plan.Decode()), (8, plan.Decode()), (2, plan.Decode(method="beam"))],
    ids=["greedy1", "greedy8", "beam4"],
)
def test_writing_takes_the_weights_and_one_cache_and_a_tenth(rows, decode):
    """By XLA's own account of the program, for GPT-2-small with 64 + 64 tokens."""
    shape = gpt2.PRESETS["small"]
    one = models.Model("decoder", shape).for_decoding()
    axes = models.logical_axes(one)
    params = jax.eval_shape(
        lambda p: layout.for_decoding(p, axes, "float32"), tiny.shapes(one)
    )
    ids = jax.ShapeDtypeStruct((rows, 64), jnp.int32)

    @jax.jit
    def run(params, batch):
        return methods.write(
            *_pair(one, params), batch, decode=decode, keys=markov.keys(rows)
        )

    lowered = run.lower(params, {"tokens": ids, "positions": ids})
    found = lowered.compile().memory_analysis()
    weights = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))
    lanes = decode.lanes
    # What a cache takes that is tiled over the beams.
    cache = 2 * 4 * shape.layers * shape.width * rows * lanes * (64 + 64)
    assert weights <= found.argument_size_in_bytes < weights * 1.001
    peak = found.argument_size_in_bytes + found.temp_size_in_bytes
    assert peak <= 1.1 * (weights + cache) + (lanes > 1) * cache / 2
    # No second cache: what the program holds besides is less than one.
    own = 2 * 4 * shape.layers * shape.width * rows * (64 + 64 * lanes)
    assert found.temp_size_in_bytes < 2 * own


def _made_of(text, shape):
    """Return the kinds of what the loops of a compiled program make as large as
    float32[shape]; what is only handed on makes nothing.
    """
    bodies = set(re.findall(r"body=%([\w.-]+)", text))
    kinds = collections.Counter()
    for part in re.split(r"\n(?=\S)", text):
        named = re.match(r"%([\w.-]+)", part)
        if named is None or named[1] not in bodies:
            continue
        for dims, kind in re.findall(r"= f32\[([\d,]+)\]\S* ([a-z-]+)\(", part):
            if math.prod(map(int, dims.split(","))) == math.prod(shape):
                kinds[kind] += 1
    for kind in ("parameter", "get-tuple-element", "bitcast"):
        kinds.pop(kind, None)
    return kinds


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the text is of a CPU")
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_step_of_one_row_copies_no_cache(kv_heads):
    one = tiny.model(attention={"kv_heads": kv_heads}, positions={"size": 256})
    params, rows = tiny.draw(one), tiny.batch(6)
    decode = plan.Decode(max_tokens=197)

    @jax.jit
    def run(params):
        return methods.write(
            *_pair(one, params), rows, decode=decode, keys=markov.keys(1)
        )

    text = run.lower(params).compile().as_text()
    size = rows["tokens"].shape[1] + decode.slots  # a number of slots nothing else has
    made = _made_of(text, (kv_heads, size, 8))
    assert set(made) <= {"scatter", "fusion", "while"}, made
    # The keys and values of two layers, each written once.
    assert 0 < sum(made.values()) <= 4, made
