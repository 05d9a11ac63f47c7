"""Writer and its verbs: buckets, streams, several texts, constraints in words."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import runs

from lmtasks import api
from lmtasks.cli import common
from lmtasks.decode import plan
from lmtasks.training import parallel
from lmtasks.training import writing

PROMPTS = ["the cat", "a film that i", "no"]
SCHEMA = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """Return {kind: work directory} of tiny trained runs that write."""
    folder = tmp_path_factory.mktemp("writing")
    lines = [f"the cat sat on mat number {i} and slept\n" for i in range(20)]
    (folder / "text.txt").write_text("".join(lines))
    rows = [{"source": f"say {i}", "target": f"it is {i}"} for i in range(20)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    made = {}
    for kind, spec, file in (
        ("text", "own:text,decoder", "text.txt"),
        ("decoder", "own:seq2seq,decoder", "pairs.jsonl"),
        ("encoder_decoder", "own:seq2seq,encoder_decoder", "pairs.jsonl"),
    ):
        made[kind] = folder / kind
        flags = runs.settings(
            data__length=32, data__source_length=32, tokenizer__kind="byte",
            decode__max_tokens=10, decode__samples=0,
        )  # fmt: skip
        files = [
            f"--config.data.files.{split}={folder / file}"
            for split in ("train", "validation")
        ]
        argv = ["train", f"--config={spec}", f"--workdir={made[kind]}", *flags, *files]
        from lmtasks.cli import main

        assert main.main(argv) == 0
    return made


def _loaded(folder, **decode):
    flags = [(f"decode.{key}", str(value)) for key, value in decode.items()]
    found = api.load(str(folder), config=common.config_of(None, flags, str(folder)))
    # One device: its programs compile sooner.
    mesh = parallel.make_mesh(parallel.Parallel(), jax.devices()[:1])
    params = jax.device_put(jax.device_get(found.params), jax.devices()[0])
    draft = found.draft and dataclasses.replace(found.draft, params=params)
    return dataclasses.replace(found, mesh=mesh, params=params, draft=draft)


@pytest.mark.parametrize("kind", ["text", "decoder", "encoder_decoder"])
def test_a_streamed_text_is_the_written_one(works, kind):
    loaded = _loaded(works[kind], temperature=1.0)
    writer = writing.Writer(loaded)
    rows = writer.write(PROMPTS)
    first = rows[0]
    pieces = list(writer.stream(PROMPTS[0]))
    assert "".join(pieces) == first["text"] and all(pieces)
    assert 0 < first["tokens"] <= 10 and first["log_prob"] < 0
    assert api.generate(loaded, PROMPTS) == [row["text"] for row in rows]


def test_a_new_prompt_of_the_same_bucket_does_not_compile(works):
    writer = writing.Writer(_loaded(works["text"]))
    writer.write(PROMPTS)
    assert writer.compilations == 1
    writer.write(["another", "three words", "x"])
    writer.write(["only", "one", "of"])
    assert writer.compilations == 1
    list(writer.stream("abc"))
    assert writer.compilations == 3  # its beginning and its going on
    list(writer.stream("some other"))
    assert writer.compilations == 3
    writer.write(["a prompt that is longer than the smallest"])
    assert writer.compilations == 4


def test_several_texts_come_with_the_chosen_one_first(works):
    loaded = _loaded(works["text"], temperature=1.0, texts=3, choose="likeliest")
    for row in writing.Writer(loaded).write(PROMPTS):
        assert len(row["texts"]) == 3
        best = max(row["texts"], key=lambda one: one["log_prob"])
        assert row["text"] == best["text"] and row["log_prob"] == best["log_prob"]
    beams = _loaded(works["text"], method="beam", texts=2, length_penalty="none")
    for row in writing.Writer(beams).write(PROMPTS):
        first, second = (one["log_prob"] for one in row["texts"])
        assert row["log_prob"] == first >= second


ALLOWED = {
    "regex": ("[0-9]{3}-[ab]+", None),
    "choices": ("yes,no,maybe", lambda t: t in ("yes", "no", "maybe")),
    "prefix": ("Who:", lambda t: t.startswith("Who:")),
    "forbid": ("e,t", lambda t: not {"e", "t"} & set(t)),
    "stop": ("b", None),
}


@pytest.mark.parametrize(
    "kind, names",
    [
        ("decoder", ("regex", "stop")),
        ("decoder", ("choices",)),
        ("encoder_decoder", ("prefix", "forbid")),
    ],
)
def test_texts_are_what_the_words_of_a_config_allow(works, kind, names):
    decode = {name: ALLOWED[name][0] for name in names}
    loaded = _loaded(works[kind], temperature=1.5, **decode)
    for row in writing.Writer(loaded).write(PROMPTS):
        if names == ("regex", "stop"):
            assert row["text"][:4][:3].isdigit() and "b" not in row["text"]
        else:
            assert all(ALLOWED[name][1](row["text"]) for name in names), row


def test_a_text_under_a_schema_parses(works):
    loaded = _loaded(
        works["decoder"], temperature=1.0, json_schema=SCHEMA, max_tokens=60
    )
    said = [json.loads(row["text"]) for row in writing.Writer(loaded).write(PROMPTS)]
    assert all(isinstance(one["n"], int) for one in said)


def test_speculation_with_another_run_writes_the_same_text(works):
    alone = writing.Writer(_loaded(works["text"])).write(PROMPTS)
    for values in ({"method": "draft", "draft": works["text"]}, {"method": "lookup"}):
        other = writing.Writer(_loaded(works["text"], **values)).write(PROMPTS)
        assert [row["text"] for row in other] == [row["text"] for row in alone]


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_rounded_weights_and_caches_write_text(works, weights):
    loaded = _loaded(works["text"], weights=weights, cache=weights, prefill=8)
    assert all(row["tokens"] for row in writing.Writer(loaded).write(PROMPTS))


def test_a_run_that_reads_only_writes_nothing(works, tmp_path, capsys):
    runs.good(capsys, *runs.classify(runs.data(tmp_path / "d"), tmp_path / "w"))
    said = runs.command(capsys, "generate", f"--workdir={tmp_path / 'w'}", "--prompt=a")
    assert said.code == 2 and "writes no text; use predict" in said.err


def _generate(capsys, folder, *argv):
    return runs.command(capsys, "generate", f"--workdir={folder}", *argv)


def test_generate_writes_a_row_a_prompt_in_order(works, tmp_path, capsys):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "the cat"}\n\n{"prompt": "no"}\n')
    said = _generate(capsys, works["text"], f"--input={source}", f"--output={out}")
    assert said.code == 0, said.err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[1] == {"error": "no prompt"}
    wanted = writing.Writer(_loaded(works["text"])).write(["the cat", "no"])
    for row, one in zip((rows[0], rows[2]), wanted, strict=True):
        assert row.keys() == {"text", "tokens", "log_prob"}
        assert row["text"] == one["text"] and row["tokens"] == one["tokens"]
        assert row["log_prob"] == pytest.approx(one["log_prob"], rel=1e-5)


def test_generate_streams_a_prompt_and_compares_methods(works, capsys):
    said = _generate(capsys, works["text"], "--prompt=the cat")
    text = writing.Writer(_loaded(works["text"])).write(["the cat"])[0]["text"]
    assert said.code == 0 and said.out == text + "\n"
    names = "greedy,beam2,topk5"
    said = _generate(capsys, works["text"], "--prompt=the cat", f"--methods={names}")
    assert said.code == 0, said.err
    for word in (*names.split(","), "log-prob", "repetition", "distinct-1", "tokens/s"):
        assert word in said.out


def test_a_cut_prompt_is_counted_and_said(works, capsys):
    said = _generate(capsys, works["text"], f"--prompt={'long ' * 20}")
    assert said.code == 0 and "1 prompts lost" in said.err
    flag = "--config.data.on_long=raise"
    said = _generate(capsys, works["text"], f"--prompt={'long ' * 20}", flag)
    assert said.code == 2 and "tokens too long" in said.err


def test_score_gives_what_the_model_says_of_targets(works, tmp_path, capsys):
    source = tmp_path / "pairs.jsonl"
    rows = [{"prompt": "say 3", "target": "it is 3"}, {"prompt": "say", "target": "zz"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = runs.good(
        capsys, "score", f"--workdir={works['decoder']}", f"--input={source}"
    )
    said = [json.loads(line) for line in out.splitlines()]
    for row in said:
        assert row.keys() == {"log_prob", "tokens", "token_log_probs"}
        assert len(row["token_log_probs"]) == row["tokens"]
        assert row["log_prob"] == pytest.approx(sum(row["token_log_probs"]), rel=1e-5)
    assert said[0]["tokens"] == len(" it is 3") + 1
    assert np.isfinite([row["log_prob"] for row in said]).all()


BAD = [
    (["--prompt= "], "prompt 1 is empty"),
    (["--prompt=a", "--input=b"], "exclude another"),
    (["--prompt=a", "--methods=beem4"], "did you mean 'beam'"),
    (["--prompt=a", "--methods=beam400"], "decode.beams=400 is above the vocabulary"),
    (["--prompt=a", "--config.decode.method=beems"], "did you mean 'beam'"),
    (["--prompt=a", "--config.decode.temperature=-1"], "temperature >= 0"),
    (["--prompt=a", "--config.decode.top_p=1.5"], "0 < top_p <= 1"),
    (["--prompt=a", "--config.decode.top_k=-2"], "top_k >= 0"),
    (["--prompt=a", "--config.decode.no_repeat_ngram=-1"], "no_repeat_ngram >= 0"),
    (["--prompt=a", "--config.decode.stop=('',)"], "decode.stop=('',) takes texts"),
    (["--prompt=a", "--config.decode.regex=[0-9"], "decode.regex='[0-9'"),
    (["--prompt=a", '--config.decode.json_schema={"type":"object","enum":[]}'], "decode.json_schema"),
    (["--prompt=a", "--config.decode.json_schema=nowhere.json"], "neither a JSON object nor a file"),
    (["--prompt=a", "--config.decode.regex=a", "--config.decode.choices=a,b"], "exclude another"),
    (["--prompt=a", "--config.decode.method=draft"], "the work directory of the model that drafts"),
    (["--prompt=a", "--config.decode.texts=3"], "set decode.temperature above 0"),
    (["--prompt=a", "--config.decode.method=contrastive"], "decode.top_k tokens; set it"),
    (["--prompt=a", "--config.decode.beams=4", "--config.decode.beam_groups=3"], "not divisible"),
    (["--prompt=a", "--config.decode.min_tokens=99"], "decode.min_tokens=99 is above"),
    (["--prompt=a", "--config.decode.weights=int4"], "decode.weights='int4' is not one of"),
]  # fmt: skip


@pytest.mark.parametrize(
    "argv, sentence", BAD, ids=[" ".join(a[1:])[:50] for a, _ in BAD]
)
def test_a_mistake_is_one_sentence(works, capsys, argv, sentence):
    said = _generate(capsys, works["text"], *argv)
    assert said.code == 2 and sentence in said.err, said.err
    assert said.err.count("\n") == 1 and not said.out


def test_rows_that_are_no_prompts_name_their_line(works, tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    said = _generate(capsys, works["text"], f"--input={source}")
    assert said.code == 2 and f"{source}:2" in said.err and '"prompt"' in said.err
    said = runs.command(
        capsys, "score", f"--workdir={works['text']}", f"--input={source}"
    )
    assert said.code == 2 and f"{source}:1" in said.err and '"target"' in said.err


def test_a_plan_named_for_a_method_keeps_the_others_numbers():
    base = plan.Decode(max_tokens=7, repetition_penalty=1.2, temperature=0.5)
    got = plan.named("topp0.9", base)
    assert (got.temperature, got.top_p, got.repetition_penalty) == (0.5, 0.9, 1.2)
