"""Replaced-token detection: rows, loss, a frozen generator, and what it says of a text."""

import dataclasses
import functools
import math

import checkpoints
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from reference import cases
from reference import values

from configs import base as configs
from lmtasks import builder
from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.data import features
from lmtasks.data import pack
from lmtasks.data import records
from lmtasks.hf import reading
from lmtasks.models import model as models
from lmtasks.objectives import base
from lmtasks.objectives import rtd
from lmtasks.training import imports
from lmtasks.training import masks
from lmtasks.training import parallel

BYTE = tokenizers.train("byte", ())
CLS, SEP, MASK = BYTE.cls_id, BYTE.sep_id, BYTE.mask_id
LINES = ["ab cab.", "a cabbage, bad", "c", "bad cab " * 9, "abc " * 4]
FILLED = rtd.Options(generator="runs/mlm")


def make(length=40, *, generator=None, **options):
    """Return the objective; with a generator its rows are hidden for it."""
    given = FILLED if generator else rtd.Options(**options)
    return rtd.Rtd(base.Setting("encoder", length=length), given, generator)


def model(objective, **changes):
    """Return a tiny encoder with ELECTRA's head."""
    shape = {"vocab": BYTE.size, "layers": 1, "pooler": True}
    shape |= {"pooler_activation": "gelu", "norm": {"kind": "layer", "at": "post"}}
    return tiny.model(
        "encoder", head=objective.head, classes=objective.classes, **shape | changes
    )


def pieces(objective, texts, *, query=False):
    """Return the rows of texts."""
    found = records.Records([{"text": text} for text in texts], "toy", "mark")
    read = lambda record: examples.Text(record["text"])
    return features.Pieces(found, read, objective, BYTE, query=query)


def says(letter):
    """Return a generator that is sure of one letter everywhere."""
    (id,) = BYTE.encode(letter)

    def generator(batch):
        shape = (*batch["at"].shape, BYTE.size)
        return jnp.broadcast_to(50.0 * (jnp.arange(BYTE.size) == id), shape)

    return generator


# Rows.


def test_a_row_has_tokens_of_its_own_in_other_places_and_all_are_judged():
    text = "abcdefghijklmnopqrstuvwxyz"
    (row,) = make(rate=0.3).featurize(examples.Text(text), BYTE)
    ids = [CLS, *BYTE.encode(text), SEP]
    assert row["targets"].tolist() == ids
    assert row["weights"].tolist() == [0, *[1] * 26, 0]
    differs = row["tokens"] != row["targets"]
    assert 0 < differs.sum() <= round(0.3 * 28) and not differs[[0, -1]].any()
    assert set(row["tokens"].tolist()) <= set(ids)


def test_for_a_generator_all_chosen_tokens_are_hidden():
    objective = make(generator=says("a"))
    (row,) = objective.featurize(examples.Text("abcdefghijklmnop"), BYTE)
    hidden = row["tokens"] == MASK
    assert hidden.sum() == round(0.15 * 18)
    np.testing.assert_array_equal(row["tokens"][~hidden], row["targets"][~hidden])
    assert row["weights"].sum() == 16


@pytest.mark.parametrize("generator", (None, says("a")))
def test_an_epoch_changes_other_tokens_and_judges_as_many(generator):
    objective = make(generator=generator)
    (row,) = objective.featurize(examples.Text("a longer text of letters"), BYTE)
    seen = np.zeros(len(row["tokens"]))
    for epoch in range(60):
        rng = np.random.default_rng((0, epoch, 0))
        again = objective.vary(row, rng, BYTE)
        np.testing.assert_array_equal(again["weights"], row["weights"])
        np.testing.assert_array_equal(again["targets"], row["targets"])
        seen += again["tokens"] != row["targets"]
    assert (seen[1:-1] > 0).all() and seen[0] == seen[-1] == 0
    replayed = objective.vary(row, np.random.default_rng((0, 59, 0)), BYTE)
    np.testing.assert_array_equal(replayed["tokens"], again["tokens"])


def test_texts_without_words_are_counted_as_empty():
    found = pieces(make(), ["", " \n", "ab"])
    assert found.counts["empty"] == 2 and len(found) == 1


# Loss.


def sums_of(objective, logits, batch, rng=None):
    """Return the sums where a model says `logits` [B, T]."""
    apply = lambda params, batch, rng: jnp.asarray(logits)[..., None]
    return jax.device_get(objective.loss(apply, None, batch, rng))


def test_the_loss_is_the_binary_cross_entropy_of_every_judged_token():
    objective = make()
    batch = {
        "tokens": np.int32([[CLS, 9, 8, 7, 6, SEP]]),
        "targets": np.int32([[CLS, 9, 5, 7, 4, SEP]]),
        "weights": np.float32([[0, 1, 1, 1, 1, 0]]),
    }
    logits = np.float32([[9.0, -2.0, 1.0, 0.5, -1.0, np.nan]])
    sums = sums_of(objective, logits, batch)
    chance = 1 / (1 + np.exp(-logits[0, 1:5].astype(np.float64)))
    right = np.array([1 - chance[0], chance[1], 1 - chance[2], chance[3]])
    assert sums["loss"] == pytest.approx((-np.log(right).sum(), 4), rel=1e-6)
    assert sums["accuracy"] == (2, 4)
    # 8 and 6 are replaced, 8 and 7 are called so.
    assert sums["recall"] == (1, 2) and sums["precision"] == (1, 2)


def same(one, other):
    """Assert that two dicts of sums agree to 1e-5 of their size."""
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=1e-5)


@functools.cache
def frozen():
    """Return a tiny masked language model as a generator."""
    one = tiny.model("encoder", head="lm", vocab=BYTE.size, layers=1)
    return functools.partial(one.apply, tiny.draw(one, seed=3))


@pytest.mark.parametrize("generates", (False, True))
def test_packed_padded_and_separate_rows_have_the_same_loss(generates):
    objective = make(generator=frozen() if generates else None)
    one = model(objective, positions={"kind": "learned", "size": 96})
    params = tiny.draw(one)
    loss = jax.jit(lambda params, batch: objective.loss(one.apply, params, batch))
    found = pieces(objective, LINES)
    rows = [p.features for p in found]
    alone = [loss(params, pack.stack([row], 40, 0, 0)) for row in rows]
    separate = {k: np.sum([s[k] for s in alone], axis=0) for k in alone[0]}
    same(loss(params, pack.stack(rows, 40, 0, 0)), separate)
    packed = pack.PackedRows(found, 80, 80)
    assert len(packed) < len(rows)
    joined = [packed.row(0, i) for i in range(len(packed))]
    same(loss(params, pack.stack(joined, 80, 0, 0)), separate)
    assert separate["loss"][1] == sum(len(text) for text in LINES)
    assert separate["recall"][1] > 0


def test_label_smoothing_is_refused():
    for key in ("label_smoothing", "z_loss"):
        setting = base.Setting("encoder", **{key: 0.1})
        with pytest.raises(ValueError, match=key):
            rtd.Rtd(setting)


# The generator.


def read_by(objective, batch, rng=None):
    """Return (what the discriminator reads, the sums)."""

    @jax.jit
    def run(batch, rng):
        seen = {}

        def apply(params, batch, rng):
            seen.update(batch)
            return jnp.zeros((*batch["tokens"].shape, 1))

        sums = objective.loss(apply, None, batch, rng)
        return seen["tokens"], sums

    return jax.device_get(run(batch, rng))


def test_what_the_generator_hits_counts_as_not_replaced():
    objective = make(generator=says("a"))
    found = pieces(objective, ["ab" * 15])
    batch = pack.stack([found[0].features], 40, 0, 0)
    hidden = batch["tokens"] == MASK
    for rng in (None, jax.random.key(0)):
        tokens, sums = read_by(objective, batch, rng)
        (letter,) = BYTE.encode("a")
        assert (tokens[hidden] == letter).all()
        np.testing.assert_array_equal(tokens[~hidden], batch["tokens"][~hidden])
        wrong = (batch["targets"][hidden] != letter).sum()
        assert sums["recall"][1] == wrong and 0 < wrong < hidden.sum()


def test_the_generator_is_asked_at_the_hidden_places():
    """It answers the place it is asked at, so that each mask must get its own."""

    def generator(batch):
        place = jnp.clip(batch["at"] + 20, 0, BYTE.size - 1)
        return 50.0 * jax.nn.one_hot(place, BYTE.size)

    objective = make(generator=generator)
    found = pieces(objective, LINES)
    batch = pack.stack([p.features for p in found], 40, 0, 0)
    tokens, _ = read_by(objective, batch)
    hidden = batch["tokens"] == MASK
    assert hidden.any(axis=1).all()
    place = np.broadcast_to(np.arange(40), hidden.shape)
    np.testing.assert_array_equal(tokens[hidden], place[hidden] + 20)


@pytest.mark.parametrize("rate", (0.05, 0.15, 0.3, 0.5, 0.8))
def test_every_mask_of_every_row_is_filled(rate):
    options = rtd.Options(rate=rate, generator="runs/mlm")
    objective = rtd.Rtd(base.Setting("encoder", length=40), options, says("a"))
    found = pieces(objective, ["a" * n for n in range(1, 39)] * 2)
    packed = pack.PackedRows(found, 40, 40)
    rows = [packed.row(0, i) for i in range(len(packed))]
    tokens, _ = read_by(objective, pack.stack(rows, 40, 0, 0))
    assert not (tokens == MASK).any()


def test_training_draws_from_the_generator_and_evaluation_takes_its_best():
    a, b = BYTE.encode("ab")
    chances = np.full(BYTE.size, -1e9, np.float32)
    chances[[a, b]] = np.log([0.75, 0.25])
    objective = make(
        generator=lambda batch: jnp.broadcast_to(
            chances, (*batch["at"].shape, BYTE.size)
        )
    )
    found = pieces(objective, ["x" * 38] * 10)
    batch = pack.stack([p.features for p in found], 40, 0, 0)
    hidden = batch["tokens"] == MASK
    best, _ = read_by(objective, batch)
    assert (best[hidden] == a).all()
    drawn, _ = read_by(objective, batch, jax.random.key(1))
    assert set(drawn[hidden].tolist()) == {a, b}
    # Five deviations of a share of 60 draws.
    assert (drawn[hidden] == a).mean() == pytest.approx(0.75, abs=0.28)
    again, _ = read_by(objective, batch, jax.random.key(1))
    np.testing.assert_array_equal(drawn, again)


def test_the_generator_learns_nothing():
    one = tiny.model("encoder", head="lm", vocab=BYTE.size, layers=1)
    theirs = tiny.draw(one, seed=3)
    setting, options = base.Setting("encoder", length=40), FILLED
    found = pieces(make(generator=frozen()), ["abc abc"])
    batch = pack.stack([found[0].features], 16, 0, 0)
    judge = model(make())
    params = tiny.draw(judge)

    def total(theirs):
        objective = rtd.Rtd(setting, options, functools.partial(one.apply, theirs))
        return objective.loss(judge.apply, params, batch)["loss"][0]

    slopes = jax.tree.leaves(jax.jit(jax.grad(total))(theirs))
    assert slopes and all((np.asarray(x) == 0).all() for x in slopes)


def test_a_generator_needs_a_mask_token():
    roles = {k: v for k, v in BYTE.roles.items() if k != "mask"}
    bare = dataclasses.replace(BYTE, roles=roles)
    with pytest.raises(ValueError, match="no mask token"):
        make(generator=says("a")).featurize(examples.Text("abc"), bare)
    assert make().featurize(examples.Text("abc"), bare)


# Answers.


def answers(objective, one, params, texts, length):
    """Return the answers to texts, their windows in one batch."""
    found = pieces(objective, texts, query=True)
    batch = pack.stack([p.features for p in found], length, 0, 0)
    said = jax.jit(functools.partial(objective.predict, one))(params, batch)
    said = jax.device_get(said)["replaced"]
    rows = [[] for _ in texts]
    for piece, row in zip(found, said, strict=True):
        rows[piece.example].append({"replaced": row})
    return [
        objective.answer(of, example, BYTE)
        for of, example in zip(rows, found.examples, strict=True)
    ]


def test_every_token_of_a_text_gets_a_probability_and_its_place():
    objective = make()
    one = model(objective)
    params = tiny.draw(one)
    texts = ["ab c\u00e9", "abcab"]
    first, second = answers(objective, one, params, texts, 16)
    assert [t["token"] for t in second["tokens"]] == list("abcab")
    assert [(t["start"], t["end"]) for t in first["tokens"]] == [
        (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (4, 5),
    ]  # fmt: skip
    (row,) = objective.query(examples.Text(texts[1]), BYTE)
    logits = tiny.logits(one, params, pack.stack([row], 16, 0, 0))[0, 1:6, 0]
    wanted = 1 / (1 + np.exp(-logits))
    found = [t["score"] for t in second["tokens"]]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_long_text_is_judged_in_windows_and_answered_whole():
    objective = make(length=10)
    one = model(objective)
    text = "abcabcabcabcabcabcabc"
    (whole,) = answers(objective, one, tiny.draw(one), [text], 10)
    assert "".join(t["token"] for t in whole["tokens"]) == text
    assert [t["start"] for t in whole["tokens"]] == list(range(21))
    (part,) = answers(objective, one, tiny.draw(one), [text[8:16]], 10)
    middle = [t["score"] for t in whole["tokens"][8:16]]
    assert middle == pytest.approx([t["score"] for t in part["tokens"]], rel=1e-5)


def test_suspected_tokens_are_marked_in_the_text():
    objective, text = make(), "ab \u00e9c"
    scores = np.float32([0.1, 0.9, 0.2, 0.3, 0.6, 0.7, 0.2, 0.9])
    row = {"replaced": np.concatenate([[0.99], scores])}
    answer = objective.answer([row], examples.Text(text), BYTE)
    # Two bytes of one character, the second of them suspected.
    assert answer["text"] == "a[[b]] [[\u00e9]][[c]]"
    assert [t["score"] > 0.5 for t in answer["tokens"]] == [0, 1, 0, 0, 1, 1]


def test_an_empty_text_has_no_row():
    assert make().query(examples.Text(" "), BYTE) == []


@pytest.mark.parametrize("rate", (0.0, 1.0, math.nan))
def test_a_rate_that_cannot_work_names_its_key(rate):
    with pytest.raises(ValueError, match="rtd.rate"):
        rtd.Options(rate=rate)


def test_what_decides_the_rows_is_part_of_their_fingerprint():
    assert make(rate=0.1).rows_key() != make(rate=0.2).rows_key()
    assert make().rows_key() != make(generator=says("a")).rows_key()


# ELECTRA.


def test_a_checkpoint_of_electra_is_where_a_run_may_start(tmp_path):
    folder = checkpoints.write("electra", tmp_path)
    checkpoints.write_vocab(folder)
    config = configs.finetune()
    config.task, config.architecture, config.objective = "text", "encoder", "rtd"
    config.init, config.data.length = str(folder), 16
    run, notes = builder.build(config), []
    mesh = parallel.make_mesh(run.parallel)
    found = masks.flat(imports.params_of(run, mesh, jax.random.key(0), notes.append))
    (line,) = [note for note in notes if note.startswith("init: fresh parameters")]
    paths = line.split(": ")[-1].split(", ")
    assert sorted(paths) == sorted(path for path in found if path.startswith("top/"))
    assert found["top/out"].shape == (24, 1) and found["top/pooler"].shape == (24, 24)
    tokens = checkpoints.usual("electra")["electra.embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(found["embed/tokens"], tokens)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_head_computes_what_electras_own_does(tmp_path):
    transformers = pytest.importorskip("transformers", reason="not installed")
    import torch

    given = transformers.ElectraConfig(**cases.CASES["electra"].config)
    theirs = transformers.ElectraForPreTraining(given).eval()
    shapes = {key: tuple(x.shape) for key, x in theirs.state_dict().items()}
    shapes = {
        key: shape for key, shape in shapes.items() if len(shape) and "ids" not in key
    }
    state = values.state("electra", shapes)
    loaded = {key: torch.from_numpy(x) for key, x in state.items()}
    theirs.load_state_dict(loaded, strict=False)
    theirs.save_pretrained(tmp_path)
    found = reading.open_checkpoint(tmp_path)
    one = models.Model("encoder", found.cfg, rtd.Rtd.head, rtd.Rtd.classes)
    like = models.unbox(jax.eval_shape(one.init, jax.random.key(0)))
    flat, _ = reading.read_params(found, one, like)
    for ours, name in (("pooler", "dense"), ("out", "dense_prediction")):
        flat[f"top/{ours}"] = state[f"discriminator_predictions.{name}.weight"].T
        flat[f"top/{ours}_bias"] = state[f"discriminator_predictions.{name}.bias"]
    batch = values.batch(found.cfg.token_types, False)
    there = batch["positions"] >= 0
    said = make().predict(one, masks.nest(flat), batch)["replaced"]
    with torch.no_grad():
        wanted = theirs(
            input_ids=torch.tensor(batch["tokens"]).long(),
            attention_mask=torch.tensor(there).long(),
            token_type_ids=torch.tensor(batch["token_types"]).long(),
        ).logits
    wanted = torch.sigmoid(wanted).numpy()
    np.testing.assert_allclose(np.asarray(said)[there], wanted[there], atol=1e-5)
    assert wanted[there].std() > 0.05


# Learning.


def test_a_tiny_model_learns_which_letters_do_not_belong():
    """Two letters take turns: half of those that the generator draws break the turn."""
    texts = ["ababababab", "bababababa"] * 8
    letters = np.full(BYTE.size, -1e9, np.float32)
    letters[BYTE.encode("ab")] = 0.0
    objective = make(
        length=16,
        generator=lambda batch: jnp.broadcast_to(
            letters, (*batch["at"].shape, BYTE.size)
        ),
    )
    one = model(objective)
    params = jax.tree.map(lambda x: jnp.asarray(x) / 2, tiny.draw(one))
    batch = pack.stack([p.features for p in pieces(objective, texts)], 16, 0, 0)

    tx = optax.adam(1e-2)

    @jax.jit
    def update(params, state, rng):
        def mean(params):
            sums = objective.loss(one.apply, params, batch, rng)
            return sums["loss"][0] / sums["loss"][1], sums

        slope, sums = jax.grad(mean, has_aux=True)(params)
        change, state = tx.update(slope, state)
        return optax.apply_updates(params, change), state, sums

    state = tx.init(params)
    for step in range(80):
        params, state, sums = update(params, state, jax.random.key(step))
    totals = {key: float(s) / float(w) for key, (s, w) in sums.items()}
    assert totals["precision"] > 0.8 and totals["recall"] > 0.8, totals
