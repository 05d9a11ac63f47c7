"""Forward passes: what may not change them, and their switches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks.models import config as configs
from lmtasks.models import layout
from lmtasks.models import model as models

ARCHITECTURES = ("encoder", "decoder", "encoder_decoder")
KINDS = ("learned", "sinusoidal", "rotary", "t5", "alibi", "none")


def _heads(architecture):
    """Return a model with the given architecture and its usual positions."""
    kind = {"encoder": "learned", "decoder": "rotary", "encoder_decoder": "t5"}
    return tiny.model(architecture, positions={"kind": kind[architecture]})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_does_not_change_logits(architecture):
    one = _heads(architecture)
    params = tiny.draw(one)
    alone = tiny.batch(5, architecture=architecture, sources=[4])
    padded = tiny.batch(5, 9, architecture=architecture, sources=[4, 8])
    for key in ("tokens", "source"):
        if key in alone:
            padded[key][0, : alone[key].shape[1]] = alone[key][0]
    got = tiny.logits(one, params, padded)[0, :5]
    other = {k: np.where(v == -1, v, v) for k, v in padded.items()}
    other["tokens"] = np.where(padded["positions"] < 0, 7, padded["tokens"])
    if "source" in other:
        empty = padded["source_positions"] < 0
        other["source"] = np.where(empty, 9, padded["source"])
    np.testing.assert_array_equal(tiny.logits(one, params, other)[0, :5], got)
    np.testing.assert_allclose(tiny.logits(one, params, alone)[0], got, atol=1e-4)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_a_future_token_changes_nothing_before_it(architecture):
    one = _heads(architecture)
    params, rows = tiny.draw(one), tiny.batch(8, 8, architecture=architecture)
    other = dict(rows, tokens=rows["tokens"].copy())
    other["tokens"][:, 5] = (rows["tokens"][:, 5] + 1) % tiny.VOCAB
    got, changed = (tiny.logits(one, params, x) for x in (rows, other))
    np.testing.assert_array_equal(got[:, :5], changed[:, :5])
    assert (np.abs(got[:, 5:] - changed[:, 5:]).max((0, 2)) > 1e-3).all()


def test_every_source_token_reaches_every_target_position():
    one = _heads("encoder_decoder")
    params, rows = tiny.draw(one), tiny.batch(6, architecture="encoder_decoder")
    got = tiny.logits(one, params, rows)
    for i in range(rows["source"].shape[1]):
        other = dict(rows, source=rows["source"].copy())
        other["source"][0, i] = (other["source"][0, i] + 1) % tiny.VOCAB
        assert (np.abs(tiny.logits(one, params, other) - got).max(-1) > 1e-4).all()


def test_an_encoder_sees_both_sides():
    one = _heads("encoder")
    params, rows = tiny.draw(one), tiny.batch(6)
    got = tiny.logits(one, params, rows)
    for i in range(6):
        other = dict(rows, tokens=rows["tokens"].copy())
        other["tokens"][0, i] = (other["tokens"][0, i] + 1) % tiny.VOCAB
        assert (np.abs(tiny.logits(one, params, other) - got).max(-1) > 1e-4).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("none", "alibi")])
def test_the_order_of_tokens_matters_to_an_encoder_with_positions(kind):
    one = tiny.model("encoder", positions={"kind": kind})
    params, rows = tiny.draw(one), tiny.batch(4)
    other = dict(rows, tokens=rows["tokens"][:, [1, 0, 2, 3]])
    got, changed = (tiny.logits(one, params, x)[0, 3] for x in (rows, other))
    assert np.abs(got - changed).max() > 1e-2


def test_without_positions_an_encoder_reads_a_bag_of_words():
    one = tiny.model("encoder", positions={"kind": "none"})
    params, rows = tiny.draw(one), tiny.batch(4)
    other = dict(rows, tokens=rows["tokens"][:, [1, 0, 2, 3]])
    got, changed = (tiny.logits(one, params, x)[0, 3] for x in (rows, other))
    np.testing.assert_allclose(got, changed, atol=1e-4)


def test_the_first_row_of_learned_positions_is_moved_by_the_offset():
    one = tiny.model(positions={"kind": "learned", "size": 8})
    moved = tiny.model(positions={"kind": "learned", "size": 6, "offset": 2})
    params, rows = tiny.draw(one), tiny.batch(6)
    later = dict(rows, positions=rows["positions"] + 2)
    got = tiny.logits(moved, params, rows)
    np.testing.assert_allclose(tiny.logits(one, params, later), got, atol=1e-4)


def test_the_second_text_has_token_types_of_its_own():
    one = tiny.model("encoder", token_types=2)
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    zeros, ones = (np.full((2, 6), i, np.int32) for i in (0, 1))
    absent = tiny.logits(one, params, rows)
    first = tiny.logits(one, params, rows | {"token_types": zeros})
    second = tiny.logits(one, params, rows | {"token_types": ones})
    np.testing.assert_allclose(first, absent, atol=1e-5)
    assert np.abs(second - absent).max() > 1e-2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gathered_positions_have_the_logits_of_the_whole_row(architecture):
    one = _heads(architecture)
    params, rows = tiny.draw(one), tiny.batch(7, 5, architecture=architecture)
    at = np.array([[6, 0, 3], [4, 7, 7]], np.int32)  # 7 = T: unused
    got = tiny.logits(one, params, rows | {"at": at})
    full = tiny.logits(one, params, rows)
    np.testing.assert_allclose(got[0], full[0, at[0]], atol=1e-5)
    np.testing.assert_allclose(got[1, 0], full[1, 4], atol=1e-5)
    np.testing.assert_array_equal(got[1, 1:], 0)


@pytest.mark.parametrize("head, wide", [("classify", 3), ("tag", 3), ("span", 2)])
def test_heads_have_their_number_of_logits_in_float32(head, wide):
    changes = {"pooler": True, "dtype": "bfloat16"}
    one = tiny.model("encoder", head=head, classes=3, **changes)
    got = tiny.apply(one)(tiny.draw(one), tiny.batch(5, 4))
    assert got.shape == (2, 5, wide) and got.dtype == jnp.float32
    assert ("pooler" in tiny.shapes(one)["top"]) == (head == "classify")


def _slopes(one, rows, params):
    """Return the logits' sum of squares and its gradient."""

    def loss(p):
        return jnp.mean(one.apply(p, rows)[:, :4] ** 2)

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scanned_layers_equal_layers_one_by_one(architecture):
    changes = {"positions": {"kind": "rotary", "base": (1e4, 1e3)}, "layers": 3}
    one = tiny.model(architecture, attention={"window": (2, 0)}, **changes)
    params, rows = tiny.draw(one), tiny.batch(7, 5, architecture=architecture)
    scanned = tiny.replace(one, scan_layers=True)
    stacked = layout.stack_layers(params)
    same = jax.tree.map(lambda a, b: a.shape == b.shape, stacked, tiny.shapes(scanned))
    assert all(jax.tree.leaves(same))
    loss, slope = _slopes(one, rows, params)
    loss_scanned, slope_scanned = _slopes(scanned, rows, stacked)
    np.testing.assert_allclose(loss, loss_scanned, rtol=1e-6)
    wanted = layout.stack_layers(slope)
    for a, b in zip(jax.tree.leaves(slope_scanned), jax.tree.leaves(wanted)):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_stacking_layers_and_unstacking_them_gives_the_same_bits():
    one = tiny.model("encoder_decoder", layers=12, decoder_layers=3)
    params = tiny.draw(one)
    stacked = layout.stack_layers(params)
    assert set(stacked["encoder"]) == {"inputs", "layers", "norm"} - {"inputs"}
    assert stacked["encoder"]["layers"]["mlp"]["up"].shape == (12, 32, 48)
    back = layout.unstack_layers(stacked)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("remat", ["full", "dots"])
@pytest.mark.parametrize("scan", [False, True])
def test_recomputation_changes_neither_loss_nor_gradient(remat, scan):
    one = tiny.model(attention={"window": (3,)}, scan_layers=scan)
    params, rows = tiny.draw(one), tiny.batch(7, 5)
    loss, slope = _slopes(one, rows, params)
    again, slope_again = _slopes(tiny.replace(one, remat=remat), rows, params)
    np.testing.assert_allclose(loss, again, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(slope_again)):
        np.testing.assert_allclose(a, b, atol=1e-4)


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
    one = _heads(architecture)
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


def _part(name, **values):
    return {name: values}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"width": 30}, "width=30 is not divisible by attention.heads=4"),
        (_part("attention", kv_heads=3), "heads=4 is not divisible by kv_heads=3"),
        (_part("attention", heads=0), "heads"),
        (_part("positions", kind="rotery"), "did you mean 'rotary'"),
        (_part("positions", scaling="yarm"), "did you mean 'yarn'"),
        (_part("norm", kind="layr"), "did you mean 'layer'"),
        (_part("norm", at="prre"), "did you mean 'pre'"),
        (_part("attention", qk_norm="heads"), "did you mean 'head'"),
        (_part("attention", implementation="cudn"), "did you mean 'cudnn'"),
        ({"activation": "glu"}, "did you mean"),
        ({"remat": "ful"}, "did you mean 'full'"),
        ({"dtype": "float16"}, "float32, bfloat16"),
        ({"layers": 0}, "layers=0 must be at least 1"),
        ({"width": 12}, "even head dim"),
        ({"shared_layers": True, "scan_layers": True}, "exclude"),
        ({"dropout": 1.5}, "dropout"),
        (_part("positions", fraction=1.5), "fraction"),
        (
            {"attention": {"implementation": "cudnn"}, "positions": {"kind": "t5"}},
            "neither soft_cap nor position biases",
        ),
        (_part("attention", implementation="cudnn"), "bfloat16"),
    ],
)
def test_impossible_shapes_are_refused_with_a_sentence(changes, said):
    with pytest.raises(ValueError, match=said) as raised:
        tiny.config(**changes)
    assert len(str(raised.value).split()) >= 4 and "\n" not in str(raised.value)


def test_an_unknown_architecture_or_head_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="decoder"):
        models.Model("decodr", configs.TransformerConfig())
    with pytest.raises(ValueError, match="classify"):
        models.Model("encoder", configs.TransformerConfig(), "clasify")
