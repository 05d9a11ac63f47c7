"""Runs that start from a checkpoint: which heads they take, and where arrays go."""

import checkpoints
import jax
import numpy as np

from configs import base
from lmtasks import builder
from lmtasks.models import layout
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
