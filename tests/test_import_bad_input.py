"""What a checkpoint can have wrong: one line, exit code 2, and nothing left behind."""

import json
import pickle

import checkpoints
import numpy as np
import pytest

from lmtasks.cli import main
from lmtasks.hf import files

LAYER = "transformer.h.0.mlp.c_fc.weight"


def refused(capsys, tmp_path, source, *more):
    """Import a checkpoint that is bad; return the sentence."""
    work = tmp_path / "work"
    before = {p.name for p in tmp_path.iterdir()}
    code = main.main(["import", f"--from={source}", f"--workdir={work}", *more])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("lmtasks import: ") and said.err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == before  # no .partial either
    return said.err


def checkpoint(tmp_path, name="gpt2", state=None, **values):
    """Write a checkpoint that can be imported, but for some keys of its config.json."""
    folder = checkpoints.write(name, tmp_path / "in", state)
    config = checkpoints.config_of(name) | values
    (folder / "config.json").write_text(json.dumps(config))
    checkpoints.write_vocab(folder)
    return folder


# Weights.


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def scramble(path):
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"XX" + content[10:])


def empty(path):
    path.write_bytes(b"")


def pickled(path):
    path.write_bytes(pickle.dumps({"weight": 1}, protocol=2))


def absent(path):
    path.unlink()


def renamed(path):
    path.rename(path.with_name("pytorch_model.bin"))


DAMAGE = {
    cut: "in/model.safetensors is damaged or cut short",
    scramble: "in/model.safetensors is damaged or cut short",
    empty: "in/model.safetensors is damaged or cut short",
    pickled: "in/model.safetensors is a pickle by another name",
    absent: "in has no weights; a checkpoint directory holds model.safetensors",
    renamed: "in/pytorch_model.bin is pickled",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_damaged_weights(damage, tmp_path, capsys):
    folder = checkpoint(tmp_path)
    damage(folder / files.SINGLE)
    assert DAMAGE[damage] in refused(capsys, tmp_path, folder)


def test_a_pickled_checkpoint_comes_with_the_command_that_converts_it(tmp_path, capsys):
    folder = checkpoint(tmp_path)
    renamed(folder / files.SINGLE)
    said = refused(capsys, tmp_path, folder)
    assert (
        f"""python -c 'import transformers as t; t.GPT2LMHeadModel.from_pretrained(\
"{folder}").save_pretrained("{folder}-safe")'"""
        in said
    )


def test_no_code_of_a_config_gets_into_the_command(tmp_path, capsys):
    folder = checkpoint(tmp_path, architectures=["x; import os; os.abort() #"])
    renamed(folder / files.SINGLE)
    said = refused(capsys, tmp_path, folder)
    assert "t.AutoModel.from_pretrained" in said and "abort" not in said


def test_missing_and_unexpected_tensors_are_in_one_sentence(tmp_path, capsys):
    state = dict(checkpoints.usual("gpt2"))
    state["transformer.extra"] = state.pop(LAYER)
    said = refused(capsys, tmp_path, checkpoint(tmp_path, state=state))
    assert f"missing (1): {LAYER}; not expected (1): transformer.extra;" in said
    assert said.count(LAYER) == said.count("transformer.extra") == 1


def test_a_config_of_another_family(tmp_path, capsys):
    folder = checkpoint(tmp_path)
    config = checkpoints.config_of("bert-classify")
    (folder / "config.json").write_text(json.dumps(config))
    said = refused(capsys, tmp_path, folder)
    assert (
        "in/model.safetensors does not fit its config.json: missing (37): bert." in said
    )
    assert "and 29 more; not expected (28): transformer." in said and len(said) < 1000


def test_a_wrong_shape(tmp_path, capsys):
    state = checkpoints.usual("gpt2")
    state = state | {LAYER: np.ascontiguousarray(state[LAYER].T)}
    said = refused(capsys, tmp_path, checkpoint(tmp_path, state=state))
    assert f"{LAYER} is [96, 24], not [24, 96]" in said


def test_a_tied_copy_that_differs(tmp_path, capsys):
    state = checkpoints.usual("gpt2")
    state = state | {"lm_head.weight": state["transformer.wte.weight"] + 1}
    said = refused(capsys, tmp_path, checkpoint(tmp_path, state=state))
    assert "lm_head.weight should be the same numbers as transformer.wte.weight" in said
    assert "set tie_word_embeddings to false" in said


# An index and its parts.

SECOND = "model-00002-of-00003.safetensors"


def sharded(tmp_path):
    folder = checkpoint(tmp_path)
    return folder, checkpoints.shard(folder, checkpoints.usual("gpt2"))


def test_a_missing_part(tmp_path, capsys):
    folder, _ = sharded(tmp_path)
    (folder / SECOND).unlink()
    said = refused(capsys, tmp_path, folder)
    assert f"lacks 1 of 3 weight files that {files.INDEX} names: {SECOND}" in said


def test_an_index_that_names_the_wrong_part(tmp_path, capsys):
    folder, index = sharded(tmp_path)
    name = next(iter(index["weight_map"]))
    index["weight_map"][name] = SECOND
    (folder / files.INDEX).write_text(json.dumps(index))
    said = refused(capsys, tmp_path, folder)
    assert f"places {name} in {SECOND}, which does not hold it" in said


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("{", "is not valid json"),
        ("[" * 100000, "is not valid json"),
        ("[]", "has no 'weight_map'"),
        ("{}", "has no 'weight_map'"),
        ('{"weight_map": []}', "has no 'weight_map'"),
        ('{"weight_map": {"a": 3}}', "names 3, which is no safetensors file"),
        ('{"weight_map": {"a": ""}}', "names '', which is no safetensors file"),
        ('{"weight_map": {"a": "../b.safetensors"}}', "names '../b.safetensors'"),
        ('{"weight_map": {"a": "b.bin"}}', "names 'b.bin', which is no safetensors"),
    ],
    ids=range(9),
)
def test_an_index_that_is_none(content, wanted, tmp_path, capsys):
    folder, _ = sharded(tmp_path)
    (folder / files.INDEX).write_text(content)
    assert f"{files.INDEX} {wanted}" in refused(capsys, tmp_path, folder)


# llama2.c, and where things are.


def test_a_file_of_llama2c_cut_short(tmp_path, capsys):
    config, state = checkpoints.config_of("llama"), checkpoints.usual("llama")
    folder = tmp_path / "c"
    folder.mkdir()
    path = folder / "m.bin"
    checkpoints.write_llama2c(path, config, state, tied=False)
    path.write_bytes(path.read_bytes()[:-4])
    for place in (path, folder):
        said = refused(capsys, tmp_path, place)
        assert "m.bin has 48568 bytes, and a model of its header 48572" in said
    path.write_bytes(b"abc")
    said = refused(capsys, tmp_path, path)
    assert "is no file of llama2.c: its header makes no model" in said


def test_places_that_are_not_there(tmp_path, capsys):
    said = refused(capsys, tmp_path, tmp_path / "nowhere")
    assert "nowhere is no directory; give that of a checkpoint" in said
    said = refused(capsys, tmp_path, tmp_path / "m.bin")
    assert f"there is no file {tmp_path / 'm.bin'}" in said


def test_a_work_directory_that_is_not_empty(tmp_path, capsys):
    folder = checkpoint(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine").write_text("kept")
    said = refused(capsys, tmp_path, folder)
    assert "work is there already and not empty; choose another folder" in said
    assert (tmp_path / "work" / "mine").read_text() == "kept"


def test_a_vocabulary_smaller_than_the_tokenizer(tmp_path, capsys):
    folder = checkpoint(tmp_path)
    checkpoints.write_vocab(folder, 60)
    said = refused(capsys, tmp_path, folder)
    assert "53" in said and "60 pieces" in said
    (folder / "vocab.txt").unlink()
    assert "holds no tokenizer" in refused(capsys, tmp_path, folder)


# config.init.


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("architecture=decoder", "is bert, of architecture 'encoder'; set config.arch"),
        ("model.preset=bert/tiny", "brings its own shape; leave model.preset empty"),
        ("model.width=48", "model.width=48: init='{}' is bert with 24; leave it unset"),
        ("model.positions.kind=none", "is bert with 'learned'"),
        ("model.vocab=40", "model.vocab=40: init='{}' is bert with 53"),
    ],
)
def test_a_config_that_asks_for_another_model(change, wanted, tmp_path, capsys):
    folder = checkpoint(tmp_path, "bert-classify")
    said = refused(capsys, tmp_path, folder, f"--config.{change}")
    assert wanted.format(folder) in said


@pytest.mark.parametrize("content", ["{}", "[]", None])
def test_a_config_file_over_a_directory_that_is_none(content, tmp_path, capsys):
    folder = checkpoint(tmp_path)
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    said = refused(capsys, tmp_path, folder, "--config=sst2")
    assert "is neither a work directory nor a checkpoint directory" in said
