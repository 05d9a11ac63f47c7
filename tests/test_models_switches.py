"""The switches of a shape: layouts, recomputation, caps, dtypes, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks.models import layout
from lmtasks.models import model as models

ARCHITECTURES = ("encoder", "decoder", "encoder_decoder")


@functools.cache
def _slopes(one, stacked=False):
    """Return a loss over ragged rows and its gradient in the given layout."""
    rows = tiny.batch(7, 5, architecture=one.architecture)
    params = tiny.draw(tiny.replace(one, scan_layers=False, remat=""))

    def loss(p):
        return jnp.mean(one.apply(p, rows)[:, :4] ** 2)

    params = layout.stack_layers(params) if stacked else params
    value, slope = jax.jit(jax.value_and_grad(loss))(params)
    return value, layout.unstack_layers(slope)


def _assert_same(got, wanted, atol):
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(got[1]), jax.tree.leaves(wanted[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


_UNEQUAL = {
    "positions": {"kind": "rotary", "base": (1e4, 1e3)},
    "attention": {"window": (2, 0)},
    "layers": 3,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scanned_layers_equal_layers_one_by_one(architecture):
    """Windows and rotary bases differ from layer to layer."""
    one = tiny.model(architecture, **_UNEQUAL)
    scanned = tiny.replace(one, scan_layers=True)
    params, rows = tiny.draw(one), tiny.batch(7, 5, architecture=architecture)
    stacked = layout.stack_layers(params)
    same = jax.tree.map(lambda a, b: a.shape == b.shape, stacked, tiny.shapes(scanned))
    assert all(jax.tree.leaves(same))
    got = tiny.logits(scanned, stacked, rows)
    np.testing.assert_allclose(got, tiny.logits(one, params, rows), atol=1e-4)


def test_scanned_layers_have_the_gradient_of_layers_one_by_one():
    one = tiny.model(**_UNEQUAL)
    scanned = tiny.replace(one, scan_layers=True)
    _assert_same(_slopes(scanned, stacked=True), _slopes(one), atol=2e-4)


def test_stacking_layers_and_unstacking_them_gives_the_same_bits():
    one = tiny.model("encoder_decoder", layers=12, decoder_layers=3)
    params = tiny.draw(one)
    stacked = layout.stack_layers(params)
    assert set(stacked["encoder"]) == {"layers", "norm"}
    assert stacked["encoder"]["layers"]["mlp"]["up"].shape == (12, 32, 48)
    back = layout.unstack_layers(stacked)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize(
    "changes",
    [
        {"remat": "full"}, {"remat": "dots"}, {"remat": "full", "scan_layers": True},
    ],
)  # fmt: skip
def test_recomputation_changes_neither_loss_nor_gradient(changes):
    one = tiny.model(**_UNEQUAL)
    again = tiny.replace(one, **changes)
    got = _slopes(again, stacked=again.cfg.scan_layers)
    _assert_same(got, _slopes(one), atol=2e-4)


def test_shared_layers_can_be_recomputed():
    one = tiny.model(shared_layers=True)
    _assert_same(_slopes(tiny.replace(one, remat="full")), _slopes(one), atol=2e-4)


def test_shared_layers_have_the_parameters_of_one():
    one = tiny.model(layers=3, shared_layers=True)
    deep = tiny.model(layers=3)
    params = tiny.draw(one)
    assert [k for k in params["decoder"] if k.startswith("layers")] == ["layers_0"]
    copies = {f"layers_{i}": params["decoder"]["layers_0"] for i in range(3)}
    whole = params | {"decoder": params["decoder"] | copies}
    rows = tiny.batch(6)
    got, wanted = tiny.logits(one, params, rows), tiny.logits(deep, whole, rows)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["head", "width"])
def test_normed_queries_and_keys_forget_the_size_of_their_weights(kind):
    one = tiny.model(attention={"qk_norm": kind, "kv_heads": 2})
    plain = tiny.model(attention={"kv_heads": 2})
    params, rows = tiny.draw(one), tiny.batch(6)
    wide = {"head": (8, 8), "width": (32, 16)}[kind]
    attn = params["decoder"]["layers_0"]["attn"]
    assert attn["query_norm"]["scale"].shape == (wide[0],)
    assert attn["key_norm"]["scale"].shape == (wide[1],)

    def larger(path, x):
        return x * 9 if path[-1].key in ("query", "key") else x

    louder = jax.tree_util.tree_map_with_path(larger, params)
    got, loud = (tiny.logits(one, p, rows) for p in (params, louder))
    np.testing.assert_allclose(got, loud, atol=1e-3)
    bare = {k: tiny.logits(plain, p, rows) for k, p in enumerate((params, louder))}
    assert np.abs(bare[0] - bare[1]).max() > 0.1


def test_soft_caps_bound_the_logits_and_bend_attention():
    one = tiny.model(logit_soft_cap=2.0, attention={"soft_cap": 1.0})
    params, rows = tiny.draw(one), tiny.batch(6)
    got = tiny.logits(one, params, rows)
    assert np.abs(got).max() <= 2.0
    uncapped = tiny.logits(tiny.replace(one, logit_soft_cap=0.0), params, rows)
    np.testing.assert_allclose(got, 2 * np.tanh(uncapped / 2), atol=1e-5)
    attention = dataclasses.replace(one.cfg.attention, soft_cap=0.0)
    unbent = tiny.logits(tiny.replace(one, attention=attention), params, rows)
    assert np.abs(unbent - got).max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_stays_near_float32(architecture):
    one = tiny.usual(architecture)
    params, rows = tiny.draw(one), tiny.batch(7, 5, architecture=architecture)
    wanted = tiny.logits(one, params, rows)
    got = tiny.apply(tiny.replace(one, dtype="bfloat16"))(params, rows)
    assert got.dtype == jnp.float32
    error = np.abs(np.asarray(got) - wanted)[rows["positions"] >= 0]
    assert 0 < error.mean() < 0.02 * wanted.std(), error.mean() / wanted.std()


def test_a_tied_head_reads_a_narrow_token_table_through_its_projection():
    """ALBERT: a table of width E, a transform back to E, and the table again."""
    one = tiny.model("encoder", embed_dim=8, head_transform=True, head_bias=True)
    got = tiny.apply(one)(tiny.draw(one), tiny.batch(5))
    assert got.shape == (1, 5, tiny.VOCAB)


def test_parallel_sublayers_never_drop_cross_attention_silently():
    try:
        one = tiny.model("encoder_decoder", parallel=True)
        params, rows = tiny.draw(one), tiny.batch(4, architecture="encoder_decoder")
    except ValueError as error:
        assert "parallel" in str(error)
        return
    other = dict(rows, source=(rows["source"] + 1) % tiny.VOCAB)
    got, changed = (tiny.logits(one, params, x) for x in (rows, other))
    assert np.abs(got - changed).max() > 1e-3


def test_dropout_is_off_without_a_key_and_differs_by_key():
    one = tiny.model(dropout=0.3, attention_dropout=0.3)
    still = tiny.model()
    params, rows = tiny.draw(one), tiny.batch(6)
    keys = jax.random.split(jax.random.key(0))
    got = [tiny.apply(one)(params, rows, k) for k in (keys[0], keys[0], keys[1])]
    np.testing.assert_array_equal(got[0], got[1])
    assert np.abs(got[0] - got[2]).max() > 1e-2
    quiet = tiny.logits(one, params, rows)
    np.testing.assert_array_equal(quiet, tiny.logits(still, params, rows))


def test_fresh_parameters_are_float32_wrapped_in_axes_and_near_uniform():
    one = tiny.model("decoder", tied=False)
    params = models.unbox(jax.jit(one.init)(jax.random.key(0)))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    got = jax.nn.log_softmax(tiny.logits(one, params, tiny.batch(6)))
    np.testing.assert_allclose(got, -np.log(tiny.VOCAB), atol=0.5)
    axes = models.logical_axes(one)["decoder"]["layers_0"]["attn"]["query"]
    assert tuple(axes) == ("embed", "heads", "head")


def _spread(**changes):
    """Return the standard deviations of a block's fresh weights, and of the table."""
    one = tiny.model(width=64, mlp=96, attention={"heads": 4, "scale": 1.0}, **changes)
    params = models.unbox(jax.jit(one.init)(jax.random.key(0)))
    block = params["decoder"]["layers_1"]
    found = {k: float(np.std(v)) for k, v in (block["attn"] | block["mlp"]).items()}
    return found | {"tokens": float(np.std(params["embed"]["tokens"]))}


def test_fresh_weights_are_drawn_as_t5_draws_them():
    wanted = {
        "query": (64 * 16) ** -0.5, "key": 64**-0.5, "value": 64**-0.5,
        "out": 64**-0.5, "up": 64**-0.5, "down": 96**-0.5, "tokens": 1.0,
    }  # fmt: skip
    assert _spread(init="fan_in") == pytest.approx(wanted, rel=0.07)


def test_fresh_weights_are_drawn_as_gpt_2_draws_them():
    """What is added to the residual stream is smaller by sqrt(2 L)."""
    wanted = dict.fromkeys(("query", "key", "value", "up", "tokens"), 0.02)
    wanted |= {"out": 0.02 / 2, "down": 0.02 / 2}
    assert _spread() == pytest.approx(wanted, rel=0.07)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"width": 30}, "width=30 is not divisible by attention.heads=4"),
        ({"attention": {"kv_heads": 3}}, "heads=4 is not divisible by kv_heads=3"),
        ({"attention": {"heads": 0}}, "heads"),
        ({"positions": {"kind": "rotery"}}, "did you mean 'rotary'"),
        ({"positions": {"scaling": "yarm"}}, "did you mean 'yarn'"),
        ({"norm": {"kind": "layr"}}, "did you mean 'layer'"),
        ({"norm": {"at": "prre"}}, "did you mean 'pre'"),
        ({"attention": {"qk_norm": "heads"}}, "did you mean 'head'"),
        ({"attention": {"implementation": "cudn"}}, "did you mean 'cudnn'"),
        ({"activation": "glu"}, "did you mean"),
        ({"remat": "ful"}, "did you mean 'full'"),
        ({"dtype": "float16"}, "float32, bfloat16"),
        ({"layers": 0}, "layers=0 must be at least 1"),
        ({"width": 12}, "even head dim"),
        ({"shared_layers": True, "scan_layers": True}, "exclude"),
        ({"dropout": 1.5}, "dropout"),
        ({"positions": {"fraction": 1.5}}, "fraction"),
        (
            {"attention": {"implementation": "cudnn"}, "positions": {"kind": "t5"}},
            "neither soft_cap nor position biases",
        ),
        ({"attention": {"implementation": "cudnn"}}, "bfloat16"),
    ],
)
def test_impossible_shapes_are_refused_with_a_sentence(changes, said):
    with pytest.raises(ValueError, match=said) as raised:
        tiny.config(**changes)
    assert len(str(raised.value).split()) >= 4 and "\n" not in str(raised.value)
