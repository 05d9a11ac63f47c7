"""The benchmark of training does what it says: same work, named rows, nothing hidden."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import runs

from lmtasks import builder
from lmtasks.data import features
from lmtasks.models import model as models
from lmtasks.training import masks

ROOT = pathlib.Path(__file__).parents[1]
KEYS = (
    "case", "tokens_per_s", "peer_tokens_per_s", "ratio", "mfu", "peak_gflops",
    "compile_s", "peak_mb", "kind",
)  # fmt: skip
TINY = (
    "train/bert-tiny/3x16", "train/bert-tiny-mlm/3x16", "train/gpt2-tiny/2x24",
    "train/t5-tiny/3x20+12",
)  # fmt: skip


def _case(name):
    return runs.benchmark("cases").choose(name)[0]


def _our_side(name):
    """Return (run, {path: array}, loss of a dict of arrays)."""
    fixed, convert = runs.benchmark("fixed"), runs.benchmark("convert")
    run = fixed.build(_case(name), "float32")
    batch = fixed.batch_of(_case(name), run)
    boxed = jax.eval_shape(run.model.init, jax.random.key(0))
    shapes = models.unbox(boxed)
    flat, tree = jax.tree_util.tree_flatten_with_path(shapes)
    paths = [masks.name_of(path) for path, _ in flat]
    arrays = {
        path: convert.random_value(path, x.shape, run.model.cfg)
        for path, (_, x) in zip(paths, flat, strict=True)
    }
    total = jax.jit(lambda p: run.objective.loss(run.model.apply, p, batch)["loss"])

    def loss(given):
        summed, weight = total(tree.unflatten([given[path] for path in paths]))
        return float(summed / weight)

    return run, arrays, loss


@pytest.mark.parametrize("name", TINY)
def test_no_parameter_can_be_left_out_unseen(name):
    _, arrays, loss = _our_side(name)
    right = loss(arrays)
    for path, x in arrays.items():
        if path.endswith("key_bias"):
            continue  # the same for every key: softmax does not see it
        neutral = np.ones_like(x) if path.endswith("scale") else np.zeros_like(x)
        wrong = loss(arrays | {path: neutral})
        assert abs(wrong - right) > 1e-4 * right, path


@pytest.mark.parametrize("name", TINY)
def test_the_peer_gets_every_parameter_once(name):
    run, arrays, _ = _our_side(name)
    given = runs.benchmark("convert").to_peer(_case(name).family, run.model, arrays)
    sizes = {k: v.size for k, v in given.items()}
    assert sum(sizes.values()) == sum(x.size for x in arrays.values())
    values = np.concatenate([v.ravel() for v in given.values()])
    mine = np.concatenate([x.ravel() for x in arrays.values()])
    np.testing.assert_array_equal(np.sort(values), np.sort(mine))


@pytest.mark.parametrize("name", TINY)
def test_the_peer_has_our_loss(name, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    peer, cases, convert = (
        runs.benchmark("peer"),
        runs.benchmark("cases"),
        runs.benchmark("convert"),
    )
    case = _case(name)
    run, arrays, loss = _our_side(name)
    file = tmp_path / "weights.safetensors"

    def theirs(given):
        peer.safetensors.save_file(
            {
                k: peer.torch.from_numpy(v.copy())
                for k, v in convert.to_peer(case.family, run.model, given).items()
            },
            file,
        )
        model = peer.load(case, cases.Plan(name, weights=str(file)), case.head)
        rows = cases.rows_of(case, model.config.vocab_size)
        with peer.torch.no_grad():
            return model(**peer.COLLATE[case.family, case.head](rows)).loss.item()

    assert theirs(arrays) == pytest.approx(loss(arrays), rel=1e-5)
    changed = {k: x * 1.1 if k.endswith("attn/value") else x for k, x in arrays.items()}
    assert theirs(changed) != pytest.approx(loss(arrays), rel=1e-4)


def test_rows_are_packed_masked_and_of_several_lengths():
    fixed = runs.benchmark("fixed")
    for name in TINY:
        case = _case(name)
        run = fixed.build(case, "float32")
        batch = fixed.batch_of(case, run)
        assert batch["tokens"].shape == (case.batch, case.length)
        assert batch["segments"].max() == 1
        empty = batch["positions"] < 0
        assert (batch["segments"][empty] == 0).all()
        assert empty.any() == (case.shortest < 1)
        assert ("at" in batch) == (case.family == "bert")


def _sst2(folder):
    """Return (data folder, vocabulary) of a few made-up reviews."""
    words = list("abcdefghij")
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(rng.choice(words, rng.integers(2, 30)))}\t{i % 2}"
        for i in range(40)
    ]
    (folder / "train.tsv").write_text("\n".join(rows) + "\n")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join(specials + words) + "\n")
    return str(folder), str(folder / "vocab.txt")


def test_packed_real_text_has_the_loss_of_its_examples_alone(tmp_path):
    cases, real = runs.benchmark("cases"), runs.benchmark("real")
    data, vocab = _sst2(tmp_path)
    case = _case("finetune/bert-tiny/sst2")
    plan = cases.Plan(case.name, steps=2, data=data, vocab=vocab)
    run, read = real.build(case, plan)
    params = jax.jit(lambda key: models.unbox(run.model.init(key)))(jax.random.key(0))
    pieces = read.train.rows.pieces
    packed = real.loss_of_first(run, pieces, params)
    alone = []
    apply = jax.jit(lambda b: run.objective.loss(run.model.apply, params, b)["loss"])
    length = run.config.data.length
    for i in range(cases.CHECKED):
        batch = real.pack.stack([pieces[i].features], length, 0, 1)
        alone.append(float(apply(batch)[0]))
    assert packed == pytest.approx(np.mean(alone), rel=1e-5)


def test_the_peer_reads_the_ids_that_we_do(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    cases, real, peer = (
        runs.benchmark("cases"),
        runs.benchmark("real"),
        runs.benchmark("peer"),
    )
    data, vocab = _sst2(tmp_path)
    case = _case("finetune/bert-tiny/sst2")
    plan = cases.Plan(case.name, steps=2, side="padded", data=data, vocab=vocab)
    run, read = real.build(case, plan)
    pieces: features.Pieces = read.train.rows.pieces
    file = str(tmp_path / "ids.npz")
    real.save_ids(pieces, file)
    rows = peer.read_ids(file)
    assert len(rows) == len(pieces) == 40
    for row, piece in zip(rows, pieces, strict=True):
        np.testing.assert_array_equal(row.ids, piece.features["tokens"])
        assert row.targets[0] == piece.features["targets"][0]
        assert (row.targets[1:] == cases.IGNORED).all()
    batch = peer.classified(rows[:3])
    longest = max(len(row.ids) for row in rows[:3])
    assert batch["input_ids"].shape == (3, longest)
    assert batch["attention_mask"].sum() == sum(len(row.ids) for row in rows[:3])
    assert isinstance(run, builder.Run)


def test_losses_that_differ_stop_the_run():
    report = runs.benchmark("report")
    report.losses({"ours": [0.5], "peer": [0.50004]}, exact=True)
    with pytest.raises(ValueError, match="do not do the same"):
        report.losses({"ours": [0.5], "peer": [0.5001]}, exact=True)


def test_wrong_flags_are_one_sentence(capsys):
    main = runs.benchmark("measure").main
    assert main(["--cases=train/bert-bas/8x128"]) == 2
    assert "did you mean 'train/bert-base/8x128'" in capsys.readouterr().err
    assert main(["--cases=finetune/bert-tiny/sst2"]) == 2
    assert "needs --data=FOLDER" in capsys.readouterr().err
    assert main(["--blocks=0"]) == 2
    assert "--blocks" in capsys.readouterr().err


def test_the_ratio_is_of_medians_over_blocks():
    def block(slots):
        return {
            "slots": slots, "tokens": slots, "examples": 1,
            "seconds": 2.0, "flops": 8.0, "losses": [1.0],
        }  # fmt: skip

    blocks = {
        "ours": [block(n) for n in (10, 40, 30)],
        "peer": [block(n) for n in (10, 20, 99)],
    }
    row = runs.benchmark("report").row(_case(TINY[0]), blocks, 16.0)
    assert row["ratio"] == 30 / 20
    assert row["tokens_per_s"] == 15.0
    assert row["mfu"] == 4.0 / 16.0


def _run(folder, *flags):
    """Return (rows, standard output) of the command with --json."""
    out = folder / "rows.jsonl"
    script = ROOT / "experiments" / "benchmarks" / "train.py"
    command = [sys.executable, str(script), f"--json={out}", *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:
        assert set(KEYS) <= row.keys()
        assert row["ratio"] is None and row["peer_tokens_per_s"] is None
        assert row["tokens_per_s"] > 0 and row["peak_mb"] > 50
        assert row["compile_s"] > row["compile_cached_s"] > 0
        assert all(len(values) == 2 for values in row["blocks"].values())
    return rows, done.stdout


@pytest.mark.process
def test_a_tiny_table_from_the_command_line(tmp_path):
    flags = (f"--cases={TINY[0]}", "--blocks=2", "--steps=1")
    (row,), said = _run(tmp_path, *flags)
    assert (row["case"], row["kind"]) == (TINY[0], "step")
    assert row["losses"]["ours"][1] != row["losses"]["ours"][0]
    assert "MFU" in said and "FLOPs" in said


@pytest.mark.slow
def test_real_text_from_the_command_line(tmp_path):
    data, vocab = _sst2(tmp_path)
    flags = ("--cases=finetune/bert-tiny/sst2", "--blocks=2", "--real_steps=2")
    (row,), said = _run(tmp_path, *flags, f"--data={data}", f"--vocab={vocab}")
    assert row["kind"] == "real"
    assert row["padded_ratio"] > 0 and row["grouped_ratio"] is None
    assert "packed" in said
