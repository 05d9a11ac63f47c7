"""Texts as vectors: rows, pooling, the contrastive loss, and how vectors are scored."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_reference
import tiny
from scipy import stats

from lmtasks import losses
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import pack
from lmtasks.layers import pooling
from lmtasks.metrics import retrieval
from lmtasks.objectives import base
from lmtasks.objectives import embed
from lmtasks.tasks import retrieval_pairs
from lmtasks.tasks import sts_pairs
from lmtasks.training import optim
from lmtasks.training import step as steps

BYTE = tokenizers.train("byte", ())
BOS, EOS, CLS, SEP = BYTE.bos_id, BYTE.eos_id, BYTE.cls_id, BYTE.sep_id
LETTERS = "abcdefgh"


def objective(architecture="encoder", length=12, **options):
    """Return the objective with short texts."""
    return embed.Embed(base.Setting(architecture, length), embed.Options(**options))


def rows_of(one, pairs):
    """Return the training rows of pairs as a batch."""
    rows = [one.featurize(pair, BYTE)[0] for pair in pairs]
    assert [row.pop("cut") for row in rows] == [0] * len(rows)
    return pack.stack(rows, max(len(row["tokens"]) for row in rows), 0, 0)


def some_pairs(count, negatives=()):
    """Return pairs of different texts; `negatives[i]` go with pair i."""
    return [
        examples.Pair(
            f"q{LETTERS[i]}",
            f"{LETTERS[i]}{LETTERS[-i]}"[: 1 + i % 2],
            tuple(negatives[i]) if i < len(negatives) else (),
        )
        for i in range(count)
    ]


TABLE = np.random.default_rng(5).normal(size=(BYTE.size, 6)).astype(np.float32)


def by_token(params, batch, rng):
    """Return hidden states that are drawn from the tokens alone."""
    return jnp.asarray(TABLE)[batch["tokens"]]


@functools.cache
def jitted(one):
    """Return the compiled loss of an objective over `by_token`."""
    return jax.jit(lambda batch: one.loss(by_token, None, batch))


def sums(one, batch):
    """Return (loss, accuracy, weight) of a batch."""
    found = jitted(one)(batch)
    loss, weight = (float(x) for x in found["loss"])
    return loss / weight, float(found["accuracy"][0]) / weight, weight


# Rows.


def test_a_pair_is_one_row_whose_texts_are_segments():
    pair = examples.Pair("ab", "c", ("d",))
    (row,) = objective().featurize(pair, BYTE)
    a, b, c, d = BYTE.encode("abcd")
    assert row["tokens"].tolist() == [CLS, a, b, SEP, CLS, c, SEP, CLS, d, SEP]
    assert row["segments"].tolist() == [1] * 4 + [2] * 3 + [3] * 3
    assert row["positions"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
    assert row["weights"].tolist() == [1] + [0] * 9
    assert row["token_types"].tolist() == [0] * 10 and row["cut"] == 0


def test_a_decoder_reads_a_text_between_its_beginning_and_end():
    (row,) = objective("decoder").query(examples.Text("ab"), BYTE)
    assert row["tokens"].tolist() == [BOS, *BYTE.encode("ab"), EOS]
    assert "token_types" not in row
    bare = dataclasses.replace(BYTE, roles={"pad": 0})
    (row,) = objective("decoder").query(examples.Text("ab"), bare)
    assert row["tokens"].tolist() == BYTE.encode("ab")


def test_each_text_is_cut_to_the_length_and_counted():
    one = objective(length=5)
    (row,) = one.featurize(examples.Pair("abcdef", "xyzw", ("m",)), BYTE)
    assert row["cut"] == 3 + 1
    said = [BYTE.decode(row["tokens"][row["segments"] == k]) for k in (1, 2, 3)]
    assert said == ["abc", "xyz", "m"]


def test_a_pair_is_asked_as_two_rows_and_a_text_as_one():
    one = objective()
    rows = one.query(examples.Pair("ab", "c"), BYTE)
    assert [BYTE.decode(row["tokens"]) for row in rows] == ["ab", "c"]
    assert all((row["segments"] == 1).all() for row in rows)
    assert len(one.query(examples.Text("ab"), BYTE)) == 1


@pytest.mark.parametrize(
    "pair",
    [
        examples.Pair(" ", "c"),
        examples.Pair("a", "\t"),
        examples.Pair("a", "c", ("d", "")),
        examples.Pair("a", "c", score=0.0),
    ],
)
def test_a_pair_with_an_empty_text_or_no_score_gives_no_row(pair):
    assert objective().featurize(pair, BYTE) == []


def test_an_empty_text_is_not_asked():
    assert objective().query(examples.Pair("a", " "), BYTE) == []
    assert objective().query(examples.Text(""), BYTE) == []


def test_too_many_negatives_and_scores_out_of_range_are_refused():
    many = examples.Pair("a", "b", tuple("cdefghijk"))
    with pytest.raises(ValueError, match="9 negatives, at most 8"):
        objective().featurize(many, BYTE)
    with pytest.raises(ValueError, match=r"score=4.2 .* \[0, 1\]"):
        objective().featurize(examples.Pair("a", "b", score=4.2), BYTE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "first"}, "embed.pooling='first' is not one of mean, cls"),
        ({"temperature": 0.0}, "embed.temperature=0.0 must be above 0"),
        ({"temperature": math.inf}, "embed.temperature=inf must be"),
    ],
)
def test_options_that_no_run_can_have_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        embed.Options(**options)


def test_the_generic_task_reads_negatives_and_scores():
    read = retrieval_pairs.TASK.example
    given = {"first": "a", "second": "b", "negatives": "c"}
    assert read(given) == examples.Pair("a", "b", ("c",))
    assert read(given | {"negatives": ["c", "d"]}).negatives == ("c", "d")
    assert read({"first": "a", "second": "b", "score": "0.5"}).score == 0.5
    assert sts_pairs.TASK.example(sts_pairs.TASK.samples[1]).score == 1.0


# Pooling.


def test_the_four_poolings_by_hand():
    hidden = jnp.arange(12.0).reshape(1, 4, 3) * jnp.array([1.0, -1.0, 1.0])
    member = jnp.array(
        [[[True, True, True, False], [False] * 4, [False, False, True, True]]]
    )
    h = np.asarray(hidden)[0]
    expected = {
        "mean": (h[:3].mean(0), h[2:].mean(0)),
        "max": (h[:3].max(0), h[2:].max(0)),
        "cls": (h[0], h[2]),
        "last": (h[2], h[3]),
    }
    for kind, (first, third) in expected.items():
        found = np.asarray(pooling.pool(hidden, member, kind))[0]
        np.testing.assert_allclose(found, [first, [0, 0, 0], third], err_msg=kind)


@pytest.mark.parametrize("kind", pooling.POOLINGS)
def test_the_gradient_is_finite_where_segments_are_absent_and_vectors_zero(kind):
    hidden = jnp.zeros((1, 3, 2))
    member = jnp.array([[[True, True, False], [False, False, False]]])

    def total(hidden):
        return jnp.sum(embed.unit(pooling.pool(hidden, member, kind)))

    assert np.isfinite(jax.grad(total)(hidden)).all()


@pytest.mark.parametrize("architecture", ("encoder", "decoder"))
@pytest.mark.parametrize("kind", pooling.POOLINGS)
def test_texts_of_one_row_have_the_vectors_they_have_alone(architecture, kind):
    model = tiny.model(architecture, head="none", vocab=BYTE.size)
    params, one = tiny.draw(model), objective(architecture, pooling=kind)
    pair = examples.Pair("abcd", "xy", ("klm",))
    batch = rows_of(one, [pair])
    hidden = tiny.apply(model)(params, batch)
    together = one.vectors(hidden, embed.members(batch, 3))[0]
    for i, text in enumerate(("abcd", "xy", "klm")):
        (row,) = one.query(examples.Text(text), BYTE)
        row.pop("cut")
        alone = jax.jit(functools.partial(one.predict, model))(
            params, pack.stack([row], 9, 0, 0)
        )["vector"]
        np.testing.assert_allclose(alone[0], together[i], atol=2e-6)


def test_mean_pooling_is_that_of_the_reference_hidden_states(tmp_path):
    where = test_reference.write("bert", tmp_path)
    _, model, params = test_reference.read(where, head="none")
    batch = test_reference.batch_of("bert", model)
    batch = batch | {"segments": np.ones_like(batch["tokens"])}
    predict = functools.partial(objective(normalize=False).predict, model)
    found = jax.jit(predict)(params, batch)["vector"]
    hidden, there = test_reference.fixture("bert")[2]["hidden"], batch["positions"] >= 0
    wanted = [x[here].mean(axis=0) for x, here in zip(hidden, there, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


# The loss.


@pytest.mark.parametrize("count", (2, 5, 32))
def test_equal_vectors_have_a_loss_of_the_logarithm_of_their_number(count):
    same = jnp.ones((count, 4)) / 2
    found = losses.contrastive(
        same,
        same,
        jnp.arange(count),
        compared=jnp.ones((count, count), bool),
        weights=jnp.ones(count),
        temperature=0.05,
    )
    assert float(found["loss"][0]) / count == pytest.approx(math.log(count), rel=1e-6)
    assert found["accuracy"] == (0, count)  # equal vectors find nothing


def test_an_untrained_objective_without_any_difference_has_a_loss_of_ln_b():
    batch = rows_of(objective(), some_pairs(4, [("x",), ("y", "z")]))

    def apply(params, batch, rng):
        return jnp.ones((*batch["tokens"].shape, 3))

    found = objective().loss(apply, None, batch)
    # 4 seconds and 3 negatives.
    assert float(found["loss"][0]) / 4 == pytest.approx(math.log(7), rel=1e-6)


def brute_force(pairs, temperature, normalize=True):
    """Return (loss, accuracy) of pairs by a loop over all their texts."""

    def vector(text):
        mean = TABLE[[CLS, *BYTE.encode(text), SEP]].mean(axis=0)
        return mean / np.linalg.norm(mean) if normalize else mean

    texts = [t for p in pairs for t in (p.second, *p.negatives)]
    loss, hits = 0.0, 0
    for pair in pairs:
        others = [t for t in texts if t != pair.second]
        logits = [vector(pair.first) @ vector(t) / temperature for t in others]
        right = vector(pair.first) @ vector(pair.second) / temperature
        loss += np.logaddexp.reduce([*logits, right]) - right
        hits += right > max(logits)
    return loss / len(pairs), hits / len(pairs)


@pytest.mark.parametrize("normalize", (True, False))
def test_the_loss_is_that_of_a_loop_over_seconds_and_negatives(normalize):
    pairs = some_pairs(6, [("x",), (), ("y", "zz", "w")])
    one = objective(temperature=0.3, normalize=normalize)
    loss, accuracy, weight = sums(one, rows_of(one, pairs))
    wanted = brute_force(pairs, 0.3, normalize)
    assert (loss, accuracy) == pytest.approx(wanted, rel=1e-4) and weight == 6


def test_a_text_equal_to_the_second_is_no_negative():
    pairs = [
        examples.Pair("q1", "same text"),
        examples.Pair("q2", "same text", ("other",)),
        examples.Pair("q3", "another", ("same text",)),
    ]
    one = objective(temperature=0.5)
    loss, _, _ = sums(one, rows_of(one, pairs))
    assert loss == pytest.approx(brute_force(pairs, 0.5)[0], rel=1e-4)


def test_rows_without_weight_are_neither_asked_nor_compared_with():
    one = objective(temperature=0.5)
    pairs = some_pairs(5, [(), ("x",), (), ("y",), ("z",)])
    batch = rows_of(one, pairs)
    valid = np.array([1, 1, 1, 0, 0], np.float32)[:, None]
    loss, accuracy, weight = sums(one, {**batch, "weights": batch["weights"] * valid})
    assert weight == 3
    assert (loss, accuracy) == pytest.approx(brute_force(pairs[:3], 0.5), rel=1e-4)


def test_the_order_of_the_batch_changes_nothing():
    one = objective()
    batch = rows_of(one, some_pairs(6, [("x",), ("y", "z")]))
    shuffled = {key: x[[3, 1, 5, 0, 2, 4]] for key, x in batch.items()}
    assert sums(one, batch) == pytest.approx(sums(one, shuffled), rel=1e-5)


def test_a_pair_counts_by_its_score():
    one = objective(temperature=0.5)
    pairs = some_pairs(3)
    each = [sums(one, rows_of(one, pairs[i:] + pairs[:i])) for i in range(3)]
    assert each[0] == pytest.approx(each[1], rel=1e-5)
    low = [dataclasses.replace(p, score=0.25) for p in pairs]
    loss, _, weight = sums(one, rows_of(one, low))
    assert weight == 0.75 and loss == pytest.approx(each[0][0], rel=1e-5)
    mixed = [dataclasses.replace(pairs[0], score=0.5), *pairs[1:]]
    assert sums(one, rows_of(one, mixed))[2] == 2.5


def test_marks_are_equal_for_equal_texts_only():
    one = objective()
    texts = ["ab", "ba", "abc", "a", "b", "ac", "ca"]
    pairs = [examples.Pair("q", t, ("ab",)) for t in texts]
    batch = rows_of(one, pairs)
    found = np.asarray(embed.marks(batch, embed.members(batch, 3)))
    assert len(set(found[:, 1].tolist())) == len(texts)
    assert (found[:, 2] == found[0, 1]).all()


@pytest.mark.parametrize("architecture", ("encoder", "decoder"))
def test_a_tiny_model_learns_pairs_by_heart(architecture):
    model = tiny.model(architecture, head="none", vocab=BYTE.size)
    params, one = tiny.draw(model), objective(architecture)
    batch = rows_of(one, some_pairs(8, [("x",), ("y", "z")]))
    tx = optax.adam(3e-3)

    def loss(params):
        found = one.loss(model.apply, params, batch, None)
        return found["loss"][0] / found["loss"][1], found["accuracy"][0]

    @jax.jit
    def step(params, state):
        (value, hits), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), state, value, hits

    params, state = jax.tree.map(jnp.asarray, params), tx.init(params)
    for _ in range(60):
        params, state, value, hits = step(params, state)
    assert value < 0.05 and hits == 8


# Answers and metrics.


def test_a_pair_is_answered_with_both_vectors_and_their_cosine():
    outputs = [{"vector": np.array([3.0, 0.0])}, {"vector": np.array([1.0, 1.0])}]
    said = objective().answer(outputs, examples.Pair("a", "b"), BYTE)
    assert said["vector"] == [3.0, 0.0] and said["other"] == [1.0, 1.0]
    assert said["similarity"] == pytest.approx(math.sqrt(0.5))
    alone = objective().answer(outputs[:1], examples.Text("a"), BYTE)
    assert alone == {"vector": [3.0, 0.0]}


def said(vector, other):
    """Return a prediction for a pair."""
    return {"vector": vector, "other": other, "similarity": 0.0}


def test_recall_and_reciprocal_rank_by_hand():
    pairs = [examples.Pair(f"q{i}", f"t{i}") for i in range(3)]
    predictions = [
        said([1.0, 0.0], [2.0, 0.1]),  # its own is nearest: rank 1
        said([1.0, 0.0], [0.5, 0.5]),  # t0 and nothing else is nearer: rank 2
        said([1.0, 0.0], [-1.0, 0.0]),  # all are nearer: rank 3
    ]
    found = retrieval.retrieval(predictions, pairs)
    assert found["recall@1"] == pytest.approx(1 / 3) and found["recall@5"] == 1.0
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found["candidates"] == 3 and found["unparsed"] == 0


def test_equal_vectors_find_nothing():
    pairs = [examples.Pair(f"q{i}", f"t{i}") for i in range(12)]
    found = retrieval.retrieval([said([1.0, 1.0], [1.0, 1.0])] * 12, pairs)
    assert found["recall@10"] == 0 and found["mrr"] == pytest.approx(1 / 12)


def test_a_second_text_of_several_pairs_is_one_candidate():
    pairs = [examples.Pair("q0", "t"), examples.Pair("q1", "t")]
    found = retrieval.retrieval([said([1.0, 0.0], [1.0, 0.0])] * 2, pairs)
    assert found["candidates"] == 1 and found["recall@1"] == 1


def test_a_text_without_a_vector_is_never_found():
    pairs = [examples.Pair("q0", "t0"), examples.Pair("", "t1")]
    predictions = [said([1.0, 0.0], [1.0, 0.0]), {"label": None, "text": ""}]
    found = retrieval.retrieval(predictions, pairs)
    assert found["recall@10"] == 0.5 and found["mrr"] == 0.5 and found["unparsed"] == 1


def test_blocks_of_queries_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 20, 3)).tolist()
    pairs = [examples.Pair(f"q{i}", f"t{i}") for i in range(20)]
    predictions = [said(a, b) for a, b in zip(*vectors, strict=True)]
    whole = retrieval.retrieval(predictions, pairs)
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    assert retrieval.retrieval(predictions, pairs) == whole


def test_the_correlation_is_that_of_scored_pairs_only():
    rng = np.random.default_rng(1)
    scores, cosines = rng.random(20), rng.random(20)
    pairs = [examples.Pair("a", "b", score=s) for s in scores]
    predictions = [{"similarity": c} for c in cosines]
    found = retrieval.similarity(
        [*predictions, said([1.0], [1.0])], [*pairs, examples.Pair("c", "d")]
    )
    assert found["spearman"] == pytest.approx(stats.spearmanr(scores, cosines)[0])
    assert found["pearson"] == pytest.approx(stats.pearsonr(scores, cosines)[0])
    assert retrieval.similarity([said([1.0], [1.0])], [examples.Pair("c", "d")]) == {}
    assert retrieval.retrieval(predictions, pairs) == {}


def test_equal_scores_have_no_correlation():
    pairs = [examples.Pair("a", "b", score=1.0)] * 3
    found = retrieval.similarity([{"similarity": x} for x in (0.1, 0.2, 0.3)], pairs)
    assert found == {"spearman": 0.0, "pearson": 0.0}


def test_other_examples_are_refused():
    with pytest.raises(ValueError, match="example 0 is a Text; vectors are scored"):
        retrieval.retrieval([{"vector": [1.0]}], [examples.Text("a")])


def test_devices_of_pmap_compare_with_the_whole_batch():
    """A loss over each device's own rows alone would be ln 1 = 0 here."""
    model = tiny.model("encoder", head="none", vocab=BYTE.size)
    params = jax.tree.map(jnp.asarray, tiny.draw(model))
    one, setting = objective(), optim.Optim(name="sgd", schedule="constant")
    batch = rows_of(one, some_pairs(8, [("x",), ("y", "z")]))
    recipe = steps.Recipe(
        model.apply,
        one.loss,
        optim.build(setting, 10),
        optim.schedule(setting, 10),
        whole_batch=True,
    )
    found = []
    for compiled in (steps.jit_step, steps.pmap_step):
        copied = jax.tree.map(jnp.copy, params)  # the step takes its state over
        state = steps.init_state(recipe, copied, jax.random.key(1))
        state, metrics = compiled(recipe)(state, batch)
        found.append((state.params, metrics))
    (whole, said), (parts, also) = found
    for name in ("loss", "accuracy", "weight", "grad_norm"):
        assert float(also[name]) == pytest.approx(float(said[name]), rel=1e-4), name
    assert said["loss"] > 0.1 and said["weight"] == 8
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, parts)
