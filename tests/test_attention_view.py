"""Attention weights as the model uses them, and how they are shown."""

import dataclasses
import functools
import re

import checkpoints
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs
import test_reference
import tiny
import vectors_peer
from flax import linen as nn

from lmtasks.inspection import attention
from lmtasks.inspection import attention_html
from lmtasks.inspection import attention_text
from lmtasks.layers import attention as layers
from lmtasks.models import layout
from lmtasks.models import transformer

SINGLE = ("encoder", "decoder", "encoder_decoder")


def at_row(batch, i):
    """Return one row of a batch."""
    return {key: x[i : i + 1] for key, x in batch.items()}


# The weights.


@functools.cache
def recorded():
    """Return what transformers computed for the tiny checkpoints."""
    with np.load(vectors_peer.FIXTURE) as found:
        return {key: found[key] for key in found.files}


def compare(name, wanted, folder):
    """Assert that the weights of a case are those recorded, on both its ragged rows."""
    _, model, params = test_reference.read(test_reference.write(name, folder))
    batch = test_reference.batch_of(name, model)
    for i in range(2):
        found = attention.collect(model, params, at_row(batch, i))
        for key, theirs in wanted.items():
            side = key.partition("/")[2]
            side = model.architecture if side == "own" else side
            ours = [layer for layer in found if layer.side == side]
            assert [x.number for x in ours] == list(range(len(theirs)))
            prefix = "source_" if side == "encoder" and "source" in batch else ""
            reads = batch[f"{prefix}positions"][i] >= 0
            ours = np.stack([x.weights for x in ours])[:, :, reads]
            np.testing.assert_allclose(ours, theirs[:, i][:, :, reads], atol=2e-5)


@pytest.mark.parametrize("name", vectors_peer.CASES)
def test_weights_are_those_of_the_reference(name, tmp_path):
    of = {k: x for k, x in recorded().items() if k.startswith(f"{name}/")}
    assert of
    compare(name, of, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", vectors_peer.CASES)
def test_weights_are_those_that_transformers_computes(name, tmp_path):
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    compare(name, vectors_peer.attentions(name), tmp_path)


@pytest.mark.parametrize("architecture", SINGLE)
def test_rows_are_distributions_over_what_they_see(architecture):
    model = tiny.usual(architecture)
    batch = tiny.batch(7, 4, architecture=architecture)
    for i, length in enumerate((7, 4)):
        found = attention.collect(model, tiny.draw(model), at_row(batch, i))
        sides = {layer.side for layer in found}
        both = architecture == "encoder_decoder"
        assert sides == ({"encoder", "decoder", "cross"} if both else {architecture})
        for layer in found:
            sums = layer.weights.sum(axis=-1)
            reads = layer.mask.any(axis=-1)
            np.testing.assert_allclose(sums[:, reads], 1, atol=1e-6)
            assert (sums[:, ~reads] == 0).all()
            assert (layer.weights[:, ~layer.mask] == 0).all()
            assert (layer.weights[:, layer.mask] > 0).all()
            if layer.side != "encoder" or not both:
                assert reads.tolist() == [True] * length + [False] * (7 - length)


def test_the_masks_are_those_of_who_sees_whom():
    model = tiny.model(attention={"window": (0, 2)})
    batch = tiny.batch(5) | {"segments": np.array([[1, 1, 1, 2, 2]], np.int32)}
    batch["positions"] = np.array([[0, 1, 2, 0, 1]], np.int32)
    first, second = attention.collect(model, tiny.draw(model), batch)
    full = "x.... xx... xxx.. ...x. ...xx"
    near = "x.... xx... .xx.. ...x. ...xx"
    for layer, said in ((first, full), (second, near)):
        wanted = [[c == "x" for c in row] for row in said.split()]
        assert layer.mask.tolist() == wanted


def test_the_weights_times_the_values_are_the_output_of_the_layer():
    cfg = tiny.config(
        attention={"heads": 4, "kv_heads": 2, "bias": True, "out_bias": True}
    )
    module = layers.Attention(cfg)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 6, cfg.width)), jnp.float32)
    positions = jnp.asarray([[*range(6)], [0, 1, 2, 3, -1, -1]])
    sight = layers.Visibility(positions, positions, causal=True)
    layer = transformer.Layer()
    params = nn.unbox(module.init(jax.random.key(0), x, sight, layer=layer))["params"]
    params = {k: jnp.asarray(rng.normal(size=p.shape)) for k, p in params.items()}
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    (out, kv), found = module.apply(
        {"params": params}, x, sight, layer=layer, mutable=["intermediates"]
    )
    (weights,) = found["intermediates"]["weights"]
    values = jnp.repeat(kv.values, 2, axis=1)  # a group of two heads shares them
    mixed = jnp.einsum("BNTS,BNSH->BTNH", weights, values)
    again = jnp.einsum("BTNH,NHD->BTD", mixed, params["out"]) + params["out_bias"]
    np.testing.assert_allclose(again, out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", SINGLE)
def test_asking_for_weights_changes_no_logit(architecture):
    model = tiny.usual(architecture)
    params = tiny.draw(model)
    batch = tiny.batch(7, 4, architecture=architecture)
    asked = jax.jit(
        lambda p, b: model.module().apply({"params": p}, b, mutable=["intermediates"])
    )
    logits, found = asked(params, batch)
    assert found["intermediates"]
    assert np.array_equal(tiny.logits(model, params, batch), logits)


def test_not_asking_for_weights_computes_none():
    model = tiny.usual("decoder")
    params, batch = tiny.draw(model), tiny.batch(7)

    def divisions(mutable):
        run = functools.partial(model.module().apply, mutable=mutable)
        program = str(jax.make_jaxpr(run)({"params": params}, batch))
        return len(re.findall(r"f32\[1,4,1,7,7\] = div", program))

    assert divisions(False) == 0
    assert divisions(["intermediates"]) == model.cfg.layers


def test_fresh_parameters_hold_no_weights_of_attention():
    boxed = tiny.usual("encoder").module().init(jax.random.key(0), tiny.batch(3))
    assert boxed.keys() == {"params"}


def test_a_scanned_model_shows_what_its_layers_do():
    model = tiny.model("encoder", positions={"kind": "learned"})
    params, batch = tiny.draw(model), tiny.batch(5)
    scanned = tiny.replace(model, scan_layers=True, remat="full")
    stacked = layout.stack_layers(jax.tree.map(jnp.asarray, params))
    unrolled = layout.unstack_layers(stacked)
    plain = attention.collect(model, params, batch)
    found = attention.collect(scanned.for_decoding(), unrolled, batch)
    for a, b in zip(plain, found, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, atol=1e-6)


def test_a_model_of_the_fused_kernel_is_looked_at_without_it():
    plain = tiny.model(dtype="bfloat16")
    fused = dataclasses.replace(plain.cfg.attention, implementation="cudnn")
    model = tiny.replace(plain, attention=fused)
    found = attention.collect(model, tiny.draw(plain), tiny.batch(4))
    np.testing.assert_allclose(found[0].weights.sum(-1), 1, atol=1e-2)


def test_attention_that_does_not_tell_its_weights_is_named(monkeypatch):
    monkeypatch.setattr(layers, "teller", lambda *_: None)
    model = tiny.model("encoder", width=16)
    with pytest.raises(ValueError, match="positions.kind='rotary'. does not tell"):
        attention.collect(model, tiny.draw(model), tiny.batch(3))


# Which row is looked at.


loaded = functools.cache(runs.untrained)


def pieces_of(one, row, key="tokens"):
    """Return the readable pieces of a row, joined."""
    return " ".join(one.run.tokenizer.piece(int(i)) for i in row[key])


def test_an_encoder_reads_a_text_or_a_pair_as_in_training():
    one = loaded("toy_labelled", "encoder")
    row = attention.row_of(one.run, "ab", "c")
    assert pieces_of(one, row) == "<cls> a b <sep> c <sep>"
    picture = attention.look(one, row)
    assert picture.sides == ["encoder"] and len(picture.layers) == 2
    assert picture.queries["encoder"] == picture.keys["encoder"]
    assert picture.keys["encoder"] == ("<cls>", "a", "b", "<sep>", "c", "<sep>")


def test_a_decoder_of_label_words_shows_its_prompt_and_all_labels():
    one = loaded("toy_labelled", "decoder")
    row = attention.row_of(one.run, "ab")
    picture = attention.look(one, row)
    mask = picture.layers[0].mask
    segments = row["segments"]
    assert set(segments.tolist()) == {0, 1, 2}
    assert not mask[segments == 2][:, segments == 1].any()
    assert mask[segments == 2][:, segments == 0].all()


def test_a_decoder_reads_a_text_from_its_beginning():
    one = loaded("toy_text", "decoder")
    assert pieces_of(one, attention.row_of(one.run, "ab")) == "<bos> a b"
    row = attention.row_of(one.run, "ab", target="c")
    assert pieces_of(one, row).startswith("<bos> a b")
    assert row["weights"].sum() == 3  # the space, c and the end


def test_a_pair_to_be_embedded_is_two_texts_that_do_not_see_each_other():
    one = loaded("toy_pair", "encoder")
    assert pieces_of(one, attention.row_of(one.run, "ab")) == "<cls> a b <sep>"
    row = attention.row_of(one.run, "ab", "c")
    mask = attention.look(one, row).layers[0].mask
    assert mask[:4, :4].all() and not mask[:4, 4:].any() and mask[4:, 4:].all()


def test_cross_attention_names_what_is_read_and_what_has_to_be_written():
    one = loaded("toy_turns", "encoder_decoder")
    assert attention.writes_alone(one.run)
    picture = attention.look(one, attention.row_of(one.run, "ab", target="xy"))
    assert picture.sides == ["encoder", "decoder", "cross"]
    assert picture.keys["cross"] == picture.keys["encoder"] == ("a", "b", "<eos>")
    assert picture.queries["decoder"] == ("<bos>", "x", "y")
    assert picture.queries["cross"] == ("<bos> > x", "x > y", "y > <eos>")
    assert picture.of("cross")[0].weights.shape == (2, 3, 3)


def test_trained_vectors_before_the_text_are_named():
    one = loaded("toy_text", "decoder", soft__kind="prompt", soft__length=2)
    picture = attention.look(one, attention.row_of(one.run, "ab"))
    names = ("<soft 0>", "<soft 1>", "<bos>", "a", "b")
    assert picture.queries["decoder"] == picture.keys["decoder"] == names
    one = loaded("toy_text", "decoder", soft__kind="prefix", soft__length=2)
    picture = attention.look(one, attention.row_of(one.run, "ab"))
    assert picture.queries["decoder"] == names[2:] and picture.keys["decoder"] == names


@pytest.mark.parametrize(
    ("cell", "given", "message"),
    [
        (("toy_text", "decoder"), {"pair": "c"}, "--pair: task='toy_text' .* one text"),
        (("toy_labelled", "encoder"), {"target": "c"}, "--target: .* writes no text"),
        (("toy_labelled", "decoder"), {"target": "c"}, "--target: .* writes no text"),
        (("toy_labelled", "encoder"), {"text": " "}, "no words to look at"),
        (("toy_text", "decoder"), {"text": " "}, "no words to look at"),
        (("toy_turns", "encoder_decoder"), {"text": ""}, "no words to look at"),
    ],
)
def test_what_a_run_has_no_place_for_is_refused(cell, given, message):
    with pytest.raises(ValueError, match=message):
        attention.row_of(loaded(*cell).run, **{"text": "ab"} | given)


# Text and page.


def picture(side="decoder", count=2):
    """Return a picture of two tokens and two layers, made by hand."""
    mask = np.array([[True, False], [True, True]])
    weights = np.array([[[1, 0], [0.25, 0.75]], [[1, 0], [0.81, 0.19]]], np.float32)
    found = tuple(
        attention.Layer(side, i, mask, np.roll(weights, i, axis=0))
        for i in range(count)
    )
    names = ("<bos>", "a\n")
    return attention.Picture(found, {side: names}, {side: names})


def test_the_text_shows_masks_and_shades_by_hand():
    said = attention_text.as_text(picture()).split("\n\n")[1:]
    assert said[0].splitlines() == [
        "decoder self-attention, who sees whom: all layers",
        "                       01",
        "  0 <bos>              x.",
        "  1 a\\n                xx",
    ]
    for number in (0, 1):
        assert said[1 + number].splitlines() == [
            f"decoder self-attention, layer {number}, mean of 2 heads",
            "                       01",
            "  0 <bos>              @",
            "  1 a\\n                ##",
        ]
    assert len(said) == 3


def test_one_layer_and_head_are_shown_in_percents():
    said = attention_text.as_text(picture(), layer=1, head=0)
    assert said.endswith(
        "decoder self-attention, layer 1, head 0\n"
        "                          0   1\n"
        "  0 <bos>               100\n"
        "  1 a\\n                  81  19"
    )
    every = attention_text.as_text(picture(), head="all")
    assert every.count("head 0") == every.count("head 1") == 2


def test_masks_that_differ_are_shown_each_with_its_layers():
    one = picture(count=3)
    full = dataclasses.replace(one.layers[1], mask=np.ones((2, 2), bool))
    one = dataclasses.replace(one, layers=(one.layers[0], full, one.layers[2]))
    said = attention_text.as_text(one)
    assert "who sees whom: layers 0, 2\n" in said
    assert "who sees whom: layers 1\n" in said


def test_the_alignment_names_where_each_target_piece_looks_most():
    one = picture("cross")
    names = {"cross": ("<bos> > x", "x > y")}
    one = dataclasses.replace(one, queries=names, keys={"cross": ("le", "chat")})
    said = attention_text.as_text(one)
    assert "columns: 0=le 1=chat" in said
    assert said.endswith(
        "  0 <bos> > x          ->   0 le 100%\n  1 x > y              ->   0 le 53%"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": 2}, "--layer=2: the model has the layers 0 to 1"),
        ({"head": 2}, "--head=2: the model has the heads 0 to 1"),
    ],
)
def test_a_layer_or_head_that_is_not_there_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        attention_text.as_text(picture(), **given)
    with pytest.raises(ValueError, match=message):
        attention_html.as_html(picture(), "title", **given)


def test_the_page_holds_a_cell_for_each_weight_and_needs_no_network():
    page = attention_html.as_html(picture(), "a <title>")
    assert "http" not in page and "<script" not in page and "a &lt;title&gt;" in page
    # A mask; two layers of the mean and two heads.
    assert page.count("<table>") == 1 + 2 * 3
    assert page.count("<td") == 4 * 7 and page.count('<td class="no">') == 7
    assert 'title="1 a\\n -&gt; 0 &lt;bos&gt;: 0.250"' in page
    assert page.count('class="h20"') == 6  # weights of 1
    levels = set(re.findall(r'class="(h\d+)"', page))
    assert all(f"td.{level} {{" in page for level in levels)


def test_a_page_of_too_many_cells_says_how_to_choose_fewer(monkeypatch):
    monkeypatch.setattr(attention_html, "MOST_CELLS", 20)
    with pytest.raises(ValueError, match="more than 20 cells; choose one --layer"):
        attention_html.as_html(picture(), "title")
    assert attention_html.as_html(picture(), "title", layer=0, head=1)


# The verb.


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return the work directory of a tiny classifier."""
    here = tmp_path_factory.mktemp("inspect")
    source = test_reference.write("bert-classify", here / "bert")
    checkpoints.write_vocab(source)
    argv = ("import", f"--from={source}", f"--workdir={here / 'run'}")
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        assert runs.main.main(list(argv)) == 0
        yield here / "run"


def test_the_verb_shows_attention_and_writes_the_page(work, tmp_path, capsys):
    page = tmp_path / "page.html"
    argv = ("inspect", "--attention", f"--workdir={work}", "--text=a b", "--pair=c")
    said = runs.good(capsys, *argv, f"--html={page}")
    assert "encoder self-attention, layer 1, mean of 3 heads" in said
    assert "  0 [CLS]" in said and "  4 c" in said and f"wrote {page}" in said
    text = page.read_text()
    assert text.count("<caption>head 2</caption>") == 2  # layers
    assert f"{work}, step 0: a b" in text


def test_the_verb_says_how_many_tokens_were_cut(work, capsys):
    argv = ("inspect", "--attention", f"--workdir={work}", f"--text={'a ' * 20}")
    assert "2 tokens of the text were cut" in runs.good(capsys, *argv)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--attention"], "give --text="),
        (["--attention", "--text=a", "--layer=x"], "--layer='x' takes a number from 0"),
        (["--attention", "--text=a", "--head=-1"], "--head='-1' takes a number"),
        (["--attention", "--text=a", "--words=a"], "two uses"),
        (["--text=a"], "--text belongs to --attention"),
        (["--picture=a.png"], "--picture belongs to --words"),
    ],
)
def test_flags_that_do_not_fit_are_refused(work, flags, message, capsys):
    said = runs.command(capsys, "inspect", f"--workdir={work}", *flags)
    assert said.code == 2 and message in said.err


def test_attention_needs_a_work_directory(capsys):
    said = runs.command(capsys, "inspect", "--config=own", "--attention", "--text=a")
    assert said.code == 2 and "give --workdir=" in said.err
