"""What a run leaves behind (metrics.jsonl) and what it shows while it goes on."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import sys
import time
import typing
from collections.abc import Sequence

import rich.console
import rich.progress

NAME = "metrics.jsonl"


def read(path: str | os.PathLike) -> list[dict]:
    """Return the rows of a metrics.jsonl, without lines that a kill cut short."""
    rows = []
    for line in pathlib.Path(path).read_text("utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def short_names(folders: Sequence[str | pathlib.Path]) -> list[str]:
    """Return the shortest ends of the paths that tell work directories apart.

    Raises:
        ValueError: one is named twice.
    """
    paths = [pathlib.Path(folder).resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ValueError("the same work directory is named twice; name each once")


def _plain(value):
    """A number or text as json has it; arrays of rank 0 become numbers."""
    return value.item() if hasattr(value, "item") else value


class Tracker:
    """Writes metrics.jsonl, one json object a line, and the optional services.

    A row is {"step": int, "split": "train", "loss": 2.5, ...} with json's default
    separators. NaN and Infinity are written by these names, which Python's json
    reads and strict parsers refuse: a diverged run should show it.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        resume_step: int | None = None,
        *,
        tensorboard: bool = False,
        wandb: bool = False,
        process_index: int = 0,
    ):
        """Open the file, made whole again; only process 0 writes.

        Args:
            folder: the work directory.
            resume_step: rows after this step are cut off, as training writes them
                again; -1 starts anew, None keeps every whole row.
            tensorboard, wandb: write there too; the packages are not dependencies.
            process_index: of this host.
        """
        self._file = self._board = self._run = None
        if process_index:
            return
        folder = pathlib.Path(folder)
        board = _optional("tensorboardX", "tensorboard") if tensorboard else None
        service = _optional("wandb", "wandb") if wandb else None
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        if path.exists():
            _cut(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        if board:
            self._board = board.SummaryWriter(str(folder / "tensorboard"))
        if service:
            name = folder.resolve().name
            self._run = service.init(
                dir=str(folder), name=name, id=name, resume="allow"
            )

    def write(self, step: int, split: str, values: dict[str, typing.Any]) -> None:
        """Append one row and flush it; numbers go to the services as split/name."""
        if not self._file:
            return
        row = {"step": int(step), "split": split}
        row |= {name: _plain(value) for name, value in values.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        numbers = {
            f"{split}/{name}": value
            for name, value in row.items()
            if name != "step" and isinstance(value, int | float)
        }
        if self._board:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
        if self._run:
            self._run.log(numbers, step=int(step))

    def close(self) -> None:
        """Close the file and the services."""
        if self._file:
            self._file.close()
        if self._board:
            self._board.close()
        if self._run:
            self._run.finish()
        self._file = self._board = self._run = None


def check(*, tensorboard: bool, wandb: bool) -> None:
    """Raise ValueError for a writer whose package is not installed."""
    if tensorboard:
        _optional("tensorboardX", "tensorboard")
    if wandb:
        _optional("wandb", "wandb")


def _optional(package: str, flag: str):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"log.{flag}=True needs the package {package}, which is not installed; "
            f"run `pip install {package}` or set log.{flag}=False."
        ) from error


def _cut(path: pathlib.Path, last: int | None):
    """Rewrite the file with whole rows up to the step `last`, by one rename."""
    rows = [row for row in read(path) if last is None or row["step"] <= last]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if text.encode() != path.read_bytes():
        new = path.with_name(path.name + ".tmp")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def duration(seconds: float) -> str:
    """Return "45 s", "3:07" or "2:03:07"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def line(values: dict[str, typing.Any]) -> str:
    """Return "loss 2.301, lr 3.0e-04, tokens/s 12,300, mfu 41.0%"."""
    parts = []
    for name, value in values.items():
        value = _plain(value)
        if name in ("tokens", "tflops"):  # sums, for the file
            continue
        if isinstance(value, str):
            parts.append(f"{name} {value}")
        elif name == "mfu":
            parts.append(f"mfu {value:.1%}")
        elif name in ("lr", "learning_rate"):
            parts.append(f"lr {value:.1e}")
        elif isinstance(value, int) or abs(value) >= 1000:
            parts.append(f"{name} {value:,.0f}")
        else:
            parts.append(f"{name} {value:.4g}")
    return ", ".join(parts)


class Progress:
    """One line that moves on a terminal; elsewhere a plain line per update.

    Only process 0 prints. The first update after `start` is named apart, as it holds
    the compile time; the time left is counted from there.
    """

    def __init__(
        self,
        total_steps: int,
        stream: typing.TextIO | None = None,
        process_index: int = 0,
    ):
        """Show steps out of `total_steps` on the stream (standard output)."""
        self._total = total_steps
        self._stream = stream or sys.stdout
        self._silent = process_index > 0
        self._bar: rich.progress.Progress | None = None
        self._started = self._first_step = 0
        self._since: tuple[int, float] | None = None

    def start(self, message: str, step: int = 0) -> None:
        """Say what begins at this step, and start the clock."""
        self._started, self._first_step = time.perf_counter(), step
        self._since = None
        if self._silent:
            return
        self.note(message)
        if self._stream.isatty() and not self._bar:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn("step {task.completed}/{task.total}"),
                rich.progress.BarColumn(bar_width=20),
                rich.progress.TextColumn("{task.fields[line]}", markup=False),
                console=rich.console.Console(file=self._stream),
            )
            self._bar.start()
            self._bar.add_task("", total=self._total, completed=step, line="compiling")

    def update(self, step: int, values: dict[str, typing.Any]) -> None:
        """Show the values of a step, and the time left; call it after step 1 too."""
        now = time.perf_counter()
        parts = [line(values)] if values else []
        if self._since is None:
            steps = step - self._first_step
            what = "first step" if steps <= 1 else f"first {steps} steps"
            parts.append(f"{what} incl. compile {now - self._started:.1f} s")
            self._since = (step, now)
        elif step > self._since[0]:
            each = (now - self._since[1]) / (step - self._since[0])
            parts.append(f"{duration(each * max(self._total - step, 0))} left")
        if self._silent:
            return
        if self._bar:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=step, line=", ".join(parts))
        else:
            self._print(f"step {step}/{self._total}: {', '.join(parts)}")

    def note(self, text: str) -> None:
        """Print a line of its own, above the moving one."""
        if self._silent:
            return
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            self._print(text)

    def close(self) -> None:
        """Leave the last line as it stands."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _print(self, text: str):
        print(text, file=self._stream, flush=True)
