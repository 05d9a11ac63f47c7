"""Multiple choice: the arrays, the losses, the scores of options, and the answers."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs
import tiny

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import letters
from lmtasks.data import pack
from lmtasks.objectives import base
from lmtasks.objectives import choice
from lmtasks.objectives import generate
from lmtasks.objectives import options

BYTE = tokenizers.train("byte", ())
BOS, EOS, CLS, SEP = BYTE.bos_id, BYTE.eos_id, BYTE.cls_id, BYTE.sep_id
KEYS = ("tokens", "positions", "token_types")
POSITIONS = ("rotary", "learned", "sinusoidal", "t5", "alibi", "none")
GIVEN = (
    examples.Choice("ab", ("c", "abc", "ba"), 1),
    examples.Choice("cab", ("bb", "a"), 0),
)


def ids(text):
    """Return the bytes of a text as ids."""
    return BYTE.encode(text)


def make(architecture="decoder", norm="sum", **changes):
    """Return the objective with room for 40 tokens on either side."""
    defaults = {"length": 40, "source_length": 40, "prompt": "{context}"}
    return choice.make(base.Setting(architecture, **defaults | changes), norm)


def model(objective, **changes):
    """Return a tiny model with the objective's head."""
    parts = {"positions": {"kind": "rotary", "size": 64}} | changes
    return tiny.model(
        objective.setting.architecture,
        head=objective.head,
        classes=objective.classes,
        vocab=BYTE.size,
        **parts,
    )


def check(row, **expected):
    """Assert that a row's arrays are exactly these, and integers where they count."""
    for key, values in expected.items():
        assert row[key].tolist() == list(values), key
        assert row[key].dtype == (np.float32 if key == "weights" else np.int32), key


def batch_of(rows, width=64, gathered=None):
    """Return the rows as a batch; gathered None = what is needed, 0 = not."""
    rows = [{k: v for k, v in row.items() if k != "cut"} for row in rows]
    if gathered is None:
        gathered = max(int((row["weights"] > 0).sum()) for row in rows)
    return pack.stack(rows, width, 48 if "source" in rows[0] else 0, gathered)


# Rows, by hand.


def test_an_encoder_reads_each_option_as_a_pair_with_the_context():
    row = make("encoder").featurize(examples.Choice("ab", ("x", "yz"), 1), BYTE)[0]
    a, b, x, y, z = ids("abxyz")
    check(
        row,
        tokens=[CLS, a, b, SEP, x, SEP, CLS, a, b, SEP, y, z, SEP],
        segments=[1] * 6 + [2] * 7,
        positions=[*range(6), *range(7)],
        token_types=[0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1],
        targets=[0] * 6 + [1] + [0] * 6,
        weights=[1] + [0] * 5 + [1] + [0] * 6,
    )
    assert row["cut"] == 0
    assert not make("encoder").packs


def test_a_question_has_the_places_of_its_options_but_no_target():
    row = make("encoder").query(examples.Choice("ab", ("x", "yz"), 1), BYTE)[0]
    assert row["weights"].sum() == 2 and not row["targets"].any()


def test_each_option_of_an_encoder_is_cut_to_the_length_and_counted():
    head = make("encoder", length=8)
    row = head.query(examples.Choice("a" * 9, ("x" * 9, "y"), 0), BYTE)[0]
    lengths = np.bincount(row["segments"])[1:]
    # Three tokens frame a pair: five are left for context and option.
    assert lengths.tolist() == [8, 8] and row["cut"] == (18 - 5) + (10 - 5)
    text = BYTE.decode(row["tokens"][row["segments"] == 2])
    assert (text.count("a"), text.count("y")) == (4, 1)


def test_all_options_of_a_decoder_stand_behind_one_prompt():
    row = make().query(examples.Choice("ab", ("x", "yz"), 1), BYTE)[0]
    a, b, space, x, y, z = ids("ab xyz")
    check(
        row,
        tokens=[BOS, a, b, space, b, space, y],
        segments=[0, 0, 1, 1, 2, 2, 2],
        positions=[0, 1, 2, 3, 2, 3, 4],
        targets=[0, 0, space, x, space, y, z],
        weights=[0, 0, 1, 1, 1, 1, 1],
    )


def test_the_docstring_of_a_shared_prompt_is_what_it_does():
    tokenizer = tokenizers.train("word", ["a b c x y z"])
    prompt = base.next_token_features([*tokenizer.encode("a b c"), 0], [False] * 4)
    said = [tokenizer.encode("x y"), tokenizer.encode("z")]
    row = options.row(prompt | {"cut": 0}, said, 9)
    assert [tokenizer.piece(i) for i in row["tokens"]] == ["a", "b", "c", "x", "c"]
    check(row, segments=[0, 0, 1, 1, 2], positions=[0, 1, 2, 3, 2])
    assert [tokenizer.piece(i) for i in row["targets"][2:]] == ["x", "y", "z"]


def test_a_long_prompt_loses_its_beginning_so_that_every_option_fits():
    words = make(length=8)
    row = words.query(examples.Choice("abcdefghij", ("x", "yz"), 0), BYTE)[0]
    assert BYTE.decode(row["tokens"][row["segments"] == 0]) == "fghi"
    assert row["positions"].max() < 8
    # " yz" takes three of the eight; the prompt has eleven with its beginning.
    assert row["cut"] == 11 - 5


def test_an_option_too_long_for_the_row_loses_its_end():
    words = make(length=6)
    row = words.query(examples.Choice("ab", ("x" * 20, "y"), 0), BYTE)[0]
    assert np.bincount(row["segments"])[1:].tolist() == [6, 2]
    assert row["positions"].max() < 6 and row["cut"] == (21 - 6) + (3 - 1)


def test_an_encoder_decoder_scores_options_after_the_source():
    words = make("encoder_decoder")
    row = words.query(examples.Choice("ab", ("x", "yz"), 1), BYTE)[0]
    x, y, z = ids("xyz")
    assert row["source"].tolist() == [*ids("ab"), EOS]
    assert row["source_segments"].tolist() == [0, 0, 0]
    check(row, tokens=[BOS, BOS, y], targets=[x, y, z], segments=[1, 2, 2])


def test_a_decoder_is_trained_to_write_the_right_option():
    given = examples.Choice("ab", ("x", "yz"), 1)
    row = make().featurize(given, BYTE)[0]
    written = generate.Generate(make().setting).featurize(given, BYTE)[0]
    assert row.keys() == written.keys()
    assert all(np.array_equal(row[key], written[key]) for key in row)
    learned = row["targets"][row["weights"] > 0].tolist()
    assert learned == [*ids(" yz"), EOS]


def test_an_option_that_begins_with_a_space_keeps_it_beside_its_own():
    row = make().query(examples.Choice("ab", (" x", "y"), 1), BYTE)[0]
    assert row["targets"][row["segments"] == 1].tolist() == ids("  x")


@pytest.mark.parametrize("architecture", ("encoder", "decoder", "encoder_decoder"))
def test_without_context_or_answer_there_is_nothing_to_learn(architecture):
    objective = make(architecture, prompt="Question: {context}")
    assert objective.featurize(examples.Choice(" ", ("a", "b"), 0), BYTE) == []
    assert objective.query(examples.Choice(" ", ("a", "b"), 0), BYTE) == []
    unknown = examples.Choice("ab", ("a", "b"))
    assert objective.featurize(unknown, BYTE) == []
    assert len(objective.query(unknown, BYTE)) == 1


@pytest.mark.parametrize("architecture", ("encoder", "decoder"))
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (examples.Choice("ab", ("a", "b"), 2), "option 2, counted from 0, of 2"),
        (examples.Choice("ab", ("a", " "), 0), "option 2 is empty"),
        (examples.Choice("ab", ("a",), 0), "1 options are no choice"),
    ],
)
def test_options_that_cannot_be_chosen_from_are_refused(architecture, given, said):
    with pytest.raises(ValueError, match=said):
        make(architecture).featurize(given, BYTE)


def test_an_unknown_norm_names_the_known_ones():
    with pytest.raises(ValueError, match="prompt.label_norm='mean' .*sum, tokens, byt"):
        make(norm="mean")


# Losses.


def loss(objective, logits, batch, rng=None):
    """Return the sums for an encoder's logits [B, A] as numbers."""
    sums = objective.loss(lambda *_: logits[..., None], None, batch, rng)
    return {name: tuple(map(float, pair)) for name, pair in sums.items()}


def test_the_loss_is_the_softmax_over_the_options_of_each_example():
    head = make("encoder")
    batch = batch_of([head.featurize(one, BYTE)[0] for one in GIVEN])
    # What stands where an example has no option may be anything.
    logits = jnp.float32([[1.0, 3.0, 2.0], [0.5, 1.5, jnp.nan]])
    sums = loss(head, logits, batch)
    first = math.log(sum(math.exp(x - 3) for x in (1, 3, 2)))
    second = math.log(1 + math.exp(1))
    assert sums["loss"] == pytest.approx((first + second, 2))
    assert sums["accuracy"] == (1, 2)


def test_a_row_that_only_fills_up_a_batch_weighs_nothing():
    head = make("encoder")
    batch = batch_of([head.featurize(one, BYTE)[0] for one in GIVEN])
    batch["weights"] = batch["weights"] * np.float32([[1], [0]])
    logits = jnp.float32([[1.0, 3.0, 2.0], [0.5, 1.5, 0.0]])
    assert loss(head, logits, batch)["loss"][1] == 1
    batch["weights"] = batch["weights"] * 0
    assert loss(head, logits, batch) == {"loss": (0, 0), "accuracy": (0, 0)}


def test_label_smoothing_spreads_over_the_options_in_training_only():
    head, plain = make("encoder", label_smoothing=0.2, z_loss=0.1), make("encoder")
    batch = batch_of([head.featurize(one, BYTE)[0] for one in GIVEN])
    logits = jnp.float32([[1.0, 3.0, 2.0], [0.5, 1.5, 9.0]])
    assert loss(head, logits, batch) == loss(plain, logits, batch)
    expected = 0.0
    for row, right in (((1.0, 3.0, 2.0), 1), ((0.5, 1.5), 0)):
        z = math.log(sum(map(math.exp, row)))
        spread = z - sum(row) / len(row)
        expected += 0.8 * (z - row[right]) + 0.2 * spread + 0.1 * z**2
    found = loss(head, logits, batch, jax.random.key(0))
    assert found["loss"] == pytest.approx((expected, 2), rel=1e-5)


def test_the_gradient_pulls_up_the_right_option_alone():
    head = make("encoder")
    batch = batch_of([head.featurize(one, BYTE)[0] for one in GIVEN])
    logits = jnp.float32([[1.0, 3.0, 2.0], [0.5, 1.5, 9.0]])

    def total(x):
        return head.loss(lambda *_: x[..., None], None, batch)["loss"][0]

    slope = np.asarray(jax.grad(total)(logits))
    wanted = jax.nn.softmax(logits[0]) - jnp.float32([0, 1, 0])
    np.testing.assert_allclose(slope[0], wanted, atol=1e-6)
    assert slope[1, 0] < 0 < slope[1, 1] and slope[1, 2] == 0


def test_gathering_the_options_first_changes_no_loss():
    head = make("encoder")
    one = model(head)
    rows = [head.featurize(given, BYTE)[0] for given in GIVEN]
    params = tiny.draw(one)

    def apply(params, batch, rng):
        return tiny.apply(one)(params, batch)

    found = [head.loss(apply, params, batch_of(rows, gathered=g)) for g in (None, 0, 5)]
    for other in found[1:]:
        np.testing.assert_allclose(other["loss"], found[0]["loss"], rtol=1e-5)


# Scores.


def outputs_of(objective, one, params, given):
    """Return what `predict` says of each example, row by row."""
    rows = [objective.query(example, BYTE)[0] for example in given]
    predict = jax.jit(functools.partial(objective.predict, one))
    said = jax.device_get(predict(params, batch_of(rows)))
    return rows, [{k: v[i] for k, v in said.items()} for i in range(len(rows))]


@pytest.mark.parametrize("kind", POSITIONS)
def test_options_in_one_row_score_as_each_in_a_row_of_its_own(kind):
    head = make("encoder")
    one = model(head, positions={"kind": kind, "size": 64}, token_types=2)
    params = tiny.draw(one)
    rows, said = outputs_of(head, one, params, GIVEN)
    for row, outputs, given in zip(rows, said, GIVEN, strict=True):
        alone = [
            {key: row[key][row["segments"] == k + 1] for key in row if key in KEYS}
            for k in range(len(given.options))
        ]
        expected = tiny.logits(one, params, batch_of(alone, gathered=0))[:, 0, 0]
        n = len(given.options)
        np.testing.assert_allclose(outputs["values"][:n], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        *(("decoder", kind) for kind in POSITIONS),
        ("encoder_decoder", "t5"),
        ("encoder_decoder", "learned"),
    ],
)
def test_likelihoods_in_one_row_are_those_of_each_option_alone(architecture, kind):
    words = make(architecture, prompt="{context}:")
    one = model(words, positions={"kind": kind, "size": 64})
    params = tiny.draw(one)
    _, said = outputs_of(words, one, params, GIVEN)
    writer = generate.Generate(words.setting)
    for outputs, given in zip(said, GIVEN, strict=True):
        found, counts = options.totals(outputs, len(given.options))
        rows = [
            writer.featurize(dataclasses.replace(given, answer=k), BYTE)[0]
            for k in range(len(given.options))
        ]
        batch = batch_of(rows, gathered=0)
        log_p = jax.nn.log_softmax(tiny.logits(one, params, batch))
        each = np.take_along_axis(log_p, batch["targets"][..., None], axis=-1)[..., 0]
        each = np.where((batch["weights"] > 0) & (batch["targets"] != EOS), each, 0)
        np.testing.assert_allclose(found, each.sum(axis=1), rtol=1e-5, atol=2e-5)
        assert counts.tolist() == [
            len(row["targets"][row["weights"] > 0]) - 1 for row in rows
        ]


# Answers.


def said_of(objective, given, *log_probs):
    """Return the answer when each option has one token with this value."""
    numbers = np.arange(1, len(given.options) + 1)
    rows = [
        {"values": np.float32([*row, 99.0]), "numbers": np.append(numbers, 0)}
        for row in log_probs
    ]
    return objective.answer(rows, given, BYTE)


def test_an_encoder_says_the_share_of_each_option():
    given = examples.Choice("ab", ("x", "yz", "w"))
    said = said_of(make("encoder"), given, [0.0, math.log(6), math.log(3)])
    assert said.keys() == {"choice", "text", "scores"}
    assert (said["choice"], said["text"]) == (1, "yz")
    assert said["scores"] == pytest.approx([0.1, 0.6, 0.3])


def test_options_beyond_an_examples_own_are_left_out():
    row = {
        "values": np.float32([-1, -2, -3, 50, 60]),
        "numbers": np.int32([1, 1, 2, 3, 0]),
    }
    sums, counts = options.totals(row, 2)
    assert sums.tolist() == [-3, -3] and counts.tolist() == [2, 1]


def test_the_scores_follow_the_norm_and_the_likelihoods_stay():
    # Two characters of three bytes, and four of four.
    given = examples.Choice("ab", ("\u00e9a", "abcd"))
    for norm, sizes in (("sum", (1, 1)), ("bytes", (3, 4)), ("tokens", (1, 1))):
        said = said_of(make(norm=norm), given, [-6.0, -7.0])
        weights = np.exp(np.array([-6.0, -7.0]) / sizes)
        assert said["scores"] == pytest.approx(list(weights / weights.sum()))
        assert said["choice"] == int(np.argmax(weights))
        assert said["log_probs"] == [-6.0, -7.0]


def test_acc_norm_divides_by_characters_not_bytes():
    # Per byte the first is the better one, -1.5 to -1.6; per character it is not.
    given = examples.Choice("ab", ("\u00e9\u00e9", "abcde"))
    said = said_of(make(norm="bytes"), given, [-6.0, -8.0])
    assert (said["choice"], said["choice_norm"]) == (0, 1)


def test_tokens_are_counted_for_each_option():
    row = {
        "values": np.float32([-1, -1, -1, -2.5]),
        "numbers": np.int32([1, 1, 1, 2]),
    }
    given = examples.Choice("ab", ("x", "y"))
    assert make().answer([row], given, BYTE)["choice"] == 1
    assert make(norm="tokens").answer([row], given, BYTE)["choice"] == 0


def test_pmi_is_what_the_question_adds():
    given = examples.Choice("ab", ("x", "y"))
    said = said_of(make(norm="pmi"), given, [-2.0, -4.0], [-1.0, -6.0])
    assert (said["choice"], said["choice_norm"]) == (1, 0)
    weights = np.exp([-1.0, 2.0])
    assert said["scores"] == pytest.approx(list(weights / weights.sum()))


@pytest.mark.parametrize(
    ("prompt", "bare"),
    [
        ("{context}", "Answer:"),
        ("Q: {context}\nA:", "A:"),
        ("Q: {context} ", "Answer:"),
    ],
)
def test_pmi_reads_the_end_of_the_prompt_without_the_question(prompt, bare):
    words = make(norm="pmi", prompt=prompt)
    rows = words.query(examples.Choice("ab", ("x", "y")), BYTE)
    assert len(rows) == 2
    first = rows[1]["segments"] <= 1
    assert BYTE.decode(rows[1]["tokens"][first]) == f"{bare} "
    assert np.array_equal(
        *(row["targets"][row["weights"] > 0] for row in rows), equal_nan=False
    )


def test_the_first_of_equal_options_is_chosen():
    given = examples.Choice("ab", ("x", "y"))
    assert said_of(make(), given, [-2.0, -2.0])["choice"] == 0


# Letters.


def test_a_prompt_that_lists_the_options_is_answered_by_letters():
    given = examples.Choice("ab", ("cat", "dog"), 1)
    prompt = "{context}\n{options}\nAnswer:"
    assert letters.answers(given, prompt) == ("A", "B")
    assert letters.answers(given, "{context}") == ("cat", "dog")
    words = make(prompt=prompt)
    row = words.query(given, BYTE)[0]
    read = BYTE.decode(row["tokens"][row["segments"] <= 1])
    assert read == "ab\nA. cat\nB. dog\nAnswer: "
    assert row["targets"][row["segments"] == 2].tolist() == ids(" B")
    trained = words.featurize(given, BYTE)[0]
    learned = trained["targets"][trained["weights"] > 0].tolist()
    assert learned == [*ids(" B"), EOS]
    said = said_of(words, given, [-3.0, -2.0])
    assert (said["choice"], said["choice_norm"], said["text"]) == (1, 1, "dog")


def test_more_options_than_letters_are_refused():
    with pytest.raises(ValueError, match="27 options have no letters each"):
        letters.listed(["a"] * 27)


def test_a_hidden_or_strange_answer_is_told_apart():
    assert [letters.place(x, "ab") for x in (None, "", -1, "-1")] == [-1] * 4
    assert [letters.place(x, "ab") for x in ("B", 1, "1", "A")] == [1, 1, 1, 0]
    for wrong in ("C", 2, "b"):
        with pytest.raises(ValueError, match="neither a letter up to B nor a number"):
            letters.place(wrong, "ab")


# Runs.

COLOURS = {"sky": "blue", "grass": "green", "coal": "black", "snow": "white"}


def lesson(folder):
    """Write the colours of things, each to choose out of three."""
    names = list(COLOURS.values())
    rows = [
        {"context": a, "options": [b, *(c for c in names if c != b)][:3][::turn]}
        | {"answer": b}
        for a, b in COLOURS.items()
        for turn in (1, -1)
    ]
    folder.mkdir()
    for split in ("train", "validation"):
        runs.write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


@pytest.mark.parametrize("architecture", ("encoder", "decoder"))
def test_a_run_trains_chooses_and_is_scored(architecture, capsys, tmp_path):
    folder, work = lesson(tmp_path / "data"), tmp_path / "work"
    spec = f"--config=own:choice,{architecture}"
    small = {"train__steps": 2, "eval__every": 2}
    flags = runs.settings(data__dir=folder, tokenizer__kind="byte", **small)
    runs.good(capsys, "train", spec, f"--workdir={work}", *flags)
    scores = [row for row in runs.rows(work) if row["split"] == "validation"][-1]
    assert 0 <= scores["accuracy"] <= 1 and scores["unparsed"] == 0
    assert ("acc_norm" in scores) == (architecture != "encoder")
    asked = tmp_path / "asked.jsonl"
    rows = [
        {"context": "sky", "options": ["blue", "red"]},
        {"context": " ", "options": ["a", "b"]},
    ]
    runs.write_jsonl(asked, rows)
    out = runs.good(capsys, "predict", f"--workdir={work}", f"--input={asked}")
    said, empty = map(json.loads, out.splitlines())
    assert said["text"] == rows[0]["options"][said["choice"]]
    assert sum(said["scores"]) == pytest.approx(1) and empty == {"error": "no text"}
