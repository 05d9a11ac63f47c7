"""`lmtasks plot` draws what was asked; `lmtasks doctor` finds what would stop a run."""

import pathlib
from importlib import metadata

import pytest
from matplotlib import image

from lmtasks.cli import doctor
from lmtasks.cli import plot
from lmtasks.rendering import curves
from lmtasks.training import track


def _run(folder: pathlib.Path, scale: float = 1.0) -> str:
    tracker = track.Tracker(folder)
    for step in range(1, 21):
        tracker.write(step, "train", {"loss": scale / step, "grad_norm": 1.0})
    for step in (10, 20):
        values = {"loss": scale / step + 0.1, "accuracy": step / 20, "note": "text"}
        tracker.write(step, "validation", values)
    tracker.close()
    return str(folder)


def _curves(panel) -> list[tuple[str, str, int]]:
    return [
        (line.get_color(), line.get_linestyle(), len(line.get_xdata()))
        for line in panel.lines
    ]


def test_the_picture_is_written_where_it_says(tmp_path, capsys):
    run = _run(tmp_path / "one")
    assert plot.main([run]) == 0
    said = pathlib.Path(capsys.readouterr().out.strip())
    assert said == tmp_path / "one" / "plots" / "curves.png"
    pixels = image.imread(said)
    assert pixels.shape[1] > pixels.shape[0] > 300
    assert pixels[..., :3].min() < 0.1 and pixels[..., :3].max() == 1.0


def test_several_runs_and_flags_make_one_picture(tmp_path, capsys):
    runs = [_run(tmp_path / name / "sst2", i) for i, name in enumerate("ab", 1)]
    to = tmp_path / "new" / "both.svg"
    argv = [*runs, "--metrics=loss,grad_norm", f"--to={to}", "--smooth=0.5", "--log"]
    assert plot.main(argv) == 0
    assert capsys.readouterr().out.strip() == str(to)
    assert to.read_text().startswith("<?xml")


def test_one_panel_a_metric_one_colour_a_run_one_style_a_split(tmp_path):
    runs = {
        name: track.read(pathlib.Path(_run(tmp_path / name)) / track.NAME)
        for name in ("first", "second")
    }
    picture, lost = curves.draw(runs, ["loss", "accuracy"])
    loss, accuracy = picture.axes
    first, second = curves.COLORS[:2]
    assert _curves(loss) == [
        (first, "-", 20),
        (first, "--", 2),
        (second, "-", 20),
        (second, "--", 2),
    ]
    assert _curves(accuracy) == [(first, "--", 2), (second, "--", 2)]
    assert loss.get_title("left") == "loss" and lost == 0
    legend = [text.get_text() for text in picture.legends[0].get_texts()]
    assert legend == ["first", "second", "train", "validation"]


def test_without_metrics_the_loss_and_what_was_validated_are_drawn(tmp_path):
    rows = track.read(pathlib.Path(_run(tmp_path)) / track.NAME)
    assert plot._chosen([], {"run": rows}) == ["loss", "accuracy"]


def test_values_that_cannot_be_drawn_are_counted():
    rows = [
        {"step": n, "split": "train", "loss": x}
        for n, x in enumerate([1.0, float("nan"), -1.0, 0.5])
    ]
    assert curves.draw({"a": rows}, ["loss"])[1] == 1
    assert curves.draw({"a": rows}, ["loss"], log=True)[1] == 2


def test_smoothing_is_an_unbiased_running_mean():
    assert curves._smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])
    assert curves._smoothed([0.0, 1.0], 0.5) == pytest.approx([0.0, 2 / 3])


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "at least one work directory"),
        (["nowhere"], r"nowhere has no metrics.jsonl; give work directories"),
        (["{run}", "--metrics=accuracu"], "'accuracu' is in none .* are accuracy"),
        (["{run}", "--smooth=1"], "--smooth=1.0 must be at least 0 and below 1"),
        (["{run}", "{run}"], "named twice"),
        (["{empty}"], "has no rows yet"),
    ],
)
def test_a_wrong_call_is_one_sentence(tmp_path, argv, sentence):
    run, empty = _run(tmp_path / "run"), tmp_path / "empty"
    empty.mkdir()
    (empty / track.NAME).touch()
    with pytest.raises(ValueError, match=sentence):
        plot.main([part.format(run=run, empty=empty) for part in argv])


def test_a_sound_machine_is_ready(tmp_path, capsys):
    assert doctor.main([f"--workdir={tmp_path / 'new'}"]) == 0
    said = capsys.readouterr().out
    for name in ("python", "jax ", "orbax-checkpoint", "devices", "disk", "torch"):
        assert name in said
    assert "is new and can be made" in said and said.endswith("Ready.\n")
    assert doctor.STOP not in said


@pytest.mark.parametrize("place", ["gs://bucket/run", "{file}/run"])
def test_a_workdir_that_cannot_be_written_stops(tmp_path, capsys, place):
    file = tmp_path / "file"
    file.touch()
    assert doctor.main([f"--workdir={place.format(file=file)}"]) == 2
    assert "!!  workdir" in capsys.readouterr().out


def test_missing_and_old_packages_stop(monkeypatch, capsys):
    real = metadata.version

    def version(name):
        if name == "sentencepiece":
            raise metadata.PackageNotFoundError(name)
        return "0.9.99" if name == "jax" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert doctor.main([]) == 2
    said = capsys.readouterr().out
    assert "sentencepiece" in said and "is not installed: pip install" in said
    assert "0.9.99 is too old: pip install -U 'jax>=0.10'" in said
    assert "2 of " in said
