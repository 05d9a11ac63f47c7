"""What examples become and what loss they have, objective by objective."""

import dataclasses
import functools
import math
import pathlib

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import strategies as st

from lmtasks import losses
from lmtasks import tokenizers
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.decode import sampling
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import clm
from lmtasks.objectives import generate

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "tokenizers"
BYTE = tokenizers.train("byte", ())
PAD, BOS, EOS = BYTE.pad_id, BYTE.bos_id, BYTE.eos_id
CLS, SEP = BYTE.cls_id, BYTE.sep_id
quickly = hypothesis.settings(max_examples=60, deadline=None)
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


def turn(role, text):
    """Return one turn, its role by its first letter."""
    names = {"s": "system", "u": "user", "a": "assistant"}
    return examples.Turn(names[role], text)


def asked(prompt, *reply):
    """Return a question with its answer, if any."""
    said = [turn("u", prompt), *(turn("a", text) for text in reply)]
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


def check(row, **expected):
    """Assert that a row's arrays are exactly these, and integers where they count."""
    for key, values in expected.items():
        assert row[key].tolist() == list(values), key
        assert row[key].dtype == (np.float32 if key == "weights" else np.int32), key


# Arrays, by hand.


def test_each_position_predicts_the_next_id():
    row = base.next_token_features([5, 6, 7, 8], [False, False, True, True])
    check(row, tokens=[5, 6, 7], targets=[6, 7, 8], weights=[0, 1, 1])
    check(row, positions=[0, 1, 2])


def test_ids_are_cut_from_either_end():
    assert base.cut_to([1, 2, 3], 3) == ([1, 2, 3], 0)
    assert base.cut_to([1, 2, 3], 2) == ([1, 2], 1)
    assert base.cut_to([1, 2, 3], 2, keep="end") == ([2, 3], 1)
    assert base.cut_to([], 2, keep="end") == ([], 0)


def test_plain_text_is_windows_whose_targets_go_on_from_the_last():
    writer = clm.Clm(setting(length=3))
    a, b, c, d, e = ids("abcde")
    first, second = writer.featurize(examples.Text("abcde"), BYTE)
    check(first, tokens=[BOS, a, b], targets=[a, b, c], weights=[1, 1, 1])
    check(second, tokens=[c, d, e], targets=[d, e, EOS], weights=[1, 1, 1])
    check(second, positions=[0, 1, 2])
    (only,) = writer.featurize(examples.Text("ab"), BYTE)
    check(only, tokens=[BOS, a, b], targets=[a, b, EOS])
    assert writer.featurize(examples.Text(""), BYTE) == []


@quickly
@hypothesis.given(text=st.text(max_size=40), length=st.integers(1, 9))
def test_evaluation_windows_score_each_token_exactly_once(text, length):
    writer = clm.Clm(setting(length=length))
    rows = writer.featurize(examples.Text(text), BYTE)
    said = [t for row in rows for t in row["targets"].tolist()]
    assert said == ([*ids(text), EOS] if text else [])
    assert all((row["weights"] == 1).all() for row in rows)
    read = [t for row in rows for t in row["tokens"].tolist()]
    assert read == ([BOS, *ids(text)] if text else [])


def bert(folder):
    """Return a vocabulary without beginning and end of a text, as BERT's."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz?.", *(f"##{c}" for c in "abcdefghij")]
    (folder / "vocab.txt").write_text("\n".join(names + letters) + "\n")
    return tokenizers.load(str(folder / "vocab.txt"))


def test_a_text_without_a_first_token_is_scored_from_its_second_on(tmp_path):
    tokenizer = bert(tmp_path)
    assert tokenizer.bos_id is None and tokenizer.eos_id is None
    writer = clm.Clm(setting(length=8))
    a, b, c = tokenizer.encode("a b c")
    (row,) = writer.featurize(examples.Text("a b c"), tokenizer)
    check(row, tokens=[a, b], targets=[b, c], weights=[1, 1])
    assert writer.featurize(examples.Text("a"), tokenizer) == []


def test_a_decoder_learns_the_answer_after_the_prompt():
    row = make("generate", "decoder").featurize(asked("ab", "c"), BYTE)[0]
    a, b, space, c = ids("ab c")
    check(
        row,
        tokens=[BOS, a, b, space, c],
        targets=[a, b, space, c, EOS],
        weights=[0, 0, 1, 1, 1],
        positions=range(5),
    )
    assert row["cut"] == 0 and "source" not in row


def test_a_decoder_learns_every_answer_of_a_conversation():
    talk = examples.Turns(
        (turn("s", "s"), turn("u", "a"), turn("a", "b"), turn("u", "c"), turn("a", "d"))
    )
    row = make("generate", "decoder").featurize(talk, BYTE)[0]
    s, line, a, space, b, c, d = ids("s\na bcd")
    check(
        row,
        tokens=[BOS, s, line, a, space, b, EOS, c, space, d],
        targets=[s, line, a, space, b, EOS, c, space, d, EOS],
        weights=[0, 0, 0, 1, 1, 1, 0, 1, 1, 1],
    )


def test_an_encoder_decoder_reads_the_prompt_and_learns_the_last_answer():
    talk = examples.Turns((turn("u", "a"), turn("a", "b"), turn("u", "c"), turn("a", "d")))
    row = make("generate", "encoder_decoder").featurize(talk, BYTE)[0]
    a, space, b, c, d = ids("a bcd")
    check(row, source=[a, space, b, EOS, c, EOS], source_positions=range(6))
    assert row["tokens"][0] == BOS and row["targets"][-1] == EOS
    assert row["targets"].tolist()[-2] == d and (row["weights"] == 1).all()
    assert row["tokens"].tolist()[1:] == row["targets"].tolist()[:-1]


def test_a_decoder_of_an_encoder_decoder_without_a_first_token_begins_with_pad(tmp_path):
    tokenizer = bert(tmp_path)
    writer = make("generate", "encoder_decoder")
    row = writer.featurize(asked("a", "b"), tokenizer)[0]
    assert row["tokens"][0] == tokenizer.pad_id
    assert row["targets"].tolist() == tokenizer.encode("b")


def test_an_unanswered_or_empty_prompt_gives_no_row():
    for architecture in ("decoder", "encoder_decoder"):
        writer = make("generate", architecture)
        assert writer.featurize(asked("ab"), BYTE) == []
        assert writer.featurize(asked(" \n", "ab"), BYTE) == []
        assert len(writer.query(asked("ab"), BYTE)) == 1


def test_a_conversation_that_ends_with_a_question_still_teaches_its_answers():
    talk = examples.Turns((turn("u", "a"), turn("a", "b"), turn("u", "bye")))
    row = make("generate", "decoder").featurize(talk, BYTE)[0]
    learned = row["targets"][row["weights"] > 0].tolist()
    assert learned == [*ids(" b"), EOS]


def test_a_conversation_the_assistant_opens_keeps_all_its_tokens(tmp_path):
    tokenizer = bert(tmp_path)
    talk = examples.Turns((turn("a", "hi"), turn("u", "a"), turn("a", "b")))
    row = make("generate", "decoder").featurize(talk, tokenizer)[0]
    whole, _ = chat.render(talk.turns, tokenizer, chat.Template(), bos=True)
    assert row["tokens"].tolist() == whole[:-1]
    assert row["targets"].tolist() == whole[1:] and row["weights"][-1] == 1


def test_an_empty_answer_that_nothing_ends_gives_no_row(tmp_path):
    assert make("generate", "decoder").featurize(asked("a", ""), bert(tmp_path)) == []


def test_an_empty_answer_is_learned_as_its_end():
    row = make("generate", "decoder").featurize(asked("a", ""), BYTE)[0]
    assert row["targets"][row["weights"] > 0].tolist() == [EOS]


def test_a_long_prompt_loses_its_beginning_and_keeps_its_answer():
    writer = make("generate", "decoder", length=8)
    row = writer.featurize(asked("abcdefghij", "xy"), BYTE)[0]
    # bos + 10 + " xy" + eos are 15 ids, one of which is only a target.
    assert row["cut"] == 15 - 9 and len(row["tokens"]) == 8
    assert BYTE.decode(row["tokens"]) == "fghij xy"
    learned = row["targets"][row["weights"] > 0]
    assert learned.tolist() == [*ids(" xy"), EOS]


def test_an_answer_longer_than_the_row_is_cut_at_its_end():
    writer = make("generate", "decoder", length=4)
    row = writer.featurize(asked("ab", "wxyz"), BYTE)[0]
    assert BYTE.decode(row["tokens"]) == "b wx"
    assert BYTE.decode(row["targets"]) == " wxy"
    assert row["weights"].tolist() == [1, 1, 1, 1] and row["cut"] == 9 - 5


def test_both_sides_of_an_encoder_decoder_are_cut_and_counted():
    writer = make("generate", "encoder_decoder", length=3, source_length=4)
    row = writer.featurize(asked("abcdef", "wxyz"), BYTE)[0]
    # The end of the source stands nearest to the answer.
    assert row["source"].tolist() == [*ids("def"), EOS]
    assert len(row["tokens"]) == 3 and row["tokens"][0] == BOS
    assert EOS not in row["targets"]
    whole = len(ids("abcdef")) + 1
    assert row["cut"] >= whole - 4 + 5 - 3


def test_a_question_keeps_the_end_of_a_long_prompt():
    writer = make("generate", "decoder", length=4)
    row = writer.query(asked("abcdefgh"), BYTE)[0]
    check(row, tokens=ids("efgh"), weights=[0, 0, 0, 0], positions=range(4))
    assert row["cut"] == 5


def test_a_class_is_a_target_at_the_first_token():
    row = make("classify", "encoder").featurize(examples.Labelled("ab", "yes"), BYTE)[0]
    a, b = ids("ab")
    check(
        row,
        tokens=[CLS, a, b, SEP],
        targets=[1, 0, 0, 0],
        weights=[1, 0, 0, 0],
        token_types=[0, 0, 0, 0],
        positions=range(4),
    )


def test_a_pair_is_two_texts_of_two_types():
    row = make("classify", "encoder").featurize(
        examples.Labelled("ab", "no", "c"), BYTE
    )[0]
    a, b, c = ids("abc")
    check(
        row,
        tokens=[CLS, a, b, SEP, c, SEP],
        token_types=[0, 0, 0, 0, 1, 1],
        weights=[1, 0, 0, 0, 0, 0],
    )
    row = make("classify", "encoder").query(examples.Labelled("a", None, ""), BYTE)[0]
    check(row, tokens=[CLS, a, SEP, SEP], token_types=[0, 0, 0, 1])


def test_bert_reads_a_pair_as_its_makers_wrote_it():
    path = SHARED / "bert-base-uncased"
    if not path.exists():
        pytest.skip("needs ../shared/tokenizers/bert-base-uncased")
    pair = examples.Labelled(
        "The event is scheduled for Tuesday.",
        "yes",
        "The event is on the weekend.",
    )
    row = make("classify", "encoder").featurize(pair, tokenizers.load(str(path)))[0]
    said = "101 1996 2724 2003 5115 2005 9857 1012 102"
    said += " 1996 2724 2003 2006 1996 5353 1012 102"
    check(row, tokens=map(int, said.split()), token_types=[0] * 9 + [1] * 8)


@quickly
@hypothesis.given(
    a=st.integers(1, 60), b=st.none() | st.integers(0, 60), length=st.integers(6, 40)
)
def test_the_longer_text_of_a_pair_is_cut_first(a, b, length):
    head = make("classify", "encoder", length=length)
    pair = None if b is None else "y" * b
    row = head.featurize(examples.Labelled("x" * a, "yes", pair), BYTE)[0]
    whole = a + 2 if b is None else a + b + 3
    assert len(row["tokens"]) == min(whole, length)
    assert row["cut"] == whole - len(row["tokens"])
    text = BYTE.decode(row["tokens"])
    x, y = text.count("x"), text.count("y")
    if row["cut"] and pair is not None:
        assert (x == a and y >= x) or (y == b and x >= y) or abs(x - y) <= 1
    assert row["tokens"][0] == CLS and row["tokens"][-1] == SEP


@pytest.mark.parametrize("architecture", ("encoder", "decoder", "encoder_decoder"))
def test_a_text_without_words_or_label_gives_no_row(architecture):
    objective = make("classify", architecture)
    assert objective.featurize(examples.Labelled("ab", None), BYTE) == []
    assert objective.featurize(examples.Labelled(" \t", "yes"), BYTE) == []
    assert objective.query(examples.Labelled(" "), BYTE) == []
    assert len(objective.query(examples.Labelled("ab"), BYTE)) == 1


@pytest.mark.parametrize("architecture", ("encoder", "decoder", "encoder_decoder"))
def test_a_label_that_is_no_class_is_refused_with_the_classes(architecture):
    with pytest.raises(ValueError, match="'maybe' is not one of no, yes, yes, but"):
        make("classify", architecture).featurize(
            examples.Labelled("ab", "maybe"), BYTE
        )


def test_classification_without_labels_is_refused():
    with pytest.raises(ValueError, match="config.data.labels"):
        classify.make(setting(labels=()), "sum")


def test_a_vocabulary_without_frame_tokens_is_refused_for_an_encoder():
    bare = dataclasses.replace(BYTE, roles={"pad": 0})
    with pytest.raises(ValueError, match="neither .CLS.*tokenizer train"):
        make("classify", "encoder").query(examples.Labelled("ab"), bare)


def test_label_words_carry_their_space_and_an_end_where_they_begin_another():
    found = make("classify", "decoder").label_ids(BYTE)
    assert found == [ids(" no"), [*ids(" yes"), EOS], ids(" yes, but")]


def test_labels_that_read_the_same_are_refused():
    tokenizer = tokenizers.train("word", ["what a day"])
    words = make("classify", "decoder", labels=("sport", "politics"))
    with pytest.raises(ValueError, match="sport.*politics"):
        words.query(examples.Labelled("what"), tokenizer)


def test_all_labels_of_a_prompt_stand_in_one_row():
    words = make("classify", "decoder", labels=("x", "y"), prompt="{text}")
    row = words.query(examples.Labelled("ab"), BYTE)[0]
    a, b, space, x, y = ids("ab xy")
    check(
        row,
        tokens=[BOS, a, b, space, b, space],
        segments=[0, 0, 1, 1, 2, 2],
        positions=[0, 1, 2, 3, 2, 3],
        targets=[0, 0, space, x, space, y],
        weights=[0, 0, 1, 1, 1, 1],
    )


def test_the_docstring_of_label_words_is_what_they_do():
    tokenizer = tokenizers.train("word", ["a b c x y z"])
    words = make("classify", "decoder", labels=("x y", "z"), prompt="{text}")
    row = words.query(examples.Labelled("b c"), tokenizer)[0]
    said = [tokenizer.piece(i) for i in row["tokens"]]
    assert said == ["<bos>", "b", "c", "x", "c"]
    check(row, segments=[0, 0, 1, 1, 2], positions=[0, 1, 2, 3, 2])
    assert [tokenizer.piece(i) for i in row["targets"][2:]] == ["x", "y", "z"]


def test_a_prompt_too_long_for_its_labels_loses_its_beginning():
    words = make("classify", "decoder", labels=("x", "y"), length=6, prompt="{text}")
    row = words.query(examples.Labelled("abcdefgh"), BYTE)[0]
    assert BYTE.decode(row["tokens"][row["segments"] == 0]) == "efg"
    assert row["positions"].max() <= 5 and row["cut"] == 9 - 4


def test_the_prompt_without_its_text_is_a_second_row_for_pmi():
    one = setting(labels=("x", "y"), prompt="Say {text}:{pair}.")
    words = classify.ClassifyWords(one, "pmi")
    rows = words.query(examples.Labelled("ab", None, "c"), BYTE)
    texts = [BYTE.decode(row["tokens"][row["segments"] == 0]) for row in rows]
    assert texts == ["Say ab:c", "Say :"]
    plain = classify.ClassifyWords(one, "sum")
    assert len(plain.query(examples.Labelled("ab", None, "c"), BYTE)) == 1


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
    assert answer["scores"] == pytest.approx({"no": 2 / 7, "yes": 1 / 7, "yes, but": 4 / 7})


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
        jnp.zeros((1, 6, 10)), np.int32([[0, 3, 9, 1, 2, 5]]), np.ones((1, 6), np.float32)
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
    answer = writer.answer([{"written": written}], asked("a"), BYTE)
    assert answer == {"text": "Yes, sir"}
    going_on = make("clm", "decoder").answer([{"written": written}], None, BYTE)
    assert going_on == {"text": " Yes, sir"}


def repeat(params, batch, rng=None):
    """Return logits that say: the next token is the one you read."""
    return 9.0 * jax.nn.one_hot(batch["tokens"], BYTE.size)


def test_a_loss_is_that_of_the_next_token_and_no_other():
    writer = make("generate", "decoder", template=chat.Template(ends=False))
    row = writer.featurize(asked("a", "   "), BYTE)[0]
    row.pop("cut")
    sums = writer.loss(repeat, None, pack.stack([row], 12, 0, 0))
    # Three spaces as they are: the first follows "a", the others a space.
    assert float(sums["accuracy"][0]) == 2 and float(sums["accuracy"][1]) == 3


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_what_is_written_does_not_depend_on_the_neighbours(architecture):
    decode = sampling.Decode(max_tokens=5, temperature=1.0, stop_ids=(EOS,))
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


# Which cells there are.


def test_every_cell_of_the_table_is_allowed_and_its_objective_the_default():
    for (kind, architecture), name in base.SUPPORT.items():
        assert base.supported(kind, architecture) == name
        base.check_cell(name, kind, architecture)


@pytest.mark.parametrize("kind", base.BY_GENERATION)
@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_what_has_an_answer_may_be_generated(kind, architecture):
    base.check_cell("generate", kind, architecture)
    assert base.supported(kind, architecture) in ("generate", "classify")


@pytest.mark.parametrize(
    ("name", "kind", "architecture", "reason"),
    [
        ("clm", "Text", "encoder", "cannot write text"),
        ("generate", "Turns", "encoder", "cannot write text"),
        ("clm", "Text", "encoder_decoder", "no source side"),
        ("classify", "Turns", "decoder", "does not read Turns"),
        ("clm", "Labelled", "decoder", "does not read Labelled"),
        ("mlm", "Text", "encoder", "planned"),
        ("tag", "Tagged", "encoder", "planned"),
        ("span", "Span", "encoder", "planned"),
        ("prefer", "Preference", "decoder", "planned"),
        ("clsasify", "Labelled", "encoder", "did you mean 'classify'"),
    ],
)
def test_a_cell_that_cannot_be_trained_says_why(name, kind, architecture, reason):
    with pytest.raises(ValueError, match=reason):
        base.check_cell(name, kind, architecture)


def test_a_refused_cell_names_the_cells_there_are():
    with pytest.raises(ValueError, match="possible here: clm on decoder"):
        base.check_cell("clm", "Text", "encoder")
