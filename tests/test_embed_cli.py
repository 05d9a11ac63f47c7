"""`lmtasks embed` on every kind of run, and `lmtasks inspect --words`."""

import dataclasses
import io
import json
import sys

import checkpoints
import numpy as np
import pytest
import runs
import test_reference
import vectors_peer

from lmtasks import tokenizers
from lmtasks.data import examples
from lmtasks.inspection import words
from lmtasks.models import layout
from lmtasks.objectives import embed
from lmtasks.training import vectors

# (task, architecture): what lies under each kind of head.
CELLS = [
    ("toy_labelled", "encoder"),
    ("toy_pair", "encoder"),
    ("toy_text", "decoder"),
    ("toy_labelled", "decoder"),
    ("toy_turns", "encoder_decoder"),
]
TEXTS = ["abc", "a longer text", "b", "abc"]
PLAIN = embed.Options(normalize=False)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return the work directory of a tiny BERT with a class head, as published."""
    here = tmp_path_factory.mktemp("embed")
    source = test_reference.write("bert-classify", here / "bert")
    checkpoints.write_vocab(source)
    argv = ("import", f"--from={source}", f"--workdir={here / 'run'}")
    with pytest.MonkeyPatch.context() as patch:
        runs.keep_cache(patch)
        assert runs.main.main(list(argv)) == 0
        yield here / "run"


def written(capsys, work, folder, text, *flags):
    """Run the verb on a file of this text; return (vectors, what it printed)."""
    source, output = folder / "texts.txt", folder / "vectors.npy"
    source.write_text(text)
    argv = (f"--workdir={work}", f"--input={source}", f"--output={output}", *flags)
    said = runs.good(capsys, "embed", *argv)
    return np.load(output), said


RAW = "--config.embed.normalize=False"


def test_the_vectors_are_those_of_transformers_mean_pooling(work, tmp_path, capsys):
    lines = "".join(f"{text}\n" for text in vectors_peer.TEXTS)
    found, said = written(capsys, work, tmp_path, lines, RAW)
    with np.load(vectors_peer.FIXTURE) as recorded:
        wanted = recorded["vectors"]
    assert found.dtype == np.float32 and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert "4 x 24 float32, mean pooling, any length" in said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_vectors_are_those_that_transformers_computes(work, tmp_path, capsys):
    pytest.importorskip("transformers", reason="the extra [parity] is not installed")
    lines = "".join(f"{text}\n" for text in vectors_peer.TEXTS)
    found, _ = written(capsys, work, tmp_path, lines, RAW)
    np.testing.assert_allclose(found, vectors_peer.vectors(), atol=1e-5)


def test_jsonl_rows_have_their_vectors_in_order(work, tmp_path, capsys):
    texts = ["a b", "c", "a b"]
    rows = "".join(json.dumps({"text": t, "id": 1}) + "\n" for t in texts)
    found, said = written(capsys, work, tmp_path, rows)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.array_equal(found[0], found[2]) and not np.allclose(found[0], found[1])
    assert "mean pooling, length 1" in said and "cut" not in said


def test_texts_come_from_standard_input_too(work, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("a b\nc\n"))
    output = tmp_path / "v.npy"
    argv = (f"--workdir={work}", "--input=-", f"--output={output}")
    runs.good(capsys, "embed", *argv, "--config.embed.pooling=cls")
    assert np.load(output).shape == (2, 24)


def test_long_texts_are_cut_and_counted_or_refused(work, tmp_path, capsys):
    text = "a " * 30 + "\nb\n"
    found, said = written(capsys, work, tmp_path, text)
    assert found.shape == (2, 24) and "1 texts were cut (12 tokens)" in said
    argv = (f"--workdir={work}", f"--input={tmp_path / 'texts.txt'}")
    argv = (*argv, f"--output={tmp_path / 'v.npy'}", "--config.data.on_long=raise")
    said = runs.command(capsys, "embed", *argv)
    assert said.code == 2 and "input 1: the text is 12 tokens too long" in said.err


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("a\n\nb\n", [], "texts.txt:2: no text"),
        ("a\n \t\n", [], "texts.txt:2: no text"),
        ('{"text": "a"}\n{"txt": "b"}\n', [], "texts.txt:2: no text; its keys are txt"),
        ('{"text": "a"}\n{"text": 3}\n', [], "texts.txt:2: no text"),
        ('{"text": "a"}\n\n', [], "texts.txt:2: no text"),
        ("", [], "is empty; it needs one input a line"),
        ("a\n", ["--output=v.txt"], "--output=v.txt must be a .npy file"),
        ("a\n", ["--output=none/v.npy"], "in a folder that is there"),
        ("a\n", ["--config.embed.pooling=sum"], "embed.pooling='sum' is not one of"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    work, tmp_path, capsys, text, flags, message
):
    source = tmp_path / "texts.txt"
    source.write_text(text)
    argv = [f"--workdir={work}", f"--input={source}", f"--output={tmp_path / 'v.npy'}"]
    said = runs.command(capsys, "embed", *argv, *flags)
    assert said.code == 2 and message in said.err
    assert not (tmp_path / "v.npy").exists()


# Any run.


@pytest.mark.parametrize("cell", CELLS)
def test_every_run_embeds_each_text_by_what_lies_under_its_head(cell):
    one = runs.untrained(*cell)
    found, counts = vectors.embed_texts(one, TEXTS, PLAIN)
    assert found.shape == (4, 16) and counts == {"cut": 0, "tokens_cut": 0}
    assert np.array_equal(found[0], found[3])
    objective = embed.Embed(one.run.objective.setting)
    row = objective.query(examples.Text(TEXTS[1]), one.run.tokenizer)[0]
    batch = {k: row[k][None] for k in ("tokens", "positions")}
    if cell[1] == "encoder_decoder":
        batch = {f"source{k[6:]}": x for k, x in batch.items() if k == "tokens"}
        batch["source_positions"] = row["positions"][None]
        batch |= {k: row[k][None, :1] for k in ("tokens", "positions")}
        hidden = one.run.model.module().apply(
            {"params": one.params}, batch, method="_encode"
        )
    else:
        bare = dataclasses.replace(one.run.model, head="none")
        hidden = bare.apply(one.params, batch)
    np.testing.assert_allclose(found[1], hidden[0].mean(axis=0), atol=1e-5)


def test_the_batch_size_changes_no_vector():
    many, _ = vectors.embed_texts(runs.untrained(*CELLS[0]), TEXTS, PLAIN)
    one, _ = vectors.embed_texts(
        runs.untrained(*CELLS[0], eval__batch_size=1), TEXTS, PLAIN
    )
    np.testing.assert_allclose(many, one, atol=1e-5)


def test_a_scanned_model_has_the_same_vectors():
    plain = runs.untrained(*CELLS[0])
    scanned = runs.untrained(*CELLS[0], model__scan_layers=True)
    scanned = dataclasses.replace(scanned, params=layout.stack_layers(plain.params))
    found = [vectors.embed_texts(one, TEXTS, PLAIN)[0] for one in (plain, scanned)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_text_that_data_on_long_would_skip_has_its_vector():
    one = runs.untrained(*CELLS[0], data__on_long="skip", data__length=8)
    found, counts = vectors.embed_texts(one, TEXTS, PLAIN)
    assert found.shape == (4, 16) and counts == {"cut": 1, "tokens_cut": 7}


def test_an_empty_text_is_refused_by_its_number():
    with pytest.raises(ValueError, match="text 2 is empty"):
        vectors.embed_texts(runs.untrained(*CELLS[0]), ["a", " "], PLAIN)


# Words.


def test_a_word_is_read_as_it_stands_in_a_sentence():
    tokenizer = tokenizers.train("word", ["the king and the queen"])
    table = np.arange(tokenizer.size * 2.0).reshape(-1, 2)
    king = words.find("king", tokenizer, table)
    assert king.ids == (tokenizer.encode("king")[0],)
    assert np.array_equal(king.vector, table[king.ids[0]])
    byte = tokenizers.train("byte", ())
    table = np.random.default_rng(0).normal(size=(byte.size, 3))
    both = words.find("ab", byte, table)
    assert list(both.ids) == byte.encode("ab")  # without a byte for a space
    np.testing.assert_allclose(both.vector, table[list(both.ids)].mean(axis=0))
    with pytest.raises(ValueError, match="--words: '' has no pieces"):
        words.find("", byte, table)


def test_the_nearest_pieces_are_those_of_the_largest_cosine():
    tokenizer = tokenizers.train("word", ["a b c d"])
    table = np.zeros((tokenizer.size + 2, 2))  # rows that no piece has
    table[:] = [1.0, 0.0]
    for piece, row in {"a": [1, 0], "b": [9, 1], "c": [1, 1], "d": [-1, 0]}.items():
        table[tokenizer.encode(piece)[0]] = row
    found = words.nearest(words.find("a", tokenizer, table), tokenizer, table)
    assert [piece for piece, _ in found] == ["b", "c", "d"]
    cosines = [cosine for _, cosine in found]
    np.testing.assert_allclose(cosines, [9 / 82**0.5, 0.5**0.5, -1])
    few = words.nearest(words.find("a", tokenizer, table), tokenizer, table, 1)
    assert few == found[:1]


def test_the_plane_holds_what_lies_in_a_plane_and_says_how_much_it_loses():
    rng = np.random.default_rng(2)
    flat = rng.normal(size=(7, 2)) @ rng.normal(size=(2, 5)) + 3.0
    points, explained = words.plane(flat)
    assert explained.sum() == pytest.approx(1) and explained[0] >= explained[1]

    def distances(x):
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    np.testing.assert_allclose(distances(points), distances(flat), atol=1e-9)
    found = rng.normal(size=(6, 4))
    centred = found - found.mean(axis=0)
    values = np.sort(np.linalg.eigvalsh(centred.T @ centred))[::-1]
    _, explained = words.plane(found)
    np.testing.assert_allclose(explained, values[:2] / values.sum())
    with pytest.raises(ValueError, match="at least 3 words, got 2"):
        words.plane(flat[:2])


def test_the_verb_shows_neighbours_and_draws_the_words(work, tmp_path, capsys):
    picture = tmp_path / "words.png"
    argv = ("inspect", f"--workdir={work}", "--words=a,b,ab,w3", "--near=4")
    said = runs.good(capsys, *argv, f"--picture={picture}").splitlines()
    heads = [line for line in said if not line.startswith(" ")]
    assert heads[:2] == ["a (a)", "b (b)"] and heads[3] == "w3 (w3)"
    assert len([line for line in said if line.startswith(" ")]) == 16
    assert f"{picture}: 4 words" in said[-1] and "of their variance" in said[-1]
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--words=a", "--picture=w.png"], "at least 3 words, got 1"),
        (["--words=a", "--near=0"], "--near=0 must be at least 1"),
    ],
)
def test_words_that_cannot_be_shown_are_refused(work, flags, message, capsys):
    said = runs.command(capsys, "inspect", f"--workdir={work}", *flags)
    assert said.code == 2 and message in said.err
