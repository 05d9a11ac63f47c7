"""Which checkpoints stay, and what happens when one cannot be written."""

import resource

import jax.numpy as jnp
import pytest

from lmtasks.training import checkpoint

TREE = {"w": jnp.ones((64, 64))}


def _run(folder, scores, **fields) -> checkpoint.Checkpoints:
    """Save the steps 1, 2, .. with these accuracies; None saves without."""
    checkpoints = checkpoint.Checkpoints(folder, asynchronous=False, **fields)
    for step, score in enumerate(scores, 1):
        metrics = None if score is None else {"accuracy": score, "loss": 1.0}
        checkpoints.save(step, TREE, {"step": step}, metrics)
    checkpoints.close()
    return checkpoints


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(1, [5]), (2, [4, 5]), (9, [1, 2, 3, 4, 5]), (-1, [1, 2, 3, 4, 5])],
)
def test_the_newest_are_kept(tmp_path, keep, kept):
    checkpoints = _run(tmp_path, [None] * 5, keep=keep)
    assert checkpoints.steps() == kept and checkpoints.latest() == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == list(map(str, kept))


def test_the_best_are_kept_beside_the_newest(tmp_path):
    scores = [float("nan"), 0.9, 0.2, 0.7, None, 0.9, 0.1]
    checkpoints = _run(tmp_path / "max", scores, best="accuracy", keep_best=2)
    assert checkpoints.steps() == [2, 6, 7]
    assert checkpoints.best_step() == 2, "the earlier of two equals"
    assert checkpoints.read_meta(2) == {"step": 2}
    fields = {"best": "accuracy", "mode": "min", "keep_best": 1, "keep": 2}
    checkpoints = _run(tmp_path / "min", scores[:6], **fields)
    assert checkpoints.steps() == [3, 5, 6] and checkpoints.best_step() == 3


def test_a_metric_nobody_measures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="best='acuracy' is not measured.*accuracy"):
        _run(tmp_path, [0.5], best="acuracy")


@pytest.mark.parametrize(
    "fields", [{"keep": 0}, {"keep": -2}, {"keep_best": -1}, {"mode": "best"}]
)
def test_a_wrong_field_is_refused_by_a_sentence(tmp_path, fields):
    with pytest.raises(ValueError, match="must be"):
        checkpoint.Checkpoints(tmp_path, **fields)


def test_a_folder_that_became_a_file_stops_the_save(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.write_text("in the way")
    checkpoints = checkpoint.Checkpoints(folder)
    with pytest.raises(OSError, match="checkpoint 1 could not be saved in"):
        checkpoints.save(1, TREE, {})


def test_a_failure_in_the_background_surfaces_and_the_last_good_one_stays(tmp_path):
    """A limit on the size of files stands in for a full disk."""
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, TREE, {})
    checkpoints.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        checkpoints.save(2, TREE, {})
        with pytest.raises(OSError, match="checkpoint 2 .* the newest there is 1"):
            checkpoints.save(3, TREE, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert checkpoints.restore(TREE)[2] == 1
    checkpoints.save(3, TREE, {})
    checkpoints.close()
    assert checkpoints.steps() == [3]
