"""The benchmark of decoding does what it says: same texts, named rows, true bounds."""

import json
import pathlib
import subprocess
import sys

import jax
import pytest
import runs

ROOT = pathlib.Path(__file__).parents[1]
PEERED = (
    "decode/gpt2-small/greedy/b1/p64+64", "decode/gpt2-small/greedy/b8/p64+64",
    "decode/gpt2-small/top_p/b8/p64+64", "decode/gpt2-small/beam4/b2/p64+64",
    "decode/gpt2-small/greedy/b1/p64+512", "decode/t5-small/greedy/b8/p128+64",
    "decode/t5-small/beam4/b4/p128+64",
)  # fmt: skip
OWN = (
    "decode/gpt2-small/greedy/b8/p64+64/bf16", "decode/gpt2-small/greedy/b1/p64+64/bf16",
    "decode/gpt2-small/greedy/b1/p64+64/int8", "decode/gpt2-small/greedy/b8/p64+64/int8",
    "decode/gpt2-small/greedy/b4/p16+64", "decode/gpt2-small/greedy/b4/p256+64",
    "decode/gpt2-small/greedy/b4/p960+64", "decode/gpt2-small/samples4/b2/p64+64",
)  # fmt: skip
TINY = ("decode/gpt2-tiny/greedy/b2/p8+4", "decode/t5-tiny/beam4/b2/p8+4")
KEYS = (
    "case", "tokens_per_s", "peer_tokens_per_s", "ratio", "bound_share", "bandwidth",
    "bytes_per_step", "blocks", "compile_s", "temp_bytes", "float32_ratio",
)  # fmt: skip


def _case(name):
    return runs.benchmark("cases").choose(name, runs.benchmark("decode_cases").CASES)[0]


def test_the_tables_hold_the_named_rows():
    standard = runs.benchmark("cases").choose("", runs.benchmark("decode_cases").CASES)
    assert tuple(c.name for c in standard if c.peer) == PEERED
    assert tuple(c.name for c in standard if not c.peer) == OWN
    names = [c.name for c in runs.benchmark("decode_cases").CASES]
    assert len(set(names)) == len(names)


def test_a_step_of_gpt2_reads_all_but_its_positions():
    size = runs.benchmark("decode_ours").step_bytes(
        _case("decode/gpt2-small/greedy/b8/p64+64")
    )
    assert size["weight_bytes"] == 4 * (124_439_808 - 1024 * 768)
    # Twelve layers' keys and values of 96 slots in the mean.
    assert size["cache_bytes"] == 12 * 2 * 8 * 96 * 768 * 4


def test_a_step_of_t5_reads_its_decoder_and_the_cached_source():
    size = runs.benchmark("decode_ours").step_bytes(
        _case("decode/t5-small/beam4/b4/p128+64")
    )
    d, f, inner, layers = 512, 2048, 512, 6
    # Per layer: four products of self-attention, two of cross-attention, the
    # feed-forward, three norms; then the last norm and the table as a head.
    layer = 6 * d * inner + 2 * d * f + 3 * d
    assert size["weight_bytes"] == 4 * (layers * layer + d + 32128 * d)
    slots = 1 + 4 * 32 + 128  # of the text's beams half of 64 in the mean
    assert size["cache_bytes"] == layers * 2 * 4 * slots * inner * 4


@pytest.mark.parametrize("kind,least,most", [("bfloat16", 2.0, 2.0), ("int8", 1, 1.02)])
def test_rounded_weights_are_fewer_bytes(kind, least, most):
    ours = runs.benchmark("decode_ours")
    case = _case("decode/gpt2-small/greedy/b1/p64+64")
    weights = 124_439_808 - 1024 * 768
    assert least <= ours.step_bytes(case, kind)["weight_bytes"] / weights <= most


@pytest.mark.parametrize("name", ["decode/gpt2-tiny/beam4/b2/p8+4", *TINY])
def test_the_cache_bytes_are_the_mean_over_the_steps(name):
    ours, case = runs.benchmark("decode_ours"), _case(name)
    model = ours.model_of(case)
    c, source = model.cfg, 8 if case.family == "t5" else 0
    begun = 1 if source else case.prompt
    slots = [begun + n * case.decode.lanes + source for n in range(1, case.new)]
    vector = 2 * c.layers * case.batch * c.kv_heads * c.head_dim * 4
    assert ours.cache_bytes(case, model) == vector * sum(slots) / len(slots)


@pytest.mark.parametrize("name", ["decode/gpt2-tiny/greedy/b2/p8+4", TINY[1]])
def test_the_texts_have_variety(name):
    """Texts of one token again and again would agree whatever a side did wrong."""
    ours = runs.benchmark("decode_ours")
    writing = ours.Writing()
    writing.setup({"case": name})
    writing.compile("float32")
    first, second = writing.tokens("float32")["tokens"]
    assert first != second
    assert len({*first, *second}) > 3


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_other_weights_write_whole_texts(kind):
    writing = runs.benchmark("decode_ours").Writing()
    writing.setup({"case": TINY[0]})
    assert writing.compile(kind)["temp_bytes"] > 0
    assert all(token >= 0 for row in writing.tokens(kind)["tokens"] for token in row)
    assert writing.run(kind, seconds=0, part="read")["calls"] == 1


def test_first_tokens_that_differ_stop_the_run():
    check = runs.benchmark("decode").check
    text = list(range(20))
    assert check([text, text], [text, text]) == 1.0
    late = [*text[:8], 99, *text[9:]]
    assert check([text, text], [text, late]) == 39 / 40
    early = [*text[:7], 99, *text[8:]]
    with pytest.raises(ValueError, match="row 1 differ.*do not do the same"):
        check([text, text], [text, early])


def test_the_row_is_of_medians_and_the_bound_of_bytes():
    case = _case("decode/gpt2-tiny/samples4/b2/p8+4")
    found = {
        "ours": [1.0, 2.0, 8.0], "peer": [4.0, 4.0, 5.0],
        "read": [0.5, 0.5, 0.5], "bandwidth": [50.0, 100.0, 90.0],
    }  # fmt: skip
    program = {"weight_bytes": 8, "cache_bytes": 2, "compile_s": 1.0, "temp_bytes": 3}
    row = runs.benchmark("decode").row(case, program, found)
    assert set(KEYS) <= row.keys()
    # Four tokens of four texts of two rows in two seconds.
    assert row["tokens_per_s"] == 16.0
    assert row["ratio"] == 2.0
    # 10 bytes at 100 bytes/s are 0.1 s a step of 8 tokens: 80 tokens/s.
    assert row["bound_share"] == pytest.approx(16 / 80)
    assert row["step_bound_share"] == pytest.approx(0.1 / 0.5)
    assert row["float32_ratio"] is None


def test_wrong_flags_are_one_sentence(capsys):
    main = runs.benchmark("decode").main
    assert main(["--cases=decode/gpt2-smal/greedy/b1/p64+64"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'decode/gpt2-small/greedy/b1/p64+64'" in said
    assert said.count("\n") == 1
    assert main(["--blocks=0"]) == 2
    assert "--blocks" in capsys.readouterr().err


def test_the_bandwidth_is_that_of_some_memory():
    found = runs.benchmark("decode_ours").Writing().bandwidth(size=2**20, seconds=0.01)
    assert found["bytes_per_s"] > 1e6
    assert jax.default_backend() == "cpu"


def _run(folder, *flags):
    """Return (rows, standard output) of the command with --json."""
    out = folder / "rows.jsonl"
    command = [sys.executable, "-m", "experiments.benchmarks.decode", f"--json={out}"]
    flags = (*flags, "--blocks=2", "--seconds=0.01")
    done = subprocess.run(
        [*command, *flags], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:
        assert set(KEYS) <= row.keys()
        assert row["tokens_per_s"] > 0 and row["bound_share"] > 0
        assert row["bytes_per_step"] == row["weight_bytes"] + row["cache_bytes"]
        assert all(len(values) == 2 for values in row["blocks"].values())
        assert row["case"] in done.stdout
    return rows, done.stdout


@pytest.mark.process
def test_tiny_rows_from_the_command_line(tmp_path):
    rows, said = _run(tmp_path, f"--cases={','.join(TINY)}")
    assert [row["case"] for row in rows] == list(TINY)
    for row in rows:
        assert row["ratio"] is row["peer_tokens_per_s"] is row["same_tokens"] is None
    assert "bandwidth" in said


@pytest.mark.process
def test_rows_of_other_weights_stand_beside_float32(tmp_path):
    (row,), said = _run(tmp_path, f"--cases={TINY[0]}/int8")
    assert row["dtype"] == "int8"
    assert row["float32_ratio"] > 0 and row["ratio"] is None
    assert set(row["blocks"]) == {"ours", "float32"}
    assert "float32" in said


@pytest.mark.process
def test_tiny_rows_beside_the_peer(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    sampled = "decode/gpt2-tiny/top_p/b2/p8+4"
    rows, _ = _run(tmp_path, f"--cases={','.join((*TINY, sampled))}", "--peer=torch")
    assert [row["same_tokens"] for row in rows] == [1.0, 1.0, None]
    for row in rows:
        assert row["ratio"] == row["tokens_per_s"] / row["peer_tokens_per_s"]
