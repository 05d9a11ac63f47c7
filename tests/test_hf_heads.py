"""Runs that start from a checkpoint: which heads they take, and where arrays go."""

import json

import checkpoints
import jax
import numpy as np
import pytest
import runs

from configs import base
from lmtasks import builder
from lmtasks import pretrained
from lmtasks.hf import writing
from lmtasks.models import layout
from lmtasks.training import exports
from lmtasks.training import imports
from lmtasks.training import masks
from lmtasks.training import parallel


def run_of(folder, **changes):
    """Return the run of a classifier that starts from a checkpoint directory."""
    checkpoints.write_vocab(folder)
    config = base.finetune()
    config.task, config.architecture = "classification", "encoder"
    config.init, config.data.length = str(folder), 16
    config.data.labels = tuple("xyz")
    for key, value in changes.items():
        section, name = key.split("__")
        config[section][name] = value
    return builder.build(config)


def start(folder, **changes):
    """Return ({path: array of jax}, notes) of a run that starts from a directory."""
    run, notes = run_of(folder, **changes), []
    mesh = parallel.make_mesh(run.parallel)
    params = imports.params_of(run, mesh, jax.random.key(0), notes.append)
    return params, notes


def fresh(notes):
    """Return the parameters that the notes call fresh."""
    [line] = [n for n in notes if n.startswith("init: fresh parameters: ")] or [": "]
    return sorted(line.split(": ")[-1].split(", ")) if line != ": " else []


CLASS_HEAD = ["top/out", "top/out_bias"]
POOLER = ["top/pooler", "top/pooler_bias"]


def test_a_head_that_is_not_there_is_drawn_and_named(tmp_path):
    folder = checkpoints.write("bert", tmp_path)
    params, notes = start(folder)
    assert fresh(notes) == CLASS_HEAD + POOLER
    found = masks.flat(params)
    assert np.asarray(found["top/out"]).std() > 0
    assert found["top/out"].shape == (24, 3)


def test_a_head_that_is_not_used_is_named(tmp_path):
    _, notes = start(checkpoints.write("bert", tmp_path))
    [line] = [n for n in notes if "heads this run does not have" in n]
    heads = [key for key in checkpoints.usual("bert") if key.startswith("cls.")]
    assert len(heads) == 5 and all(key in line for key in heads)


def test_a_class_head_of_as_many_classes_is_taken(tmp_path):
    folder = checkpoints.write("bert-classify", tmp_path)
    params, notes = start(folder)
    assert fresh(notes) == []
    found = np.asarray(masks.flat(params)["top/out"])
    np.testing.assert_array_equal(
        found, checkpoints.usual("bert-classify")["classifier.weight"].T
    )


def test_a_class_head_of_other_classes_is_drawn_and_named(tmp_path):
    folder = checkpoints.write("bert-classify", tmp_path)
    params, notes = start(folder, data__labels=tuple("wxyz"))
    assert fresh(notes) == CLASS_HEAD
    found = masks.flat(params)
    assert found["top/out"].shape == (24, 4)
    pooler = checkpoints.usual("bert-classify")["bert.pooler.dense.weight"].T
    np.testing.assert_array_equal(np.asarray(found["top/pooler"]), pooler)


def test_stacked_layers_hold_the_same_numbers(tmp_path):
    folder = checkpoints.write("bert-classify", tmp_path)
    plain, _ = start(folder)
    stacked, _ = start(folder, model__scan_layers=True)
    assert "layers" in stacked["encoder"]
    expected = masks.flat(layout.stack_layers(plain))
    checkpoints.same(*({p: np.asarray(x) for p, x in f.items()}
           for f in (masks.flat(stacked), expected)))  # fmt: skip


def test_parameters_sharded_over_devices_are_the_same(tmp_path):
    folder = checkpoints.write("bert-classify", tmp_path)
    plain, _ = start(folder)
    for axes in ({"parallel__fsdp": 8}, {"parallel__fsdp": 4, "parallel__tensor": 2}):
        spread, _ = start(folder, **axes)
        found = masks.flat(spread)
        parts = {p: x.addressable_shards[0].data.size for p, x in found.items()}
        assert any(parts[p] < x.size for p, x in found.items())
        checkpoints.same({p: np.asarray(x) for p, x in found.items()},
             {p: np.asarray(x) for p, x in masks.flat(plain).items()})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "task", "objective"),
    [
        ("bert", "text", "mlm"),
        ("bert-classify", "classification", "classify"),
        ("bert-tag", "tagging", "tag"),
        ("bert-span", "extractive_qa", "span"),
    ],
)
def test_an_imported_encoder_has_the_task_of_its_head(name, task, objective, tmp_path):
    folder = checkpoints.write(name, tmp_path)
    checkpoints.write_vocab(folder)
    config = pretrained.config_for(str(folder))
    config.init = str(folder)
    run = builder.build(config)
    assert (run.config.task, run.config.objective) == (task, objective)
    notes = []
    mesh = parallel.make_mesh(run.parallel)
    imports.params_of(run, mesh, jax.random.key(0), notes.append)
    assert fresh(notes) == []


@pytest.mark.parametrize(
    ("problem", "kind", "classes"),
    [("multi_label_classification", "multi", 3), ("regression", "regression", 1)],
)
def test_what_the_labels_are_comes_in_and_goes_out(problem, kind, classes, tmp_path):
    folder = checkpoints.write("bert-classify", tmp_path)
    checkpoints.write_vocab(folder)
    values = json.loads((folder / "config.json").read_text()) | {
        "problem_type": problem
    }
    if kind == "regression":
        values |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (folder / "config.json").write_text(json.dumps(values))
    config = pretrained.config_for(str(folder))
    assert config.classify.kind == kind
    config.init = str(folder)
    run = builder.build(config)
    assert run.model.classes == classes
    found = exports.plan(run, str(tmp_path / "nowhere"), exports.Options())
    written = writing.config_of(found)
    assert written["problem_type"] == problem and len(written["id2label"]) == classes


def test_a_judge_of_every_token_is_not_exported_as_something_else():
    run = runs.untrained("toy_text", "encoder", objective="rtd").run
    with pytest.raises(ValueError, match="objective='rtd' judges every token"):
        exports.plan(run, "nowhere", exports.Options())
