"""Several labels, numbers, class weights and mixup on the head of [CLS]."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from sklearn import metrics as sklearn_metrics

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.objectives import base
from lmtasks.objectives import classify
from lmtasks.objectives import label_losses
from lmtasks.objectives import mixup
from lmtasks.objectives import words
from lmtasks.training import optim
from lmtasks.training import step as steps

BYTE = tokenizers.train("byte", ())
LABELS = ("a", "b", "c")
TEXTS = ("aab", "b", "ccc ab", "ac", "bb", "c", "abc", "a b")
GOLD = {
    "single": ("a", "b", "c", "a", "b", "c", "a", "b"),
    "multi": (
        ("a", "b"), ("b",), ("a", "b", "c"), ("c", "a"), (), ("c",), "a", ("b", "a"),
    ),
    "regression": (0.5, -1.0, "2.25", 3, 0.0, 1.5, "-0.5", 4.0),
}  # fmt: skip
each_kind = pytest.mark.parametrize("kind", GOLD)


def setting(architecture="encoder", **changes):
    """Return a setting of three classes."""
    return base.Setting(
        architecture, **{"length": 24, "source_length": 24, "labels": LABELS} | changes
    )


def make(kind, architecture="encoder", *, options=(), **changes):
    """Return the objective of a kind."""
    chosen = classify.Options(kind=kind, **dict(options))
    return classify.make(setting(architecture, **changes), "sum", chosen)


def model(objective):
    """Return a tiny model with the objective's head."""
    shape = {"vocab": BYTE.size, "layers": 1, "token_types": 2, "pooler": True}
    return tiny.model(
        "encoder",
        head="classify",
        classes=objective.classes,
        positions={"kind": "learned", "size": 96},
        norm={"kind": "layer", "at": "post"},
        **shape,
    )


def rows_of(objective, kind):
    """Return the rows of all examples."""
    given = [
        examples.Labelled(text, label) for text, label in zip(TEXTS, GOLD[kind])
    ]  # fmt: skip
    found = records.Records(given, "toy", "mark")
    return features.Pieces(found, lambda x: x, objective, BYTE)


def batch_of(objective, kind):
    """Return all examples as one padded batch with one gathered position."""
    rows = [p.features for p in rows_of(objective, kind)]
    return pack.stack(rows, 24, 0, 1)


@functools.cache
def jitted(objective, one):
    """Return the jitted loss."""
    return jax.jit(functools.partial(objective.loss, one.apply))


def logits_of(objective, one, params, batch):
    """Return the logits of [CLS], float64[B, C]."""
    return np.asarray(tiny.apply(one)(params, batch)[:, 0], np.float64)


def sums(found):
    """Return sums as plain numbers."""
    return {name: tuple(map(float, pair)) for name, pair in found.items()}


# Rows.


def test_several_labels_are_ones_at_the_first_token():
    row = make("multi").featurize(examples.Labelled("ab", ("c", "a")), BYTE)[0]
    assert row["targets"].dtype == np.float32 and row["targets"].shape == (4, 3)
    assert row["targets"].tolist() == [[1, 0, 1]] + 3 * [[0, 0, 0]]
    assert row["weights"].tolist() == [1, 0, 0, 0]


def test_no_label_at_all_is_a_target_too_and_one_name_is_a_set():
    head = make("multi")
    none = head.featurize(examples.Labelled("ab", ()), BYTE)[0]
    assert none["targets"].sum() == 0 and none["weights"][0] == 1
    one = head.featurize(examples.Labelled("ab", "b"), BYTE)[0]
    assert one["targets"][0].tolist() == [0, 1, 0]
    assert head.featurize(examples.Labelled("ab", None), BYTE) == []


@pytest.mark.parametrize("label", (2.5, "2.5", " 2.5"))
def test_a_number_is_a_target_at_the_first_token(label):
    row = make("regression", labels=()).featurize(
        examples.Labelled("ab", label, "c"), BYTE
    )[0]
    assert row["targets"].dtype == np.float32
    assert row["targets"].tolist() == [2.5, 0, 0, 0, 0, 0]
    assert row["weights"].sum() == 1


def test_labels_of_the_wrong_kind_are_refused_with_what_to_do():
    for label in ("many", "nan", float("inf"), ("1", "2")):
        with pytest.raises(ValueError, match="not a number.*classify.kind=single"):
            make("regression").featurize(examples.Labelled("x", label), BYTE)
    with pytest.raises(ValueError, match="'z' is not one of a, b, c"):
        make("multi").featurize(examples.Labelled("x", ("a", "z")), BYTE)
    with pytest.raises(ValueError, match="is not one of a, b, c"):
        make("single").featurize(examples.Labelled("x", ("a", "b")), BYTE)


def test_a_number_may_name_a_class():
    head = make("single", labels=("1.0", "2"))
    assert head.featurize(examples.Labelled("x", 1.0), BYTE)[0]["targets"][0] == 0
    assert head.featurize(examples.Labelled("x", 2), BYTE)[0]["targets"][0] == 1


@each_kind
def test_packed_and_padded_rows_have_the_same_loss(kind):
    objective = make(kind)
    one, params = model(objective), tiny.draw(model(objective))
    pieces = rows_of(objective, kind)
    packed = pack.PackedRows(pieces, 24, 0)
    assert len(packed) < len(pieces)
    joined = pack.stack(
        [packed.row(0, i) for i in range(len(packed))], 24, 0, packed.weighted
    )
    loss = jitted(objective, one)
    together = sums(loss(params, joined))
    apart = sums(loss(params, batch_of(objective, kind)))
    assert together["loss"][1] == apart["loss"][1] == len(TEXTS)
    for name in apart:
        assert together[name] == pytest.approx(apart[name], rel=1e-5)


def test_resuming_notices_other_rows_but_not_another_loss():
    def mark(objective):
        return rows_of(objective, objective.options.kind or "single").fingerprint

    same = {mark(make("single")), mark(make("", options={"mixup": 0.3}))}
    same.add(mark(make("single", options={"weights": (1, 2, 3), "threshold": 0.3})))
    assert len(same) == 1
    number = rows_of(make("regression"), "regression").fingerprint
    several = rows_of(make("multi"), "multi").fingerprint
    assert len({*same, number, several}) == 3
    words_ = [
        make("single", "decoder", options={"weights": w}) for w in ((), (1, 2, 3))
    ]
    assert len({rows_of(one, "single").fingerprint for one in words_}) == 2


# Losses.


def test_the_loss_of_several_labels_is_the_mean_sigmoid_cross_entropy():
    objective = make("multi")
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, "multi")
    p = 1 / (1 + np.exp(-logits_of(objective, one, params, batch)))
    given = batch["targets"][:, 0]
    each = -(given * np.log(p) + (1 - given) * np.log(1 - p))
    found = sums(jitted(objective, one)(params, batch))
    assert found["loss"] == pytest.approx((each.mean(axis=1).sum(), 8), rel=1e-5)
    right = ((p >= 0.5) == (given > 0)).all(axis=1).sum()
    assert found["accuracy"] == (right, 8)


def test_extreme_logits_have_a_finite_loss_and_gradient():
    logits = jnp.array([[[1e4, -1e4, 0.0]]])
    targets = jnp.array([[[0.0, 1.0, 1.0]]])
    ones = jnp.ones((1, 1))

    def loss(x):
        return label_losses.binary_cross_entropy(x, targets, ones)["loss"][0]

    value, slope = jax.value_and_grad(loss)(logits)
    assert float(value) == pytest.approx((2e4 + np.log(2)) / 3, rel=1e-6)
    np.testing.assert_allclose(slope[0, 0], [1 / 3, -1 / 3, -1 / 6], rtol=1e-6)


def test_what_has_no_weight_may_be_anything():
    weights = jnp.array([[1.0, 0.0]])
    nan = jnp.nan

    def several(x):
        found = label_losses.binary_cross_entropy(x, jnp.ones((1, 2, 2)), weights)
        return found["loss"][0]

    def number(x):
        return label_losses.squared_error(x, jnp.ones((1, 2)), weights)["loss"][0]

    slope = jax.grad(several)(jnp.array([[[0.0, 1.0], [nan, nan]]]))
    assert np.isfinite(slope).all() and not slope[0, 1].any()
    slope = jax.grad(number)(jnp.array([[0.0, nan]]))
    assert slope.tolist() == [[-2.0, 0.0]]


def test_the_loss_of_a_number_is_the_squared_error():
    objective = make("regression")
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, "regression")
    said = logits_of(objective, one, params, batch)[:, 0]
    gold = [float(label) for label in GOLD["regression"]]
    found = sums(jitted(objective, one)(params, batch))
    assert found.keys() == {"loss"}
    wanted = 8 * sklearn_metrics.mean_squared_error(gold, said)
    assert found["loss"] == pytest.approx((wanted, 8), rel=1e-5)
    report = objective.report(found, [])
    assert report == {"rmse": pytest.approx((wanted / 8) ** 0.5)}
    assert make("single").report(found, []) == {}


def test_a_single_class_without_options_is_the_plain_cross_entropy():
    objective = make("single")
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, "single")
    rng = jax.random.key(3)
    plain = jax.make_jaxpr(functools.partial(base.token_loss, setting(), one.apply))
    ours = jax.make_jaxpr(functools.partial(objective.loss, one.apply))
    for given in ((params, batch, None), (params, batch, rng)):
        assert str(ours(*given)) == str(plain(*given))


def test_class_weights_make_the_mean_a_weighted_one_in_training_only():
    weights = (1.0, 4.0, 0.25)
    objective = make("single", options={"weights": weights})
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, "single")
    logits = logits_of(objective, one, params, batch)
    gold = np.array([LABELS.index(label) for label in GOLD["single"]])
    each = np.log(np.exp(logits).sum(1)) - logits[np.arange(8), gold]
    mine = np.array(weights)[gold]
    found = sums(jitted(objective, one)(params, batch, jax.random.key(0)))
    assert found["loss"] == pytest.approx(((mine * each).sum(), mine.sum()), rel=1e-5)
    hits = mine[logits.argmax(1) == gold].sum()
    assert found["accuracy"] == pytest.approx((hits, mine.sum()), rel=1e-5)
    plain = jitted(make("single"), one)(params, batch)
    assert sums(jitted(objective, one)(params, batch)) == sums(plain)


def test_weights_of_several_labels_multiply_those_that_are_given():
    weights = (1.0, 4.0, 0.25)
    objective = make("multi", options={"weights": weights})
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, "multi")
    p = 1 / (1 + np.exp(-logits_of(objective, one, params, batch)))
    given = batch["targets"][:, 0]
    each = -(weights * given * np.log(p) + (1 - given) * np.log(1 - p))
    found = sums(jitted(objective, one)(params, batch, jax.random.key(0)))
    assert found["loss"] == pytest.approx((each.mean(1).sum(), 8), rel=1e-5)
    plain = jitted(make("multi"), one)(params, batch)
    assert sums(jitted(objective, one)(params, batch)) == sums(plain)


@pytest.mark.parametrize("architecture", ("decoder", "encoder_decoder"))
def test_class_weights_of_label_words_are_those_of_their_tokens(architecture):
    plain = make("single", architecture)
    heavy = make("single", architecture, options={"weights": (1.0, 3.0, 2.0)})
    example = examples.Labelled("x", "b")
    one, other = (o.featurize(example, BYTE)[0] for o in (plain, heavy))
    np.testing.assert_array_equal(other["weights"], 3 * one["weights"])
    for key in one.keys() - {"weights", "cut"}:
        np.testing.assert_array_equal(one[key], other[key])
    # Evaluation is plain: the weights of the two rows are alike to it.
    batch = {k: np.asarray(v)[None] for k, v in other.items() if k != "cut"}

    def apply(params, batch, rng):
        return jnp.zeros((1, batch["tokens"].shape[1], BYTE.size))

    tokens = float(one["weights"].sum())
    assert sums(heavy.loss(apply, None, batch))["loss"][1] == tokens
    trained = heavy.loss(apply, None, batch, jax.random.key(0))
    assert sums(trained)["loss"][1] == 3 * tokens


def test_label_smoothing_of_several_labels_is_in_training_only():
    smooth = make("multi", label_smoothing=0.2)
    one, params = model(smooth), tiny.draw(model(smooth))
    batch = batch_of(smooth, "multi")
    plain = jitted(make("multi"), one)
    assert sums(jitted(smooth, one)(params, batch)) == sums(plain(params, batch))
    p = 1 / (1 + np.exp(-logits_of(smooth, one, params, batch)))
    given = 0.8 * batch["targets"][:, 0] + 0.1
    each = -(given * np.log(p) + (1 - given) * np.log(1 - p))
    found = sums(jitted(smooth, one)(params, batch, jax.random.key(0)))
    assert found["loss"][0] == pytest.approx(each.mean(1).sum(), rel=1e-5)


# Mixup.


def test_partners_are_a_permutation_of_the_slots_with_weight():
    weights = jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.5]])
    used = np.flatnonzero(np.asarray(weights) > 0)
    seen = set()
    for seed in range(40):
        found = mixup.draw(jax.random.key(seed), weights, 0.4)
        mix = np.asarray(found["mix"]).reshape(-1)
        assert sorted(mix) == list(range(6))
        assert sorted(mix[used]) == used.tolist()
        assert 0 <= float(found["mix_share"]) <= 1
        seen.add(tuple(mix[used]))
    assert len(seen) > 10


def test_shares_follow_the_beta_distribution():
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.jit(jax.vmap(lambda k: mixup.draw(k, jnp.ones((2, 1)), 0.5)))
    shares = np.asarray(draw(keys)["mix_share"], np.float64)
    # Mean 1/2, variance 1 / (4 (2 alpha + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / 8, abs=0.01)


@each_kind
def test_mixed_vectors_have_the_mixed_loss_of_both_targets(kind):
    objective = make(kind, options={"mixup": 0.7})
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, kind)
    rng = jax.random.key(5)
    found = sums(jitted(objective, one)(params, batch, rng))
    mixed = mixup.draw(jax.random.split(rng)[0], np.ones((8, 1)), 0.7)
    share, mix = float(mixed["mix_share"]), np.asarray(mixed["mix"])[:, 0]
    assert 0.02 < share < 0.98 and (mix != np.arange(8)).any()
    # The head on vectors mixed by hand: the pooler is not linear, so mixing logits
    # instead would not do.
    hidden = dataclasses.replace(one, head="none", classes=0)
    x = np.asarray(tiny.apply(hidden)(params, batch)[:, 0])
    x = share * x + (1 - share) * x[mix]
    top = {k: np.asarray(v) for k, v in params["top"].items()}
    x = np.tanh(x @ top["pooler"] + top["pooler_bias"])
    logits = jnp.asarray(x @ top["out"] + top["out_bias"])[:, None]
    targets, ones = batch["targets"][:, :1], np.ones((8, 1), np.float32)
    plain = make(kind)
    parts = [
        plain._sums(logits, t, w * ones, train=True)
        for t, w in ((targets, share), (targets[mix], 1 - share))
    ]
    wanted = sums(jax.tree.map(jnp.add, *parts))
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    assert found["loss"][1] == pytest.approx(8)
    assert found.get("accuracy") == pytest.approx(wanted.get("accuracy"))


@each_kind
def test_mixup_leaves_evaluation_as_it_is(kind):
    plain, mixing = make(kind), make(kind, options={"mixup": 0.7})
    one, params = model(plain), tiny.draw(model(plain))
    batch = batch_of(plain, kind)
    loss = sums(jitted(plain, one)(params, batch))
    assert sums(jitted(mixing, one)(params, batch)) == loss


def test_a_full_share_changes_nothing_and_packed_slots_mix_across_rows():
    objective = make("single")
    one, params = model(objective), tiny.draw(model(objective))
    packed = pack.PackedRows(rows_of(objective, "single"), 24, 0)
    rows = [packed.row(0, i) for i in range(len(packed))]
    batch = pack.stack(rows, 24, 0, packed.weighted)
    assert batch["at"].shape[1] > 1
    logits = tiny.apply(one)(params, batch)
    mix = np.random.default_rng(0).permutation(batch["at"].size)
    mixed = {"mix": mix.reshape(batch["at"].shape), "mix_share": np.float32(1)}
    np.testing.assert_array_equal(tiny.apply(one)(params, {**batch, **mixed}), logits)
    other = tiny.apply(one)(params, {**batch, **mixed, "mix_share": np.float32(0)})
    moved = np.asarray(logits).reshape(-1, 3)[mix].reshape(logits.shape)
    np.testing.assert_allclose(other, moved, rtol=1e-6, atol=1e-6)


def test_steps_with_mixup_and_accumulation_train_and_replay():
    objective = make("single", options={"mixup": 0.4})
    one = model(objective)
    params = jax.tree.map(jnp.asarray, tiny.draw(one))
    given = optim.Optim(learning_rate=1e-2, schedule="constant")
    recipe = steps.Recipe(
        one.apply,
        objective.loss,
        optim.build(given, 10),
        optim.schedule(given, 10),
        accumulate=2,
    )
    batch = batch_of(objective, "single")
    update = jax.jit(functools.partial(steps.train_step, recipe))
    state = steps.init_state(recipe, params, jax.random.key(1))
    first, metrics = update(state, batch)
    again, _ = update(state, batch)
    assert np.isfinite(metrics["loss"]) and float(metrics["weight"]) == pytest.approx(8)
    for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(again.params)):
        np.testing.assert_array_equal(a, b)


# Predictions.


def test_several_labels_are_those_over_the_threshold():
    head = make("multi", options={"threshold": 0.3})
    said = head.answer([{"probabilities": np.float32([0.31, 0.29, 0.9])}], None, BYTE)
    assert said["label"] == ["a", "c"]
    assert said["scores"] == pytest.approx({"a": 0.31, "b": 0.29, "c": 0.9})
    none = head.answer([{"probabilities": np.float32([0.1, 0.1, 0.1])}], None, BYTE)
    assert none["label"] == []


def test_a_number_is_label_and_score():
    said = make("regression").answer([{"values": np.float32(2.5)}], None, BYTE)
    assert said == {"label": 2.5, "score": 2.5}


@each_kind
def test_predictions_do_not_depend_on_the_neighbours_and_agree_with_the_logits(kind):
    objective = make(kind)
    one, params = model(objective), tiny.draw(model(objective))
    batch = batch_of(objective, kind)
    said = objective.predict(one, params, batch)
    [(name, values)] = said.items()
    logits = logits_of(objective, one, params, batch)
    wanted = {
        "single": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
        "multi": lambda x: 1 / (1 + np.exp(-x)),
        "regression": lambda x: x[:, 0],
    }[kind](logits)
    assert name == ("values" if kind == "regression" else "probabilities")
    np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)
    turned = {key: value[::-1] for key, value in batch.items()}
    again = objective.predict(one, params, turned)[name]
    np.testing.assert_allclose(again[::-1], values, rtol=1e-6, atol=1e-6)


# What is refused.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "multy"}, "classify.kind='multy' is not one of single, multi, regr"),
        ({"weights": (1.0, 0.0)}, "classify.weights=.* one positive number per label"),
        ({"weights": ("balance",)}, "or balanced"),
        ({"threshold": 1.0}, "classify.threshold=1.0 is a probability"),
        ({"mixup": -0.1}, "classify.mixup=-0.1 must be at least 0"),
    ],
)
def test_options_without_meaning_are_refused_by_name(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        classify.Options(**changes)


def test_combinations_without_meaning_are_refused():
    with pytest.raises(ValueError, match="are 2 for 3 labels"):
        make("single", options={"weights": (1.0, 2.0)})
    with pytest.raises(ValueError, match="are 2 for 3 labels"):
        make("single", "decoder", options={"weights": (1.0, 2.0)})
    with pytest.raises(ValueError, match="weights are of classes"):
        make("regression", options={"weights": (1.0, 2.0, 3.0)})
    with pytest.raises(ValueError, match="label_smoothing is of classes"):
        make("regression", label_smoothing=0.1)
    with pytest.raises(ValueError, match="z_loss has no meaning"):
        make("multi", z_loss=0.1)
    for kind in ("multi", "regression"):
        with pytest.raises(ValueError, match="architecture='encoder'.*'generate'"):
            make(kind, "decoder")
    with pytest.raises(ValueError, match="mixes the vectors of .CLS."):
        make("single", "decoder", options={"mixup": 0.2})
    with pytest.raises(ValueError, match="config.data.labels"):
        make("multi", labels=())
    assert make("regression", labels=()).classes == 1


def test_others_find_the_parts_where_they_were():
    assert classify.ClassifyWords is words.ClassifyWords
    assert classify.choice_ids is words.choice_ids
    assert classify.LABEL_NORMS == ("sum", "tokens", "bytes", "pmi")
