"""LSTM layers: packed, cached, in lanes, behind one context vector."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs
import tiny
from flax import linen as nn

from lmtasks.cli import main
from lmtasks.layers import attention
from lmtasks.layers import pooling
from lmtasks.layers import recurrent
from lmtasks.models import cache as caches
from lmtasks.models import flops
from lmtasks.models import layout

WHOLE = ("decoder", "encoder_decoder")
PLAIN = {"positions": {"kind": "none"}}


def lstm(architecture="decoder", **changes):
    """Return a tiny model of LSTM layers."""
    return tiny.model(architecture, block="lstm", positions={"kind": "none"}, **changes)


def test_a_layer_is_flax_s_lstm_with_its_forget_gate_opened_by_one():
    cfg = tiny.config(block="lstm")
    rows = tiny.batch(7, 7)
    x = np.random.default_rng(0).normal(size=(2, 7, 32)).astype(np.float32)
    sight = attention.Visibility(rows["positions"], rows["positions"], causal=True)
    layer = recurrent.Lstm(cfg)
    params = nn.unbox(layer.init(jax.random.key(0), x, sight))["params"]["forward"]
    params["bias"] = jax.random.normal(jax.random.key(1), (4, 32))
    got, _ = layer.apply({"params": {"forward": params}}, x, sight)
    theirs = {}
    for i, gate in enumerate("ifgo"):
        theirs[f"i{gate}"] = {"kernel": params["input"][:, i]}
        bias = params["bias"][i] + (gate == "f")
        theirs[f"h{gate}"] = {"kernel": params["hidden"][:, i], "bias": bias}
    reader = nn.RNN(nn.LSTMCell(32))
    wanted = reader.apply({"params": {"cell": theirs}}, x)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_the_order_of_a_row_is_that_of_the_docstring():
    positions, segments = np.array([[0, 1, 2, 3, 2, 3, -1]]), [[0, 0, 1, 1, 2, 2, 0]]
    order = recurrent.order_of(positions, np.array(segments))
    np.testing.assert_array_equal(order.fresh[0], [1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(order.branch[0], [0, 0, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(order.root[0], [1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(order.hold[0], [0, 0, 0, 0, 0, 0, 1])
    places = np.array([[0, 1, 2, 0, 1, -1]])
    back = recurrent.backward_order(places, None)
    np.testing.assert_array_equal(back.fresh[0, :5], [0, 0, 1, 0, 1])
    np.testing.assert_array_equal(pooling.last_only(places), [[-1, -1, 2, -1, 1, -1]])


@pytest.mark.parametrize("context", ["attention", "vector"])
def test_one_context_vector_is_all_a_decoder_sees_of_its_encoder(context):
    one = tiny.model("encoder_decoder", context=context)
    rows = tiny.batch(4, 3, architecture="encoder_decoder", sources=[5, 7])
    apply = functools.partial(one.module().apply, mutable=["intermediates"])
    _, kept = apply({"params": tiny.draw(one)}, rows)
    weights = kept["intermediates"]["decoder"]["layers_0"]["cross"]["weights"][0]
    seen = (np.asarray(weights) > 0).sum(-1)  # [B, N, T]
    wanted = [1, 1] if context == "vector" else [5, 7]
    assert [seen[0, 0, 0], seen[1, 0, 0]] == wanted


def _step_by_step(one, params, rows, prompt):
    """Return the logits of rows read as a prompt and then a token at a time."""
    cut = {k: v if "source" in k else v[:, :prompt] for k, v in rows.items()}
    first, cache = tiny.start(one)(params, cut, rows["tokens"].shape[1])
    found = [first]
    for n in range(prompt, rows["tokens"].shape[1]):
        slot = np.full(len(first), n, np.int32)
        token, place = (rows[k][:, n : n + 1] for k in ("tokens", "positions"))
        logits, cache = tiny.step(one)(params, token, place, cache, slot)
        found.append(logits[:, 0])
    return np.stack(found, axis=1), cache


@pytest.mark.parametrize("context", ["attention", "vector"])
@pytest.mark.parametrize("architecture", WHOLE)
def test_cached_steps_equal_the_full_forward_pass(architecture, context):
    changes = {"context": context} if architecture == "encoder_decoder" else {}
    one = lstm(architecture, **changes)
    params = tiny.draw(one)
    rows = tiny.batch(8, 5, architecture=architecture, sources=[4, 7])
    full = tiny.logits(one, params, rows)
    got, _ = _step_by_step(one, params, rows, 3)
    np.testing.assert_allclose(got[0], full[0, 2:], atol=2e-5)
    np.testing.assert_allclose(got[1, :3], full[1, 2:5], atol=2e-5)


def test_chunks_go_on_where_the_text_was_rewound_to():
    one = lstm()
    params, rows = tiny.draw(one), tiny.batch(8)
    full = tiny.logits(one, params, rows)
    _, cache = _step_by_step(one, params, rows, 4)
    cache = caches.rewind(cache, jnp.int32(3))
    piece = slice(3, 8)
    tokens, places = rows["tokens"][:, piece], rows["positions"][:, piece]
    got, _ = tiny.step(one)(params, tokens, places, cache, np.array([3], np.int32))
    np.testing.assert_allclose(got, full[:, piece], atol=2e-5)


def test_lanes_of_one_row_go_on_each_from_its_own_past():
    """A prompt of 2, two lanes of 2: slots 0 1 | 2 3 | 4 5."""
    one = lstm()
    params, rows = tiny.draw(one), tiny.batch(4, 4)
    rows["tokens"][1, :2] = rows["tokens"][0, :2]  # the same prompt
    full = tiny.logits(one, params, rows)
    prompt = {k: v[:1, :2] for k, v in rows.items()}
    _, cache = tiny.start(one)(params, prompt, 6)
    for n in range(2):
        sees = np.zeros((1, 2, 6), bool)
        sees[0, :, :2] = True
        for lane in range(2):
            sees[0, lane, [2 + 2 * k + lane for k in range(n + 1)]] = True
        tokens, places = rows["tokens"][:, 2 + n], np.full((1, 2), 2 + n, np.int32)
        slot = np.array([2 + 2 * n], np.int32)
        got, cache = tiny.step(one)(params, tokens[None], places, cache, slot, sees)
        np.testing.assert_allclose(got[0], full[:, 2 + n], atol=2e-5)


def test_stacked_layers_are_the_same_model():
    one = lstm("encoder", head="classify", classes=3)
    params, rows = tiny.draw(one), tiny.batch(6, 4)
    stacked = tiny.replace(one, scan_layers=True, remat="full")
    got = tiny.logits(stacked, layout.stack_layers(params), rows)
    np.testing.assert_allclose(got, tiny.logits(one, params, rows), atol=1e-5)


@pytest.mark.parametrize("architecture", ["encoder", *WHOLE])
def test_products_are_counted_as_the_weights_that_each_token_meets(architecture):
    one = lstm(architecture, head="lm", vocab=32, tied=False)
    sizes = jax.tree_util.tree_flatten_with_path(tiny.shapes(one))[0]
    met = sum(
        math.prod(x.shape)
        for path, x in sizes
        if path[-1].key in ("input", "hidden", "query", "key", "value", "out")
    )
    both = architecture == "encoder_decoder"
    sides = {"sources": 10, "source_length": 10} if both else {}
    got = flops.forward(architecture, one.cfg, tokens=10, length=10, **sides)
    head, scores = 2 * 10 * 32 * 32, 2 * (4 * 10 * 10 * 32) if both else 0
    assert got == 2 * 10 * met + head + scores


@pytest.mark.parametrize(
    "architecture, changes, said",
    [
        ("decoder", {"block": "lsmt"}, "did you mean 'lstm'"),
        (
            "decoder",
            {"block": "lstm", "parallel": True},
            "parallel=True is of attention",
        ),
        ("encoder", {"block": "lstm", "width": 33} | PLAIN, "width=33 is odd"),
        ("encoder", {"block": "lstm", "positions": {"kind": "disentangled"}}, "kind="),
        ("decoder", {"context": "vector"}, "leave it unset"),
    ],
)
def test_what_an_lstm_cannot_be_is_refused(architecture, changes, said):
    with pytest.raises(ValueError, match=said):
        tiny.model(architecture, **{"attention": {"heads": 1}} | changes)


def test_a_prefix_that_sees_ahead_is_refused():
    one, rows = lstm(), tiny.batch(4)
    rows["prefix"] = np.array([[True, True, False, False]])
    with pytest.raises(ValueError, match="objective=clm"):
        one.apply(tiny.draw(one), rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of an encoder-decoder of LSTMs that writes."""
    root = tmp_path_factory.mktemp("lstm")
    for split, count in (("train", 40), ("validation", 10)):
        rows = [{"source": f"say {i}", "target": f"so {i}"} for i in range(count)]
        runs.write_jsonl(root / f"{split}.jsonl", rows)
    flags = runs.settings(
        model__block="lstm", data__dir=root, tokenizer__kind="byte", train__steps=8
    )
    spec = "--config=own:seq2seq,encoder_decoder"
    assert main.main(["train", spec, f"--workdir={root / 'work'}", *flags]) == 0
    return root / "work"


def test_one_field_makes_a_run_recurrent(trained):
    table = (trained / "params.txt").read_text()
    assert "lstm/backward" in table and "attn" not in table and "mlp" not in table
    losses = [row["loss"] for row in runs.rows(trained) if row["split"] == "train"]
    assert losses[-1] < losses[0]


def _written(capsys, work, source, *changes):
    """Return the texts of a prompt."""
    flags = [f"--config.decode.{change}" for change in changes]
    asked = ["predict", f"--workdir={work}", f"--input={source}", *flags]
    (line,) = runs.good(capsys, *asked).splitlines()
    row = json.loads(line)
    return row.get("texts") or [row["text"]]


def test_drafts_and_lanes_write_what_plain_steps_write(trained, tmp_path, capsys):
    source = tmp_path / "in.txt"
    source.write_text("say 3\n")
    (plain,) = _written(capsys, trained, source, "temperature=0")
    assert plain
    assert _written(capsys, trained, source, "method=lookup") == [plain]
    cold = ("temperature=1e-4", "texts=2")  # two texts of temperature 0 are refused
    assert _written(capsys, trained, source, *cold) == [plain, plain]


def test_there_is_no_attention_to_look_at(tmp_path, capsys):
    data, work = runs.data(tmp_path / "data"), tmp_path / "work"
    runs.good(capsys, *runs.classify(data, work, model__block="lstm", train__steps=1))
    ask = ["inspect", "--attention", f"--workdir={work}", "--text=a fine film"]
    said = runs.command(capsys, *ask)
    assert said.code == 2 and "no attention" in said.err


def test_no_checkpoint_of_transformers_holds_an_lstm(trained, tmp_path, capsys):
    out = tmp_path / "out"
    said = runs.command(capsys, "export", f"--workdir={trained}", f"--to={out}")
    assert said.code == 2 and "lstm" in said.err and not out.exists()
