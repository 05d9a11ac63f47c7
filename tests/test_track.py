"""metrics.jsonl survives kills and resumes; the progress line says what it should."""

import io
import json
import math
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmtasks.training import chips
from lmtasks.training import track


def _lines(folder) -> list[str]:
    return (folder / "metrics.jsonl").read_text().splitlines()


def _filled(folder):
    tracker = track.Tracker(folder)
    for step in (10, 20, 30):
        tracker.write(step, "train", {"loss": 3.0 / step})
    tracker.write(20, "validation", {"loss": 1.0})
    tracker.close()
    return folder / "metrics.jsonl"


def test_a_row_is_one_json_object_with_default_separators(tmp_path):
    tracker = track.Tracker(tmp_path / "new")
    values = {"loss": jnp.float32(2.5), "tokens": np.int64(7), "note": "a b"}
    tracker.write(jnp.int32(3), "train", values)
    # Flushed: it is there before anything is closed.
    text = (tmp_path / "new" / "metrics.jsonl").read_text()
    assert text == (
        '{"step": 3, "split": "train", "loss": 2.5, "tokens": 7, "note": "a b"}\n'
    )
    tracker.close()


def test_nan_is_kept_by_name(tmp_path):
    tracker = track.Tracker(tmp_path)
    tracker.write(1, "train", {"loss": float("nan"), "grad_norm": jnp.inf})
    assert _lines(tmp_path)[0].endswith('"loss": NaN, "grad_norm": Infinity}')
    row = track.read(tmp_path / "metrics.jsonl")[0]
    assert math.isnan(row["loss"]) and row["grad_norm"] == math.inf
    tracker.close()


@pytest.mark.parametrize(
    ("resume", "kept"), [(None, [10, 20, 30, 20]), (20, [10, 20, 20]), (-1, [])]
)
def test_resuming_cuts_later_rows_off(tmp_path, resume, kept):
    before = _filled(tmp_path).read_text()
    track.Tracker(tmp_path, resume).close()
    rows = track.read(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == kept
    if resume is None:
        assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_line_cut_short_anywhere_is_repaired(tmp_path):
    path = _filled(tmp_path)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        tracker = track.Tracker(tmp_path, 30)
        tracker.write(40, "train", {"loss": 0.5})
        tracker.close()
        rows = [json.loads(line) for line in _lines(tmp_path)]
        assert len(rows) in (4, 5) and rows[-1]["step"] == 40
        assert [row["step"] for row in rows[:3]] == [10, 20, 30]
    path.write_bytes(b"\xff\x00 broken\n[1]\n" + whole)
    track.Tracker(tmp_path, 10).close()
    assert _lines(tmp_path) == ['{"step": 10, "split": "train", "loss": 0.3}']


def test_only_process_0_writes(tmp_path):
    tracker = track.Tracker(tmp_path / "none", process_index=1)
    tracker.write(1, "train", {"loss": 1.0})
    tracker.close()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("flag", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")]
)
def test_a_missing_service_is_named_with_its_package(
    tmp_path, monkeypatch, flag, package
):
    monkeypatch.setitem(sys.modules, package, None)
    track.Tracker(tmp_path / "without").close()
    with pytest.raises(ValueError, match=f"pip install {package}.* set log.{flag}"):
        track.Tracker(tmp_path / "with", **{flag: True})
    assert not (tmp_path / "with").exists()


def test_services_get_the_numbers_by_split_and_name(tmp_path, monkeypatch):
    seen = []
    board = types.SimpleNamespace(
        add_scalar=lambda *args: seen.append(args), close=lambda: seen.append("closed")
    )
    run = types.SimpleNamespace(
        log=lambda values, step: seen.append((values, step)),
        finish=lambda: seen.append("finished"),
    )
    fake = types.SimpleNamespace(SummaryWriter=lambda folder: board)
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    fake = types.SimpleNamespace(init=lambda **fields: run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    tracker = track.Tracker(tmp_path, tensorboard=True, wandb=True)
    tracker.write(5, "test", {"loss": np.float32(0.5), "note": "text"})
    tracker.close()
    values = {"test/loss": 0.5}
    assert seen == [("test/loss", 0.5, 5), (values, 5), "closed", "finished"]


def test_a_stream_that_is_no_terminal_gets_plain_lines():
    stream = io.StringIO()
    progress = track.Progress(100, stream)
    progress.start("training toy", step=40)
    progress.update(41, {"loss": 2.25, "lr": 3e-4})
    progress.update(50, {"loss": 1.5, "tokens/s": 12345.6, "mfu": 0.41, "grad": 0.5})
    progress.note("validation accuracy 0.9")
    progress.close()
    first, second, third, fourth = stream.getvalue().splitlines()
    assert first == "training toy"
    assert re.fullmatch(
        r"step 41/100: loss 2.25, lr 3.0e-04, first step incl. compile \d+\.\d s",
        second,
    )
    assert third.startswith(
        "step 50/100: loss 1.5, tokens/s 12,346, mfu 41.0%, grad 0.5, "
    )
    assert third.endswith(" left")
    assert fourth == "validation accuracy 0.9"


def test_a_first_update_after_many_steps_says_how_many():
    stream = io.StringIO()
    progress = track.Progress(100, stream)
    progress.start("go")
    progress.update(10, {})
    assert "step 10/100: first 10 steps incl. compile" in stream.getvalue()


def test_a_terminal_gets_one_moving_line_and_notes_above_it():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = track.Progress(100, stream)
    progress.start("training [toy]")
    progress.update(1, {"loss": 2.25})
    progress.note("saved [bold]")
    progress.update(2, {"loss": 1.75})
    progress.close()
    text = stream.getvalue()
    assert "training [toy]" in text and "saved [bold]" in text
    assert "2/100" in text and "loss 1.75" in text and "left" in text


def test_other_processes_print_nothing():
    stream = io.StringIO()
    progress = track.Progress(10, stream, process_index=1)
    progress.start("x")
    progress.update(1, {"loss": 1.0})
    progress.note("y")
    progress.close()
    assert stream.getvalue() == ""


def test_durations_read_as_clocks():
    said = [track.duration(s) for s in (0.4, 59, 187, 3600, 7387)]
    assert said == ["0 s", "59 s", "3:07", "1:00:00", "2:03:07"]


@pytest.mark.parametrize(
    ("kind", "wide", "tera"),
    [
        ("TPU v5 lite", False, 197),
        ("TPU v5p", True, 459),
        ("TPU v6 lite", False, 918),
        ("TPU v3", False, 61.5),
        ("NVIDIA H200", False, 989),
        ("NVIDIA H100 80GB HBM3", True, 494),
        ("NVIDIA L40S", False, 362),
        ("NVIDIA L4", False, 121),
        ("NVIDIA A10G", False, 70),
        ("Tesla V100-SXM2-16GB", True, 15.7),
    ],
)
def test_peaks_are_found_by_the_name_of_the_device(kind, wide, tera):
    device = types.SimpleNamespace(device_kind=kind)
    dtype = jnp.float32 if wide else jnp.bfloat16
    assert chips.peak_flops(device, dtype) == pytest.approx(tera * 1e12)


def test_a_processor_has_no_published_peak_but_a_measured_one():
    assert chips.peak_flops(jax.devices("cpu")[0], jnp.float32) is None
    assert 1e8 < chips.measured_matmul_peak(0.05, sizes=(256,)) < 1e14
