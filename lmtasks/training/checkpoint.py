"""Checkpoints that are whole or refused.

A work directory's folder of checkpoints, on a disk that all hosts share:

    300/state/         the arrays, written by orbax
    300/meta.json      leaves (type and shape), metrics and what the caller gave
    300/manifest.json  sizes and checksums of all of these, written last
    400.tmp/           being written, or left by a kill: never read
    200.replaced/      the old 200, while a new one takes its place
    100.damaged/       set aside by `restore`

A step appears by one rename, after its files are on the disk.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
import pathlib
import shutil
import threading
import typing

import jax

from lmtasks.training import arrays
from lmtasks.training import manifest
from lmtasks.training import restore

Tree = typing.Any


def restore_params(
    folder: str | os.PathLike,
    like: Tree,
    step: int | None = None,
    *,
    part: str = "params",
    verify: bool = True,
) -> tuple[Tree, dict, int]:
    """Return (parameters, meta, step) of a checkpoint, without its optimizer.

    Args:
        folder: where `Checkpoints` saved a state; nothing in it is changed.
        like: the parameters as arrays or `jax.ShapeDtypeStruct`s with shardings.
        step: None is the newest whole one.
        part: the field of the state: "params" or "ema".
        verify: compare checksums; False compares names and sizes only.

    Raises:
        ValueError: there is no whole checkpoint, or it does not fit `like`.
    """
    folder = pathlib.Path(folder).absolute()
    chosen = restore.choose(folder, step, verify=verify, aside=False)
    if chosen is None:
        raise ValueError(f"there is no checkpoint in {folder}; train first.")
    return *restore.load(folder, chosen, like, part=f"{part}/"), chosen


class Checkpoints:
    """The checkpoints of one run: saves in the background, restores what is whole."""

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        keep: int = 1,
        best: str = "",
        mode: str = "max",
        keep_best: int = 1,
        asynchronous: bool = True,
    ):
        """Choose what is kept; nothing is written before the first save.

        Args:
            folder: is made by the first save.
            keep: the newest steps kept; -1 keeps all. With 1 a damaged checkpoint
                has none to fall back to.
            best: name of the metric whose best steps are kept too; "" for none.
            mode: "max" or "min", whichever is better.
            keep_best: how many of the best steps are kept.
            asynchronous: write while training goes on.
        """
        if keep == 0 or keep < -1 or keep_best < 0:
            raise ValueError(
                f"checkpoint.keep={keep} and keep_best={keep_best}: keep must be at "
                "least 1, or -1 for all, and keep_best at least 0."
            )
        if mode not in ("max", "min"):
            raise ValueError(f"checkpoint.mode={mode!r} must be max or min.")
        self._folder = pathlib.Path(folder).absolute()
        self._keep, self._keep_best = keep, keep_best
        self._best, self._sign = best, -1.0 if mode == "max" else 1.0
        self._asynchronous = asynchronous
        self._writer = None
        self._thread: threading.Thread | None = None
        self._error: tuple[int, BaseException] | None = None

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *error):
        self.close()

    def save(self, step: int, state: Tree, meta: dict, metrics: dict | None = None):
        """Save the state as `step`; returns once its arrays are copied to the host.

        Args:
            step: an existing checkpoint of this step is replaced.
            state: a tree of arrays, random keys and numbers; None leaves are left out.
            meta: what json can hold: data position, config, fingerprints.
            metrics: {name: value} that the best steps are chosen by.

        Raises:
            OSError: this save, or the one before it, failed.
        """
        self.wait()
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        if self._best and metrics and self._best not in metrics:
            near = difflib.get_close_matches(self._best, metrics, n=3, cutoff=0.0)
            raise ValueError(
                f"checkpoint.best={self._best!r} is not measured; the nearest "
                f"metrics are {', '.join(near)}."
            )
        about = {
            "format": restore.FORMAT,
            "step": int(step),
            "metrics": metrics,
            "meta": meta,
        }
        about |= {"leaves": arrays.kinds(state), "keys": arrays.key_kinds(state)}
        text = json.dumps(about, indent=1)
        path = self._folder / f"{step}.tmp"
        try:
            if jax.process_index() == 0:
                self._clear()
                path.mkdir(parents=True)
            self._writer = self._writer or arrays.writer()
            arrays.write(self._writer, path / "state", state)
        except Exception as error:  # noqa: BLE001
            self._error = (step, error)
            self.wait()
        args = (step, path, text)
        self._thread = threading.Thread(target=self._finish, args=args, name="save")
        self._thread.start()
        if not self._asynchronous:
            self.wait()

    def _clear(self):
        """Remove what a kill has left of a save, or of a step that was to go."""
        for left_over in self._folder.glob("*.tmp"):
            shutil.rmtree(left_over)

    def _finish(self, step: int, path: pathlib.Path, text: str):
        try:
            self._writer.wait_until_finished()
            if jax.process_index() == 0:
                (path / "meta.json").write_text(text, encoding="utf-8")
                manifest.seal(path)
                self._appear(step, path)
                self._prune()
        # It surfaces in the next `wait`, whatever it is.
        except BaseException as error:  # noqa: BLE001
            self._error = (step, error)

    def _appear(self, step: int, path: pathlib.Path):
        final, aside = self._folder / str(step), self._folder / f"{step}.replaced"
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
            final.rename(aside)
        path.rename(final)
        manifest.sync(self._folder)
        shutil.rmtree(aside, ignore_errors=True)

    def _prune(self):
        if self._keep == -1:
            return
        kept = {*self.steps()[-self._keep :], *self._ranked()[: self._keep_best]}
        for step in set(self.steps()) - kept:
            # Renamed first: a kill in the middle leaves no half checkpoint.
            path = restore.path_of(self._folder, step)
            shutil.rmtree(path.rename(self._folder / f"{step}.old.tmp"))

    def _ranked(self) -> list[int]:
        """Steps with the chosen metric, the best first, the earlier of equals."""
        found = []
        for step in self.steps() if self._best else ():
            try:
                value = restore.about(self._folder, step)["metrics"][self._best]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if math.isfinite(value):
                found.append((self._sign * value, step))
        return [step for _, step in sorted(found)]

    def restore(
        self, like: Tree, step: int | None = None, *, verify: bool = True
    ) -> tuple[Tree, dict, int] | None:
        """Return (state, meta, step), or None if nothing was ever saved.

        Without a step, the newest whole checkpoint is taken. Damaged ones above it
        are renamed, with a warning on stderr; what a kill has left is removed.

        Args:
            like: the state as arrays or `jax.ShapeDtypeStruct`s with shardings.
            step: this one and no other.
            verify: compare checksums; False compares names and sizes only.

        Raises:
            ValueError: all checkpoints are damaged, or it does not fit `like`.
        """
        self.wait()
        if jax.process_index() == 0:  # a finished run saves no more, which would do it
            with contextlib.suppress(OSError):
                self._clear()
        chosen = restore.choose(self._folder, step, verify=verify, aside=True)
        if chosen is None:
            return None
        return *restore.load(self._folder, chosen, like, part=""), chosen

    def steps(self) -> list[int]:
        """Return the saved steps, rising."""
        return restore.steps(self._folder)

    def latest(self) -> int | None:
        """Return the newest saved step."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """Return the step with the best metric; None if none has it."""
        return next(iter(self._ranked()), None)

    def read_meta(self, step: int) -> dict:
        """Return the meta that was saved with the step."""
        return restore.about(self._folder, step)["meta"]

    def wait(self) -> None:
        """Return once the last save is on the disk; raise OSError if it failed."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if not self._error:
            return
        (step, error), self._error = self._error, None
        if not isinstance(error, Exception):
            raise error
        # Orbax counts a failed save as done: start from a fresh writer.
        self._writer = None
        shutil.rmtree(self._folder / f"{step}.tmp", ignore_errors=True)
        newest = self.latest()
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
        raise OSError(
            f"checkpoint {step} could not be saved in {self._folder} ({reason}); "
            f"the newest there is {'none' if newest is None else newest}. Make room "
            "or repair the folder and start again: the run goes on from there."
        ) from error

    def close(self) -> None:
        """Wait for the last save and end the writer's threads."""
        self.wait()
        if self._writer:
            self._writer.close()
            self._writer = None
