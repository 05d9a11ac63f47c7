"""What loss rows have and what a model's outputs are read as, objective by objective."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lmtasks import losses
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.data import templates
from lmtasks.decode import plan
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate

BYTE = tokenizers.train("byte", ())
EOS = BYTE.eos_id
LABELS = ("no", "yes", "yes, but")
CELLS = (
    ("clm", "decoder"),
    ("generate", "decoder"),
    ("generate", "encoder_decoder"),
    ("classify", "encoder"),
    ("classify", "decoder"),
    ("classify", "encoder_decoder"),
)
each_cell = pytest.mark.parametrize(("name", "architecture"), CELLS)
# What each architecture reads positions by, and what else it has.
SHAPES = {
    "encoder": {
        "positions": {"kind": "learned", "size": 96},
        "token_types": 2,
        "pooler": True,
        "norm": {"kind": "layer", "at": "post"},
    },
    "decoder": {"gated": True, "activation": "silu"},
    "encoder_decoder": {"positions": {"kind": "t5"}, "activation": "relu"},
}


def ids(text):
    """Return the bytes of a text as ids."""
    return BYTE.encode(text)


def asked(prompt, *reply):
    """Return a question with its answer, if any."""
    said = [examples.Turn("user", prompt)]
    said += [examples.Turn("assistant", text) for text in reply]
    return examples.Turns(tuple(said))


def setting(architecture="decoder", **changes):
    """Return a setting with room for 40 tokens on either side."""
    defaults = {"length": 40, "source_length": 40, "labels": LABELS}
    return base.Setting(architecture, **defaults | changes)


def make(name, architecture, **changes):
    """Return an objective."""
    one = setting(architecture, **changes)
    if name == "classify":
        return classify.make(one, "sum")
    return {"clm": clm.Clm, "generate": generate.Generate}[name](one)


def model(objective, **changes):
    """Return a tiny model with the objective's head."""
    architecture = objective.setting.architecture
    # One layer shows whatever leaks from row to row, and compiles fast.
    shape = SHAPES[architecture] | {"vocab": BYTE.size, "layers": 1} | changes
    return tiny.model(
        architecture, head=objective.head, classes=objective.classes, **shape
    )


def some(name, count=7):
    """Return examples of several lengths for an objective."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abc "), n)) + "." for n in range(1, count + 1)]
    if name == "clm":
        return [examples.Text(word * 3) for word in words]
    if name == "generate":
        return [asked(word, word[::-1]) for word in words]
    return [
        examples.Labelled(word, LABELS[i % 3], word[:2] if i % 2 else None)
        for i, word in enumerate(words)
    ]


def pieces(objective, given, tokenizer=BYTE, query=False):
    """Return the rows of examples."""
    found = records.Records(given, "toy", "mark")
    return features.Pieces(found, lambda x: x, objective, tokenizer, query=query)


@functools.cache
def loss_of(objective, one):
    """Return the jitted loss of an objective on a model."""
    return jax.jit(lambda params, batch: objective.loss(one.apply, params, batch))


# Losses.


def same(one, other):
    """Assert that two dicts of sums agree to 1e-5 of their size."""
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=1e-5)


@each_cell
def test_packed_padded_and_separate_rows_have_the_same_loss(name, architecture):
    objective = make(name, architecture)
    one = model(objective)
    params, loss = tiny.draw(one), loss_of(objective, one)
    found = pieces(objective, some(name))
    rows = [p.features for p in found]
    source = 40 if architecture == "encoder_decoder" else 0
    alone = [loss(params, pack.stack([row], 40, source, 0)) for row in rows]
    separate = {
        key: np.sum([np.asarray(sums[key]) for sums in alone], axis=0)
        for key in alone[0]
    }
    most = int(found.weighted.max())
    same(loss(params, pack.stack(rows, 40, source, most)), separate)
    packed = pack.PackedRows(found, 80, 80)
    assert len(packed) < len(rows)
    joined = [packed.row(0, i) for i in range(len(packed))]
    batch = pack.stack(joined, 80, 2 * source, packed.weighted)
    same(loss(params, batch), separate)
    # Every place at once, without gathering.
    del batch["at"]
    same(loss(params, batch), separate)
    assert separate["loss"][1] == found.weighted.sum() > 0


@each_cell
def test_training_adds_smoothing_and_z_loss_and_evaluation_does_not(name, architecture):
    objective = make(name, architecture, label_smoothing=0.2, z_loss=0.1)
    plain = make(name, architecture)
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32)
    batch = {
        "targets": np.int32([[0, 1, 2], [4, 3, 1]]),
        "weights": np.float32([[1, 1, 0], [0, 1, 1]]),
    }

    def loss(objective, rng):
        return objective.loss(lambda *_: logits, None, batch, rng)["loss"]

    assert loss(objective, None) == loss(plain, None)
    z = jax.nn.logsumexp(logits, axis=-1)
    spread = z - logits.mean(axis=-1)
    nll = -jnp.take_along_axis(
        jax.nn.log_softmax(logits), batch["targets"][..., None], axis=-1
    )[..., 0]
    each = 0.8 * nll + 0.2 * spread + 0.1 * z**2
    expected = (each * batch["weights"]).sum()
    total, weight = loss(objective, jax.random.key(0))
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert weight == 4


def test_where_the_weight_is_zero_the_logits_may_be_anything():
    logits = jnp.float32([[[jnp.nan, 0], [0, 0]]])
    sums = losses.token_cross_entropy(logits, np.int32([[0, 1]]), np.float32([[0, 1]]))
    assert sums["loss"][0] == pytest.approx(math.log(2)) and sums["loss"][1] == 1


def test_gathered_values_are_those_of_their_places_and_else_the_fill():
    values = np.int32([[5, 6, 7], [8, 9, 10]])
    at = np.int32([[2, 3], [0, 2]])
    assert losses.gather_at(values, at).tolist() == [[7, 0], [8, 10]]
    assert losses.gather_at(values, None) is values


# Predictions.


@dataclasses.dataclass(frozen=True)
class Says:
    """A model that says the same of everything."""

    logits: tuple[float, ...]

    def apply(self, params, batch):
        shape = (*batch["at"].shape, len(self.logits))
        return jnp.broadcast_to(jnp.float32(self.logits), shape)


def test_a_head_gives_the_softmax_of_its_logits():
    labels = ("entailment", "neutral", "contradiction")
    head = make("classify", "encoder", labels=labels)
    batch = {"tokens": np.zeros((2, 4), np.int32)}
    said = head.predict(Says((-4.6, 6.2, -3.1)), None, batch)
    row = {"probabilities": said["probabilities"][0]}
    answer = head.answer([row], examples.Labelled("a"), BYTE)
    assert answer["label"] == "neutral"
    assert answer["score"] == pytest.approx(0.999888, abs=5e-7)
    assert answer["scores"]["entailment"] == pytest.approx(2.04e-5, rel=2e-3)
    assert answer["scores"]["contradiction"] == pytest.approx(9.14e-5, rel=2e-3)
    assert sum(answer["scores"].values()) == pytest.approx(1)


SOURCE = ("source", "source_positions")
POSITIONS = ("rotary", "learned", "sinusoidal", "t5", "alibi", "none")


def apart(objective, one, params, rows):
    """Return the log-probability of each label in a row of its own, [rows, labels]."""
    alone = []
    for row in rows:
        prompt = row["segments"] == 0
        for k in range(len(LABELS)):
            mine = row["segments"] == k + 1
            line = {
                key: np.concatenate([row[key][prompt], row[key][mine]])
                for key in ("tokens", "targets", "weights")
            }
            line["positions"] = np.arange(len(line["tokens"]))
            line |= {key: row[key] for key in row if key in SOURCE}
            alone.append(line)
    source = 16 if "source" in rows[0] else 0
    batch = pack.stack(alone, 48, source, 0)
    log_p = jax.nn.log_softmax(tiny.logits(one, params, batch))
    picked = np.take_along_axis(log_p, batch["targets"][..., None], axis=-1)[..., 0]
    return (picked * batch["weights"]).sum(axis=1).reshape(len(rows), len(LABELS))


def together(objective, one, params, given):
    """Return (what `predict` says of each label, the same by rows of their own)."""
    rows = [objective.query(example, BYTE)[0] for example in given]
    for row in rows:
        row.pop("cut")
    source = 16 if "source" in rows[0] else 0
    batch = pack.stack(rows, 48, source, max(int(r["weights"].sum()) for r in rows))
    predict = jax.jit(functools.partial(objective.predict, one))
    said = predict(params, batch)["log_probs"]
    return said, apart(objective, one, params, rows)


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_labels_in_one_row_score_as_each_in_a_row_of_its_own(architecture, kind):
    objective = make("classify", architecture, prompt="{text}:")
    one = model(objective, positions={"kind": kind, "size": 64})
    given = [examples.Labelled("ab"), examples.Labelled("abc cba a")]
    said, expected = together(objective, one, tiny.draw(one), given)
    np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-5)


def test_a_window_counts_positions_not_slots_when_labels_share_a_row():
    objective = make("classify", "decoder", prompt="{text}:")
    one = model(objective, attention={"window": (4,)})
    given = [examples.Labelled("abcab")]
    said, expected = together(objective, one, tiny.draw(one), given)
    np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-5)


LOG_PROBS = np.log([0.02, 0.01, 0.04])


def words_answer(norm, *log_probs):
    """Return the answer of label words under a norm."""
    words = classify.ClassifyWords(setting(), norm)
    rows = [{"log_probs": np.float32(one)} for one in log_probs]
    return words.answer(rows, examples.Labelled("a"), BYTE)


def test_label_words_say_their_probabilities_their_mass_and_their_shares():
    answer = words_answer("sum", LOG_PROBS)
    assert answer["label"] == "yes, but"
    assert answer["probabilities"]["no"] == pytest.approx(0.02)
    assert answer["mass"] == pytest.approx(0.07)
    assert answer["score"] == pytest.approx(4 / 7)
    assert answer["scores"] == pytest.approx(
        {"no": 2 / 7, "yes": 1 / 7, "yes, but": 4 / 7}
    )


@pytest.mark.parametrize(
    ("norm", "sizes"), [("tokens", (3, 5, 9)), ("bytes", (2, 3, 8)), ("sum", (1, 1, 1))]
)
def test_longer_labels_are_not_worse_for_being_longer(norm, sizes):
    answer = words_answer(norm, LOG_PROBS)
    weights = np.exp(LOG_PROBS / np.array(sizes))
    expected = dict(zip(LABELS, weights / weights.sum(), strict=True))
    assert answer["scores"] == pytest.approx(expected, rel=1e-5)
    assert answer["label"] == max(expected, key=expected.get)
    # What the model said stays what it said.
    assert answer["mass"] == pytest.approx(0.07)


def test_bytes_of_a_label_are_those_of_its_utf8():
    words = classify.ClassifyWords(setting(labels=("n\u00e9e", "nay")), "bytes")
    rows = [{"log_probs": np.float32([-4, -3])}]
    scores = words.answer(rows, examples.Labelled("a"), BYTE)["scores"]
    # Four bytes against three: both have one nat a byte.
    assert scores == pytest.approx({"n\u00e9e": 0.5, "nay": 0.5})


def test_pmi_divides_by_what_the_label_has_without_the_text():
    answer = words_answer("pmi", LOG_PROBS, np.log([0.01, 0.001, 0.04]))
    assert answer["label"] == "yes"
    expected = {"no": 2 / 13, "yes": 10 / 13, "yes, but": 1 / 13}
    assert answer["scores"] == pytest.approx(expected, rel=1e-5)


def test_very_unlikely_labels_still_share_the_mass():
    answer = words_answer("sum", np.array([-900.0, -901.0, -2000.0]))
    assert answer["score"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert answer["mass"] == 0


def test_an_unknown_norm_names_the_known_ones():
    with pytest.raises(ValueError, match="sum, tokens, bytes, pmi"):
        classify.ClassifyWords(setting(), "mean")


@pytest.mark.parametrize("name", ("clm", "generate"))
def test_a_uniform_choice_among_ten_has_perplexity_ten(name):
    sums = losses.token_cross_entropy(
        jnp.zeros((1, 6, 10)),
        np.int32([[0, 3, 9, 1, 2, 5]]),
        np.ones((1, 6), np.float32),
    )
    totals = {key: tuple(map(float, pair)) for key, pair in sums.items()}
    report = make(name, "decoder").report(totals, [examples.Text("a bc")])
    assert report["perplexity"] == pytest.approx(10, rel=1e-6)


def test_bits_are_counted_per_byte_and_nats_per_word():
    given = [examples.Text("one two"), examples.Text("caf\u00e9")]
    totals = {"loss": (24 * math.log(2), 13.0), "accuracy": (3.0, 13.0)}
    report = make("clm", "decoder").report(totals, given)
    assert report["bits_per_byte"] == pytest.approx(24 / (7 + 5))
    assert report["word_perplexity"] == pytest.approx(2 ** (24 / 3))
    assert report["perplexity"] == pytest.approx(2 ** (24 / 13))


def test_a_hopeless_model_has_infinite_perplexity_instead_of_an_error():
    totals = {"loss": (1e6, 10.0)}
    for name in ("clm", "generate"):
        report = make(name, "decoder").report(totals, [examples.Text("a")])
        assert report["perplexity"] == math.inf


def test_a_uniform_model_needs_its_alphabets_bits_for_every_byte_and_end():
    writer = make("clm", "decoder")
    one = model(writer)
    params = jax.tree.map(np.zeros_like, tiny.draw(one))
    given = [examples.Text("abc"), examples.Text("d" * 70)]
    rows = [p.features for p in pieces(writer, given)]
    sums = loss_of(writer, one)(params, pack.stack(rows, 40, 0, 0))
    totals = {key: tuple(map(float, pair)) for key, pair in sums.items()}
    assert totals["loss"][1] == 73 + 2
    report = writer.report(totals, given)
    bits = 75 * math.log2(BYTE.size) / 73
    assert report["bits_per_byte"] == pytest.approx(bits, rel=1e-5)


def test_a_reply_is_read_without_the_space_that_set_it_off():
    writer = make("generate", "decoder")
    written = np.array([*ids(" Yes, sir"), EOS, -1, -1])
    answer = writer.answer([{"written": [written], "scores": [0.0]}], asked("a"), BYTE)
    assert answer == {"text": "Yes, sir"}
    row = {"written": [written], "scores": [0.0]}
    going_on = make("clm", "decoder").answer([row], None, BYTE)
    assert going_on == {"text": " Yes, sir"}


def repeat(params, batch, rng=None):
    """Return logits that say: the next token is the one you read."""
    return 9.0 * jax.nn.one_hot(batch["tokens"], BYTE.size)


def test_a_loss_is_that_of_the_next_token_and_no_other():
    writer = make("generate", "decoder", template=templates.Template(ends=False))
    row = writer.featurize(asked("a", "   "), BYTE)[0]
    row.pop("cut")
    sums = writer.loss(repeat, None, pack.stack([row], 12, 0, 0))
    # Three spaces as they are: the first follows "a", the others a space.
    assert float(sums["accuracy"][0]) == 2 and float(sums["accuracy"][1]) == 3


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_what_is_written_does_not_depend_on_the_neighbours(architecture):
    decode = plan.Decode(max_tokens=5, temperature=1.0, stop_ids=(EOS,))
    writer = generate.Generate(setting(architecture), decode)
    one = model(writer)
    params = tiny.draw(one)
    rows = [writer.query(asked(text), BYTE)[0] for text in ("ab", "abcabc", "c")]
    for row in rows:
        row.pop("cut")
    source = 16 if architecture == "encoder_decoder" else 0
    batch = pack.stack(rows, 16, source, 0) | {"example": np.arange(3)}
    write = jax.jit(functools.partial(writer.predict, one))
    said = write(params, batch, jax.random.key(0))["written"]
    turned = {key: value[::-1] for key, value in batch.items()}
    again = write(params, turned, jax.random.key(0))["written"]
    np.testing.assert_array_equal(said, again[::-1])
