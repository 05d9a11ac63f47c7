"""The benchmarks of masked tokens and of tags do what they say."""

import jax
import numpy as np
import pytest
import runs

from lmtasks.models import model as models

WORDS = tuple("abcdefghij")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MASKED, TAGGED = "train/bert-tiny-mlm/3x16", "finetune/bert-tiny/wnut17"


def _case(name):
    return runs.benchmark("cases").choose(name)[0]


def _vocabulary(folder):
    """Return a WordPiece list: the letters, one by one and going on."""
    pieces = [*SPECIALS, *WORDS, *(f"##{letter}" for letter in WORDS)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return str(folder / "vocab.txt")


def _posts(folder):
    """Return a folder with sentences of words of one to three pieces, with tags."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(40):
        for _ in range(rng.integers(2, 12)):
            word = "".join(rng.choice(WORDS, rng.integers(1, 4)))
            lines.append(f"{word}\t{rng.choice(['O', 'B-person', 'I-person'])}")
        lines.append("")
    (folder / "train.conll").write_text("\n".join(lines))
    return str(folder)


def test_the_same_share_of_every_row_is_to_be_found():
    cases = runs.benchmark("cases")
    for name in (MASKED, "train/bert-base-mlm/8x128"):
        case = _case(name)
        kinds = np.zeros(3)
        for row in cases.rows_of(case, 30522):
            asked = row.targets != cases.IGNORED
            assert asked.sum() == round(0.15 * len(row.ids))
            assert (row.targets[asked] != cases.MASK).all()
            hidden = row.ids == cases.MASK
            same = row.ids == row.targets
            kinds += [(hidden & asked).sum(), (same & asked).sum(), asked.sum()]
        assert kinds[0] / kinds[2] > 0.5
    # Of 134 tokens: 80% hidden, 10% kept.
    assert 0.7 < kinds[0] / kinds[2] < 0.9
    assert 0.03 < kinds[1] / kinds[2] < 0.2


def test_the_rows_of_other_cases_are_unchanged():
    rows = runs.benchmark("cases").rows_of(_case("train/bert-base/8x128"), 30522)
    assert [len(row.ids) for row in rows] == [96, 100, 105, 109, 114, 118, 123, 128]
    assert [row.targets[0] for row in rows] == [0, 1, 1, 1, 1, 1, 1, 1]


def test_a_step_without_gathering_has_the_same_loss():
    fixed = runs.benchmark("fixed")
    run = fixed.build(_case(MASKED), "float32")
    params = jax.jit(lambda key: models.unbox(run.model.init(key)))(jax.random.key(0))

    @jax.jit
    def loss(batch):
        total, weight = run.objective.loss(run.model.apply, params, batch)["loss"]
        return total / weight

    some = fixed.batch_of(_case(MASKED), run)
    every = fixed.batch_of(_case(MASKED), run, gather=False)
    assert some["at"].shape == (3, 2) and "at" not in every
    assert float(loss(some)) == pytest.approx(float(loss(every)), rel=1e-6)
    assert fixed.flops_of(run, some) < fixed.flops_of(run, every)


def test_the_row_says_what_gathering_is_worth():
    def block(slots):
        return {
            "slots": slots, "tokens": slots, "examples": 1,
            "seconds": 2.0, "flops": 8.0, "losses": [1.0],
        }  # fmt: skip

    blocks = {"ours": [block(30)], "ungathered": [block(20)]}
    report = runs.benchmark("report")
    row = report.row(_case(MASKED), blocks, 16.0)
    assert row["ungathered_ratio"] == 1.5
    row |= dict.fromkeys(("compile_s", "compile_cached_s", "peak_mb"), 1.0)
    assert "1.50x ungathered (10)" in report.table([row | {"peer_peak_mb": None}])


def _tagged(folder, side="packed"):
    """Return (plan, run, feed) of the tiny case of tags."""
    plan = runs.benchmark("cases").Plan(
        TAGGED, steps=2, side=side, data=_posts(folder), vocab=_vocabulary(folder)
    )
    return plan, *runs.benchmark("real").build(_case(TAGGED), plan)


def test_packed_tags_have_the_loss_of_their_sentences_alone(tmp_path):
    real = runs.benchmark("real")
    _, run, read = _tagged(tmp_path)
    params = jax.jit(lambda key: models.unbox(run.model.init(key)))(jax.random.key(0))
    pieces, length = read.train.rows.pieces, run.config.data.length
    packed = real.loss_of_first(run, pieces, params)
    apply = jax.jit(lambda b: run.objective.loss(run.model.apply, params, b)["loss"])
    count = runs.benchmark("cases").CHECKED
    alone = [
        apply(real.pack.stack([pieces[i].features], length, 0, length))
        for i in range(count)
    ]
    total, weight = np.sum(np.asarray(alone), axis=0)
    assert weight > 2 * count
    assert packed == pytest.approx(total / weight, rel=1e-5)


def test_an_example_is_a_segment_or_a_row(tmp_path):
    ours = runs.benchmark("ours")
    for side in ("packed", "padded"):
        folder = tmp_path / side
        folder.mkdir()
        _, _, read = _tagged(folder, side)
        batch = read.train.batch(0)
        slots, tokens, examples = ours._counts(batch)
        assert slots == batch["tokens"].size > tokens > 0
        assert examples == len(read.train.example_ids(0))


def test_the_peer_reads_the_tags_that_we_do(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    cases, real, peer = (
        runs.benchmark("cases"),
        runs.benchmark("real"),
        runs.benchmark("peer"),
    )
    _, _, read = _tagged(tmp_path, "padded")
    file = str(tmp_path / "ids.npz")
    real.save_ids(read.train.rows.pieces, file)
    rows = peer.read_ids(file)
    for row, piece in zip(rows, read.train.rows.pieces, strict=True):
        features = piece.features
        np.testing.assert_array_equal(row.ids, features["tokens"])
        said = features["weights"] > 0
        np.testing.assert_array_equal(row.targets[said], features["targets"][said])
        assert (row.targets[~said] == cases.IGNORED).all()
        # Special tokens and the pieces a word goes on with carry no tag.
        assert said.sum() < len(said) - 1 and not said[0] and not said[-1]
    batch = peer.tagged(rows[:3])
    assert batch["labels"].shape == batch["input_ids"].shape
    assert (batch["labels"][batch["attention_mask"] == 0] == cases.IGNORED).all()
    slots, tokens, examples = peer._counts(batch, replies=False)
    assert (slots, tokens) == (
        batch["input_ids"].numel(),
        batch["attention_mask"].sum(),
    )
    assert examples == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetune/bert-tiny/sst2", TAGGED])
def test_the_peer_has_our_loss_of_real_text(name, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    ours, peer, cases = (
        runs.benchmark("ours"),
        runs.benchmark("peer"),
        runs.benchmark("cases"),
    )
    data, vocab = _posts(tmp_path), _vocabulary(tmp_path)
    (tmp_path / "train.tsv").write_text("a b\t1\nc d e\t0\nf g\t1\nb c\t0\n" * 10)
    plan = vars(cases.Plan(name, data=data, vocab=vocab, steps=2))
    plan |= {"weights": str(tmp_path / "w.safetensors"), "ids": str(tmp_path / "i.npz")}
    mine, theirs = ours.Training(), peer.Training()
    mine.setup(plan)
    mine.export()
    theirs.setup(plan)
    (one,), (other,) = mine.check()["losses"], theirs.check()["losses"]
    assert one == pytest.approx(other, rel=1e-4)
    assert theirs.run(warm=0, steps=2, seconds=1e9)["examples"] == 16


def test_a_case_needs_its_own_data(capsys):
    main = runs.benchmark("measure").main
    assert main([f"--cases={TAGGED}", "--data=x", "--vocab=y"]) == 2
    assert "needs --ner_data=FOLDER" in capsys.readouterr().err
